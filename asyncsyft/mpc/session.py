"""A driver's side of an MPC session: it opens one at the parties and the dealer, and tells them what to compute.

It shares its own data under masks, and sees nothing but the results that are revealed to it.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Dict, Iterator, List, Optional, Sequence, Set, Tuple, Type

import numpy as np

from .. import program, tensor, wire
from ..driver import Driver, RemoteWorker
from ..errors import AsyncSyftError, Refused, SessionError
from ..protocol import Conversation
from ..remote import RemoteTensor
from ..waiting import Slot
from . import fixed, ring
from .asking import Asked
from .circuit import Circuit
from .node import Node
from .packing import pack
from .prg import Stream, masks_of_driver, new_seed
from .tensor import SecretTensor

__all__ = ["MPC"]

DEALER = -1
NAME_SIZE = 16
#: Lanes of sessions; one driver has as many sessions at once with one worker.
FIRST_LANE, LANES = 512, 256
#: What is recorded is sent when it has so many gates, or makes so many elements, also if nobody asked for a result.
GATES, WORK = 512, 1 << 20
#: Elements from which on the members run a batch in a thread, so as not to stop everything else that they do.
HEAVY = 1 << 16

_lanes: Dict[Conversation, Set[int]] = {}


class MPC:
    """Several workers compute on secrets of which each holds a share, while entered; none learns anything of them.

    ``parties``: two or more workers. ``dealer``: another one, that deals randomness, sees no opening, and must not
    collude with any of them. ``bits``: fractional bits of numbers that are not whole. What they say to each other is
    sealed if what this driver says to them is; if it is not, and they are not in this process, ``insecure`` must be
    True, since whoever carries the frames could put the shares together.

    Raises, on entering: Refused, SessionError.
    """

    def __init__(
        self,
        parties: Sequence[RemoteWorker],
        dealer: RemoteWorker,
        *,
        bits: int = 16,
        insecure: bool = False,
    ) -> None:
        """Raises: ValueError for fewer than two parties, workers that are there twice, or bits that have no room."""
        self.parties, self.dealer, self.insecure = list(parties), dealer, insecure
        everyone = {worker.conversation for worker in (*self.parties, dealer)}
        if len(self.parties) < 2 or len(everyone) <= len(self.parties):
            raise ValueError("a session has two parties or more, and a dealer that is none of them, all different")
        self.circuit = Circuit(bits)
        self.error: Optional[SessionError] = None
        self.name = os.urandom(NAME_SIZE)
        self._driver: Driver = dealer.driver
        self._seeds = [new_seed() for _ in self.parties]
        self._streams = [Stream(seed, b"inputs") for seed in self._seeds]
        self._masked: Dict[int, Any] = {}  # inputs of the driver that wait to leave
        self._owned: Dict[int, Tuple[int, RemoteTensor, Optional[int]]] = {}  # number -> (party, tensor, scale)
        self._batch = 0
        self._waiting: Set[Slot[Any]] = set()
        self._counts: Dict[int, Dict[str, int]] = {}
        self._lane = 0
        self._together = 0

    # Life.

    async def __aenter__(self) -> MPC:
        members = {**dict(enumerate(self.parties)), DEALER: self.dealer}
        self._check_sealed()
        self._lane = self._take_lane()
        lives = {place: [w.conversation.theirs, w.conversation.expects] for place, w in members.items()}
        common = {
            "session": self.name,
            "parties": [lives[i] for i in range(len(self.parties))],
            "dealer": lives[DEALER],
        }
        slots = []
        for place, worker in members.items():
            seeds = self._seeds if place == DEALER else [self._seeds[place]]
            step = ["mpc.open", [], [], {**common, "place": place, "seeds": seeds}]
            slots.append(self._ask(worker, [step], [], [], {})[0])
        try:
            for slot in slots:
                await slot
        except BaseException:
            self._close()
            raise
        return self

    async def __aexit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], traceback: Optional[TracebackType]
    ) -> None:
        self._close()

    def _close(self) -> None:
        if self.error is None:
            self.error = SessionError("the session is closed")
            for worker in (*self.parties, self.dealer):
                if worker.conversation.ended is None:
                    self._ask(worker, [["mpc.close", [], [], {"session": self.name, "reason": ""}]], [], [], {})
        for worker in (*self.parties, self.dealer):
            _lanes.get(worker.conversation, set()).discard(self._lane)

    def _take_lane(self) -> int:
        talks = [worker.conversation for worker in (*self.parties, self.dealer)]
        for gone in [talk for talk in _lanes if talk.ended is not None]:
            del _lanes[gone]
        taken = set().union(*(_lanes.setdefault(talk, set()) for talk in talks))
        free = [lane for lane in range(FIRST_LANE, FIRST_LANE + LANES) if lane not in taken]
        if not free:
            raise SessionError(f"{LANES} sessions are open with one worker")
        for talk in talks:
            _lanes[talk].add(free[0])
        return free[0]

    def _check_sealed(self) -> None:
        roads = self._driver.peer.conversations.roads
        for worker in (*self.parties, self.dealer):
            talk = worker.conversation
            road = roads.get(talk)
            here = road is not None and road.link.transport.remote == "memory"
            if not talk.expects and not here and not self.insecure:
                raise Refused(
                    f"what is said to {worker.name} is not sealed: name its key in known_peers, or say insecure=True"
                )

    # Secrets.

    async def share(self, values: Any) -> SecretTensor:
        """A secret: data of this driver, or a tensor that a party holds, which does not leave it in the clear.

        Whole numbers stay whole; others get the session's fractional bits.

        Raises: SessionError for a value that has no room, TypeError for what is not numbers, and ValueError for a
        tensor of a worker that is no party.
        """
        self._check()
        if isinstance(values, RemoteTensor):
            return await self._share_remote(values)
        array = np.asarray(values)
        scale = 0 if array.dtype.kind in "iubO" else self.circuit.bits
        encoded = fixed.encode(array, scale)
        node = self.circuit.input(-1, array.shape, scale)
        self._masked[node.number] = ring.add(encoded, masks_of_driver(self._streams, array.shape))
        return self._made(node)

    async def _share_remote(self, values: RemoteTensor) -> SecretTensor:
        owners = [i for i, worker in enumerate(self.parties) if worker.recorder is values.recorder]
        if not owners:
            raise ValueError(f"{values.worker} is no party of this session: only parties share what they hold")
        await values.recorder.flushed()  # what makes it leaves on another lane
        if None in values.shape:
            await values.info()
        scale = 0 if values.dtype.kind in "iub" else self.circuit.bits
        shape = tuple(int(size) for size in values.shape if size is not None)
        node = self.circuit.input(owners[0], shape, scale)
        self._owned[node.number] = owners[0], values, scale
        return self._made(node)

    def _made(self, node: Node) -> SecretTensor:
        self.recorded()
        return SecretTensor(self, node)

    async def reveal(self, *tensors: SecretTensor) -> List[Any]:
        """What these are, to this driver: float64, or int64 where numbers are whole. Raises: SessionError."""
        self._check()
        told = []
        for one in tensors:
            told.append((self.circuit.reveal(one.node, -1), self.circuit.number(one.node).scale))
        steps = [["mpc.reveal", [], [], {"session": self.name, "number": number}] for number, _ in told]
        slots = self._send(dict.fromkeys(range(len(self.parties)), steps))
        out = []
        for index, (_, scale) in enumerate(told):
            whole = await slots[0][index]
            for place in range(1, len(self.parties)):
                whole = ring.add(whole, await slots[place][index])
            out.append(fixed.decode(whole, scale))
        return out

    async def reveal_to(self, worker: RemoteWorker, secret: SecretTensor, name: str) -> None:
        """Tell one party alone; who runs it finds it by ``await worker.sessions.result(name)``. Raises: ValueError."""
        self._check()
        if worker not in self.parties:
            raise ValueError(f"{worker.name} is no party of this session")
        place = self.parties.index(worker)
        number, scale = self.circuit.reveal(secret.node, place), self.circuit.number(secret.node).scale
        params = {"session": self.name, "number": number, "name": name, "bits": scale}
        slots = self._send({place: [["mpc.reveal", [], [], params]]})
        await slots[place][-1]

    @property
    def stats(self) -> Dict[str, Any]:
        """Since the session began: hops, bytes that each party opened, bytes dealt, gates; as of the last answer."""
        parties = [self._counts.get(place, {}) for place in range(len(self.parties))]
        return {
            "hops": max(each.get("hops", 0) for each in parties),
            "opened": [each.get("opened", 0) for each in parties],
            "dealt": self._counts.get(DEALER, {}).get("dealt", 0),
            "gates": max(each.get("gates", 0) for each in parties),
            "batches": self._batch,
        }

    async def flush(self) -> None:
        """Return when all that was recorded has been computed. Raises: SessionError."""
        self._check()
        self._send({})
        for slot in list(self._waiting):
            await slot

    # What leaves.

    def recorded(self) -> None:
        """Something was recorded: it leaves by itself when it is much. Raises: SessionError."""
        self._check()
        if not self._together and (len(self.circuit.gates) >= GATES or self.circuit.work >= WORK):
            self._send({})

    @contextmanager
    def together(self) -> Iterator[None]:
        """What is recorded within does not leave in parts."""
        self._together += 1
        try:
            yield
        finally:
            self._together -= 1
        self.recorded()

    def _check(self) -> None:
        if self.error is not None:
            raise SessionError(*self.error.args)

    def _send(self, more: Dict[int, List[Any]]) -> Dict[int, List[Slot[Any]]]:
        """Send what is recorded to all, and more steps to some; the slots of these, and of what computes, by place."""
        heavy = self.circuit.work >= HEAVY
        gates, dead = self.circuit.take()
        masked, self._masked = self._masked, {}
        owned, self._owned = self._owned, {}
        packed = np.frombuffer(pack(gates), np.uint8)
        number, self._batch = self._batch, self._batch + 1
        slots = {}
        for place, worker in {**dict(enumerate(self.parties)), DEALER: self.dealer}.items():
            common = {"session": self.name, "batch": number, "drop": dead, "heavy": heavy}
            arrays, inputs, held = [packed], [], []
            if place != DEALER:
                arrays += list(masked.values())
                inputs = [[key, None] for key in masked]
                held = [(key, one, scale) for key, (owner, one, scale) in owned.items() if owner == place]
            names = [self._driver.new_id() for _ in arrays]
            own = [one.live_id() for _, one, _ in held]
            inputs += [[key, scale] for key, _, scale in held]
            run = ["mpc.run", [], [*names, *own], {**common, "inputs": inputs}]
            steps = [run, [program.DELETE, 0, names], *more.get(place, [])]
            slots[place] = self._ask(worker, steps, names, arrays, dict.fromkeys(more and range(2, len(steps))), held)
        return slots

    def _ask(
        self,
        worker: RemoteWorker,
        steps: List[Any],
        names: List[int],
        arrays: List[Any],
        values: Any,
        held: Any = (),
    ) -> List[Slot[Any]]:
        """Ask a member; arrays are put before the steps. Slots of the steps ``values``, then of the whole request."""
        puts: List[Any] = []
        body: List[Any] = []
        chunks: List[Any] = []
        at = 0
        for name, array in zip(names, arrays):
            params: Dict[str, Any] = {"dtype": tensor.descriptor(array.dtype), "shape": list(array.shape)}
            if at + array.nbytes <= wire.CHUNK:
                params["at"] = at
                body.append(array.tobytes())  # the wire fills each up to 8 bytes
                at += array.nbytes + 7 & ~7
            else:
                chunks.append((len(puts), np.ascontiguousarray(array)))
            puts.append([program.PUT, name, [], params])
        request = Asked(self, worker, worker.name, len(puts), values, held)
        request.chunks = chunks
        try:
            worker.conversation.ask(request, [*puts, *steps], body, self._lane)
        except AsyncSyftError as error:
            request.lost(error)
        return [*request.slots.values(), request.done]

    def ended(self, worker: RemoteWorker, error: SessionError) -> None:
        """A member said that the session is over, or is gone."""
        if self.error is None:
            self.error = error
            for slot in list(self._waiting):
                slot.fail(SessionError(*error.args))
            for other in (*self.parties, self.dealer):
                if other is not worker and other.conversation.ended is None:
                    params = {"session": self.name, "reason": str(error)[:1000]}
                    self._ask(other, [["mpc.close", [], [], params]], [], [], {})

    def counted(self, worker: RemoteWorker, counts: Any) -> None:
        """What a member has counted so far."""
        place = self.parties.index(worker) if worker in self.parties else DEALER
        self._counts[place] = counts

    def waits(self) -> Slot[Any]:
        """A slot that fails when the session does."""
        slot: Slot[Any] = self._driver.peer.slot()
        if self.error is None:
            self._waiting.add(slot)
        return slot

    def waited(self, slot: Slot[Any]) -> None:
        self._waiting.discard(slot)
