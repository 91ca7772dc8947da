"""A recorded function, and its neutral form (docs/protocol.md): msgpack, npy, and nothing that could run by itself.

It knows no function, no tracer and no worker.
"""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import msgpack
import numpy as np

from .. import ops, program, tensor
from ..errors import RemoteError, RemoteProtocolError, in_short
from ..ops import Spec
from ..program import PlanData
from ..remote.failures import Origin
from ..tensor import MAX_DIMS, Array
from ..wire import MAX_LIST
from .state import State, fits
from .storing import Kept

FORMAT, FORMAT_VERSION = "asyncsyft plan", 1
#: Levels of lists and maps in what a function takes and gives.
MAX_FORM = 32
#: Combinations of shapes for which one recording remembers what it gives.
MAX_OUTPUTS = 256
#: Bytes of what a worker that keeps a plan is asked to tell of it again.
MAX_ABOUT = 1 << 16


class Recorded(Kept):
    """A function recorded for one signature: the plan, its constants, and how its outputs are put together.

    ``form`` has "*" where an output stands, ["()", ...] for tuples, ["[]", ...] for lists, maps, and None.
    ``origins`` say where each step was written; they are empty for a plan that came as bytes.
    """

    def __init__(
        self,
        data: PlanData,
        constants: List[Array],
        inputs: List[Spec],
        outputs: List[Spec],
        form: Any,
        origins: Sequence[Origin] = (),
    ) -> None:
        super().__init__()
        self.data, self.constants, self.inputs, self.outputs = data, constants, inputs, outputs
        self.form, self.origins = form, origins
        #: What the state is called that it is called with.
        self.state_name = ""
        self.params = {"state": True} if data.state else None
        self._outputs: Dict[Tuple[Spec, ...], Sequence[Spec]] = {}  # for inputs of other shapes

    def fits(self, specs: Sequence[Spec]) -> bool:
        """Whether inputs of these specs may be such as it was recorded for; a size that is not known may be any."""
        return len(specs) == len(self.inputs) and all(
            one.dtype == known.dtype and fits(one.shape, known.shape) for one, known in zip(specs, self.inputs)
        )

    def serves(self, specs: Sequence[Spec]) -> bool:
        """Whether what was recorded is true of inputs of these specs: the sizes that it knows are theirs."""
        pairs = [pair for spec, known in zip(specs, self.inputs) for pair in zip(spec.shape, known.shape)]
        return self.fits(specs) and all(known is None or dim == known for dim, known in pairs)

    def outputs_for(self, inputs: Sequence[Spec], state: Mapping[str, Spec]) -> Sequence[Spec]:
        """What it gives for inputs that fit those that it was recorded for. Raises: as ``registers``."""
        if None not in [dim for spec in self.inputs for dim in spec.shape]:
            return self.outputs
        key = tuple(inputs)
        found = self._outputs.get(key)
        if found is None:
            registers = self.registers(state, inputs)
            found = [registers[register] for register in self.data.outputs]
            if len(self._outputs) >= MAX_OUTPUTS:
                self._outputs.clear()
            self._outputs[key] = found
        return found

    def _store(self) -> Tuple[str, List[Array], Dict[str, Any]]:
        packed = np.frombuffer(self.data.pack(), np.uint8)
        return program.PLAN, [packed, *self.constants], {"about": self._about()}

    def _about(self) -> bytes:
        """What a worker that keeps it tells of it again: see ``recalling.py``. b"" if that would be too much."""
        specs = [[_plain(spec) for spec in side] for side in (self.inputs, self.outputs)]
        about: bytes = msgpack.packb([*specs, self.form, self.state_name])
        return about if len(about) <= MAX_ABOUT else b""

    def registers(self, state: Mapping[str, Spec], inputs: Optional[Sequence[Spec]] = None) -> List[Spec]:
        """The spec of each register, for these inputs or those that it was recorded for.

        Raises: TypeError, ValueError, IndexError, OverflowError for what cannot work.
        """
        specs = [
            *(self.inputs if inputs is None else inputs),
            *(state[name] for name in self.data.state),
            *map(ops.spec_of, self.constants),
        ]
        for index, step in enumerate(self.data.steps):
            read = tuple([specs[item] if isinstance(item, int) else ops.spec_of(item) for item in step.inputs])
            results = ops.infer(step.op, read, step.params)
            if len(results) != len(step.outs):
                raise ValueError(f"step {index} ({step.op}) gives {len(results)} results")
            specs += results
        return specs


