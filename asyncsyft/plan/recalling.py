"""What a worker keeps on disk of plans and states, brought back: as the bytes of a plan, and ids of what is there.

It knows neither plans nor states, only what is said of them and how they are stored.
"""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple

import msgpack

from .. import program, tensor
from ..errors import AsyncSyftError, RemoteProtocolError, UnknownObject, in_short
from ..remote import Recorder
from ..remote.handle import Place
from ..tensor import Array

#: Ids that are set free for what is recalled at once.
MOST = 1024


class Fetched(NamedTuple):
    """A plan that a worker keeps: its neutral form, and the ids of its recordings there."""

    packed: bytes
    plans: List[int]


async def recalled(recorder: Recorder, kind: str, name: str, mark: bytes = b"") -> List[Dict[str, Any]]:
    """What a worker keeps of a kind under a name, the latest first: descriptions, with ids. Raises: RemoteError."""
    base, *_ = [recorder.new_id() for _ in range(MOST)]
    params: Dict[str, Any] = {"kind": kind, "name": name, "base": base, "most": MOST}
    found = await recorder.ask([program.RECALL, 0, [], {**params, "mark": mark} if mark else params], 3)
    if type(found) is not list or any(type(entry) is not dict or type(entry.get("id")) is not int for entry in found):
        raise RemoteProtocolError(f"{recorder.worker} describes what it keeps as {found!r:.60}")
    return found


async def fetch(worker: Place, name: str) -> Fetched:
    """A plan with all that belongs to it. Raises: UnknownObject if there is none, RemoteProtocolError, LinkError."""
    recorder = worker.recorder
    found = await recalled(recorder, "plan", name)
    if not found:
        raise UnknownObject(f"{worker.name} keeps no plan {name!r} for this driver", worker=worker.name)
    ids: List[int] = []
    try:
        recordings, states = [], set()
        for entry in found:
            inputs, outputs, form, state = msgpack.unpackb(entry["about"])
            numbers = list(range(entry["id"] + 1, entry["id"] + 2 + entry["constants"]))
            ids += numbers
            plan, *constants = [await _get(recorder, number) for number in numbers]
            npys = [tensor.to_npy(array) for array in constants]
            recordings.append(
                {"plan": plan.tobytes(), "constants": npys, "inputs": inputs, "outputs": outputs, "form": form}
            )
            states.add(state)
        held = None
        for state in states - {""}:
            held = {"name": state, "arrays": await _arrays(recorder, state)}
        neutral = ["asyncsyft plan", 1, name, found[0]["version"], recordings, held]
        return Fetched(msgpack.packb(neutral), [entry["id"] for entry in found])
    except AsyncSyftError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RemoteProtocolError(f"{worker.name} keeps something else than a plan: {in_short(error)}") from None
    finally:
        recorder.forgotten.extend(ids)


async def _arrays(recorder: Recorder, state: str) -> Dict[str, bytes]:
    """The arrays of a state that is kept, as .npy files. Raises: UnknownObject."""
    found = await recalled(recorder, "state", state)
    if not found:
        raise UnknownObject(f"{recorder.worker} keeps no state {state!r}", worker=recorder.worker)
    names, number = list(found[0]["arrays"]), found[0]["id"]
    outs = [recorder.new_id() for _ in names]
    try:
        recorder.record([program.READ, outs, [number], {"names": names}])
        return {name: tensor.to_npy(await _get(recorder, out)) for name, out in zip(names, outs)}
    finally:
        recorder.forgotten.extend([number, *outs])


async def _get(recorder: Recorder, number: int) -> Array:
    array: Array = await recorder.ask([program.GET, 0, [number]])
    return array