def to_bytes(name: str, version: int, recorded: Sequence[Recorded], state: Optional[State]) -> bytes:
    """The neutral form of a plan."""
    held = None
    if state is not None:
        arrays = {word: tensor.to_npy(array) for word, array in state.arrays.items()}
        held = {"name": state.name, "arrays": arrays}
    plain = [
        {
            "plan": one.data.pack(),
            "constants": [tensor.to_npy(array) for array in one.constants],
            "inputs": [_plain(spec) for spec in one.inputs],
            "outputs": [_plain(spec) for spec in one.outputs],
            "form": one.form,
        }
        for one in recorded
    ]
    packed: bytes = msgpack.packb([FORMAT, FORMAT_VERSION, name, version, plain, held])
    return packed


class Loaded(NamedTuple):
    """What ``to_bytes`` was told."""

    name: str
    version: int
    recorded: List[Recorded]
    state: Optional[State]


def from_bytes(data: bytes) -> Loaded:
    """What a neutral form says, with every step inferred again. Raises: RemoteProtocolError and nothing else."""
    try:
        plain = msgpack.unpackb(data, strict_map_key=True, max_array_len=MAX_LIST)
        fmt, fmt_version, name, version, entries, held = plain
        if fmt != FORMAT or fmt_version != FORMAT_VERSION or type(name) is not str or type(version) is not int:
            raise ValueError("another format")
        state = None
        if held is not None:
            arrays = {str(word): tensor.from_npy(npy) for word, npy in held["arrays"].items()}
            state = State(held["name"], **arrays)
        specs = state.specs if state is not None else {}
        return Loaded(name, version, [_recorded(entry, specs, state) for entry in entries], state)
    except (
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        AttributeError,
        OverflowError,
        MemoryError,
        RecursionError,
    ) as e:
        raise RemoteProtocolError(f"no plan: {in_short(e)}") from None
    except RemoteError as error:
        raise RemoteProtocolError(f"no plan: {error}") from None


def _recorded(plain: Any, state: Mapping[str, Spec], held: Optional[State]) -> Recorded:
    data = program.unpack_plan(plain["plan"], len(plain["plan"]))
    constants = [tensor.from_npy(npy) for npy in plain["constants"]]
    inputs, outputs = [_spec(spec) for spec in plain["inputs"]], [_spec(spec) for spec in plain["outputs"]]
    made = Recorded(data, constants, inputs, outputs, plain["form"])
    made.state_name = held.name if held is not None else ""
    if (len(inputs), len(constants)) != (data.inputs, data.constants) or not set(data.state) <= set(state):
        raise ValueError("not the inputs, constants or state of the plan")
    registers = made.registers(state)
    if outputs != [registers[register] for register in data.outputs]:
        raise ValueError("the plan gives something else")
    for name, register in data.updates.items():
        if registers[register].dtype != state[name].dtype or len(registers[register].shape) != len(state[name].shape):
            raise ValueError(f"{name} does not keep its dtype and shape")
    if sum([1 for _ in _holes(made.form, 0)]) != len(outputs):
        raise ValueError("the form has another number of outputs")
    return made


def _holes(form: Any, depth: int) -> Iterator[None]:
    """As many as a form has places for outputs. Raises: ValueError."""
    if depth > MAX_FORM:
        raise ValueError("too many levels of lists and maps")
    if form == "*":
        yield None
    elif type(form) is dict and all(type(name) is str for name in form):
        for part in form.values():
            yield from _holes(part, depth + 1)
    elif type(form) is list and form and form[0] in ("()", "[]"):
        for part in form[1:]:
            yield from _holes(part, depth + 1)
    elif form is not None:
        raise ValueError("not a form of outputs")


def _plain(spec: Spec) -> List[Any]:
    return [tensor.descriptor(spec.dtype), list(spec.shape)]


def _spec(plain: Any) -> Spec:
    descr, shape = plain
    if type(shape) is not list or len(shape) > MAX_DIMS:
        raise ValueError("not a shape")
    if any(dim is not None and (type(dim) is not int or not 0 <= dim <= tensor.MAX_BYTES) for dim in shape):
        raise ValueError("not a dimension")
    return Spec(tensor.DTYPES[descr], tuple(shape))
