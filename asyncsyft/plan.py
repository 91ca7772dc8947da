"""Records a function as a plan: traced once for the shapes and dtypes that come, stored at a worker, then called.

It knows no worker until it is called; what a plan does at a worker is in ``executor/plans.py``.
"""

from __future__ import annotations

import inspect
import itertools
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, NoReturn, Optional, Tuple, Union

import msgpack
import numpy as np

from . import ops, program, tensor
from .errors import LocalProtocolError, Refused, RemoteProtocolError
from .ops import Spec
from .program import PlanData, Step
from .remote import Recorder, RemoteTensor
from .tensor import Array

_FORMAT = "asyncsyft plan"
_FORMAT_VERSION = 1


class State:
    """Arrays that plans of one model keep at a worker between calls: ``State(w=weights, b=bias)``.

    Given to a plan (``@plan(state=model)``), each name is an attribute of the function's first argument; assigning to
    it binds the name anew, at each worker for itself. What is given here is what a worker starts with.
    """

    def __init__(self, _name: str = "state", **arrays: Any) -> None:
        self.name = _name
        self.arrays: Dict[str, Array] = {name: tensor.as_tensor(array) for name, array in arrays.items()}

    async def get(self, worker: Any) -> Dict[str, Array]:
        """The arrays as they are at a worker now."""
        handles = self.at(worker)
        return {name: await handle.get() for name, handle in handles.items()}

    def at(self, worker: Any) -> Dict[str, RemoteTensor]:
        """Remote tensors of the arrays as they are when the steps recorded so far have run."""
        recorder: Recorder = worker.recorder
        outs = [recorder.new_id() for _ in self.arrays]
        recorder.record([program.READ, outs, [_stored(recorder, self)], {"names": list(self.arrays)}])
        specs = [Spec(array.dtype, array.shape) for array in self.arrays.values()]
        return {name: RemoteTensor(recorder, out, spec) for name, out, spec in zip(self.arrays, outs, specs)}

    def set(self, worker: Any, **arrays: Any) -> None:
        """Bind names anew at a worker, to remote tensors or to arrays that are sent there."""
        recorder: Recorder = worker.recorder
        unknown = sorted(set(arrays) - set(self.arrays))
        if unknown:
            raise AttributeError(f"the state has no {unknown[0]!r}: {', '.join(self.arrays)}")
        sid = _stored(recorder, self)
        given = [value if isinstance(value, RemoteTensor) else _sent(recorder, value) for value in arrays.values()]
        recorder.record([program.BIND, [], [sid, *(handle.live_id() for handle in given)], {"names": list(arrays)}])


class _Bound:
    """What the function sees of its state while it is recorded."""

    def __init__(self, handles: Dict[str, RemoteTensor]) -> None:
        object.__setattr__(self, "_handles", handles)
        object.__setattr__(self, "_updates", {})

    def __getattr__(self, name: str) -> RemoteTensor:
        handles: Dict[str, RemoteTensor] = object.__getattribute__(self, "_handles")
        if name not in handles:
            raise AttributeError(f"the state has no {name!r}: {', '.join(handles)}")
        return handles[name]

    def __setattr__(self, name: str, value: Any) -> None:
        before = getattr(self, name)
        if not isinstance(value, RemoteTensor):
            raise TypeError(f"state.{name} is bound to a remote tensor, not to {type(value).__name__}")
        if value.spec.dtype != before.spec.dtype or not _fits(value.spec.shape, before.spec.shape):
            raise TypeError(f"state.{name} is {before.spec.dtype}{before.shape}, not {value.spec.dtype}{value.shape}")
        self._handles[name] = self._updates[name] = value


class _Tracer:
    """Takes the place of a recorder while a function is recorded: steps become those of a plan."""

    def __init__(self, name: str, given: int) -> None:
        self.worker = f"plan {name}"
        self.steps: List[List[Any]] = []
        self.constants: List[Array] = []
        self.constant_ids: List[int] = []
        self.forgotten: List[int] = []
        self._ids = itertools.count(given + 1)  # 0 is no id
        self.conversation = self.relay = None

    def new_id(self) -> int:
        return next(self._ids)

    def record(self, step: List[Any], depth: int = 2, slot: Any = None) -> int:
        if step[0] not in ops.OPS:
            self._refuse(step[0])
        self.steps.append(step)
        return len(self.steps) - 1

    def put(self, array: Array, depth: int = 2) -> int:
        self.constants.append(array.copy())
        self.constant_ids.append(self.new_id())
        return self.constant_ids[-1]

    def ask(self, step: List[Any], depth: int = 2) -> NoReturn:
        self._refuse(step[0])

    def _refuse(self, op: str) -> NoReturn:
        raise LocalProtocolError(
            f"{op!r} has no place in a {self.worker}: while it is recorded there are no values, only shapes and dtypes"
        )


class Recorded(NamedTuple):
    """A function recorded for one signature: the plan, its constants, and how its outputs are put together."""

    data: PlanData
    constants: List[Array]
    inputs: List[Spec]
    outputs: List[Spec]
    form: Any


class Plan:
    """A function over remote tensors that runs as one step; made by ``plan``. Call it with tensors of one worker.

    Arguments that are remote tensors (or arrays, which are sent along) are inputs; all others are static: the function
    is recorded anew for each of their values, and for each combination of shapes and dtypes.
    """

    def __init__(self, function: Optional[Callable[..., Any]], name: str, state: Optional[State], version: int) -> None:
        self.function, self.name, self.state, self.version = function, name, state, version
        self.__doc__ = getattr(function, "__doc__", None) or type(self).__doc__
        self._recorded: Dict[Any, Recorded] = {}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Record a call; its results, in the form in which the function returns them.

        Raises: what the function raises while it is recorded, TypeError, ValueError if no argument is a remote tensor.
        """
        inputs, key, rebuild = _split(self._bound(args, kwargs))
        tracer = _tracing(inputs)
        if tracer is not None:  # within another plan: the steps become that plan's own
            return self._inline(tracer, rebuild(inputs))
        recorder = _recorder_of(self.name, inputs)
        handles = [item if isinstance(item, RemoteTensor) else _sent(recorder, item) for item in inputs]
        recorded = self._record([handle.spec for handle in handles], key, rebuild)
        names = [_stored(recorder, recorded, self)]
        has_state = self.state is not None
        if self.state is not None:
            names.append(_stored(recorder, self.state))
        outs = [recorder.new_id() for _ in recorded.outputs]
        step = [program.CALL, outs, names + [handle.live_id() for handle in handles]]
        recorder.record([*step, {"state": True}] if has_state else step)
        return _rebuild(recorded.form, [RemoteTensor(recorder, o, s) for o, s in zip(outs, recorded.outputs)])

    def record(self, *args: Any, **kwargs: Any) -> Recorded:
        """Record for these arguments, without a call: a ``Spec`` (or an array) stands for a tensor, None for any size.

        Raises: as calling does.
        """
        inputs, key, rebuild = _split(self._bound(args, kwargs))
        specs = [item if isinstance(item, Spec) else Spec(item.dtype, item.shape) for item in inputs]
        return self._record(specs, key, rebuild)

    @property
    def recorded(self) -> List[Recorded]:
        """What was recorded so far."""
        return list(self._recorded.values())

    def _bound(self, args: Tuple[Any, ...], kwargs: Dict[str, Any]) -> List[Tuple[str, Any]]:
        if self.function is None:
            if kwargs:
                raise TypeError(f"plan {self.name!r} came as bytes and takes its inputs by position")
            return [(str(at), value) for at, value in enumerate(args)]
        first = () if self.state is None else (None,)
        bound = inspect.signature(self.function).bind(*first, *args, **kwargs)
        bound.apply_defaults()
        return list(bound.arguments.items())[len(first) :]

    def _record(self, specs: List[Spec], key: Any, rebuild: Callable[[List[Any]], Any]) -> Recorded:
        signature = (tuple(specs), key)
        found = self._recorded.get(signature)
        if found is None:
            found = self._that_fits(specs) if self.function is None else self._trace(specs, rebuild)
            self._recorded[signature] = found
        return found

    def _that_fits(self, specs: List[Spec]) -> Recorded:
        for recorded in self._recorded.values():
            if len(specs) == len(recorded.inputs) and all(
                spec.dtype == known.dtype and _fits(spec.shape, known.shape)
                for spec, known in zip(specs, recorded.inputs)
            ):
                return recorded
        wanted = " or ".join(str([f"{s.dtype}{s.shape}" for s in r.inputs]) for r in self._recorded.values())
        raise TypeError(f"plan {self.name!r} was recorded for {wanted}")

    def _trace(self, specs: List[Spec], rebuild: Callable[[List[Any]], Any]) -> Recorded:
        state = self.state.arrays if self.state is not None else {}
        given = specs + [Spec(array.dtype, array.shape) for array in state.values()]
        tracer = _Tracer(self.name, len(given))
        handles = [RemoteTensor(tracer, at, spec) for at, spec in enumerate(given, 1)]  # type: ignore[arg-type]
        bound = _Bound(dict(zip(state, handles[len(specs) :])))
        result = self._call(bound, rebuild(list(handles[: len(specs)])))
        form, outputs = _flatten(result)
        for output in outputs:
            if not isinstance(output, RemoteTensor) or output.recorder is not tracer:  # type: ignore[comparison-overlap]
                raise TypeError(f"plan {self.name!r} returns remote tensors made from its inputs, not {output!r:.80}")
        updates = {name: handle.id for name, handle in bound._updates.items()}  # type: ignore[attr-defined]
        return _arrange(self, tracer, specs, list(state), outputs, updates, form)

    def _call(self, bound: _Bound, arguments: Mapping[str, Any]) -> Any:
        assert self.function is not None
        signature = inspect.signature(self.function)
        made = signature.bind_partial()
        names = list(signature.parameters)
        if self.state is not None:
            made.arguments[names[0]] = bound
        made.arguments.update(arguments)
        return self.function(*made.args, **made.kwargs)

    def _inline(self, tracer: _Tracer, arguments: Mapping[str, Any]) -> Any:
        if self.state is not None:
            raise LocalProtocolError(
                f"plan {self.name!r} has a state: only a plan of the same state could use it within"
            )
        if self.function is None:
            raise LocalProtocolError(f"plan {self.name!r} came as bytes and cannot be a part of another")
        return self._call(_Bound({}), arguments)

    def __repr__(self) -> str:
        return f"<Plan {self.name} version {self.version}>"

    def __str__(self) -> str:
        return "\n\n".join(map(show, self._recorded.values())) or repr(self)

    def graph(self) -> str:
        """What was recorded last as a drawing in Graphviz's language: ``dot -Tsvg``."""
        if not self._recorded:
            raise LocalProtocolError(f"plan {self.name!r} is not recorded yet: call it, or plan.record(Spec(...))")
        return draw(self.recorded[-1])

    def to_bytes(self) -> bytes:
        """What was recorded so far in the neutral form of docs/protocol.md."""
        recorded = [
            {
                "plan": one.data.plain(),
                "constants": [tensor.to_npy(array) for array in one.constants],
                "inputs": [_plain_spec(spec) for spec in one.inputs],
                "outputs": [_plain_spec(spec) for spec in one.outputs],
                "form": one.form,
            }
            for one in self._recorded.values()
        ]
        state = None
        if self.state is not None:
            arrays = {name: tensor.to_npy(array) for name, array in self.state.arrays.items()}
            state = {"name": self.state.name, "arrays": arrays}
        packed: bytes = msgpack.packb([_FORMAT, _FORMAT_VERSION, self.name, self.version, recorded, state])
        return packed

    @staticmethod
    def from_bytes(data: bytes) -> Plan:
        """The plan of ``to_bytes``, without its function. Raises: RemoteProtocolError for any other bytes."""
        try:
            fmt, version, name, plan_version, recorded, state = msgpack.unpackb(data, strict_map_key=True)
            if fmt != _FORMAT or version != _FORMAT_VERSION or type(name) is not str or type(plan_version) is not int:
                raise ValueError("another format")
            made = Plan(None, name, None, plan_version)
            if state is not None:
                arrays = {key: tensor.from_npy(npy) for key, npy in state["arrays"].items()}
                made.state = State(str(state["name"]), **arrays)
            for at, one in enumerate(recorded):
                made._recorded[at] = _from_plain(one)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, Refused) as error:
            raise RemoteProtocolError(f"no plan: {error!r:.120}") from None
        return made


def plan(
    function: Optional[Callable[..., Any]] = None,
    *,
    state: Optional[State] = None,
    name: str = "",
    version: int = 1,
) -> Any:
    """Make a plan of a function over remote tensors: ``@plan``, or ``@plan(state=model)`` if it keeps something."""

    def make(function: Callable[..., Any]) -> Plan:
        return Plan(function, name or function.__name__, state, version)

    return make if function is None else make(function)


# Storing at a worker.


def _stored(recorder: Recorder, thing: Union[Recorded, State], owner: Optional[Plan] = None) -> int:
    """The id of a plan or a state at a worker, where it is stored when it is first needed."""
    found = recorder.stored.get(id(thing))
    if found is not None:
        return found[0]
    arrays = thing.constants if isinstance(thing, Recorded) else list(thing.arrays.values())
    handles = [_sent(recorder, array) for array in arrays]
    out = recorder.new_id()
    ids = [handle.id for handle in handles]
    if isinstance(thing, Recorded):
        recorder.record([program.PLAN, out, ids, thing.data.plain()])
    else:
        recorder.record([program.STATE, out, ids, {"name": thing.name, "names": list(thing.arrays)}])
    recorder.stored[id(thing)] = (out, thing)  # the thing itself is kept, so that its id is not given again
    return out


def _sent(recorder: Recorder, value: Any) -> RemoteTensor:
    array = tensor.as_tensor(value)
    return RemoteTensor(recorder, recorder.put_any(array), Spec(array.dtype, array.shape))


def _recorder_of(name: str, inputs: List[Any]) -> Recorder:
    recorders = {id(item.recorder): item.recorder for item in inputs if isinstance(item, RemoteTensor)}
    if not recorders:
        raise ValueError(f"plan {name!r}: no remote tensor among the arguments, so no worker to run it at")
    if len(recorders) > 1:
        where = " and ".join(sorted(recorder.worker for recorder in recorders.values()))
        raise ValueError(f"plan {name!r}: its arguments are at {where}: move them to one worker first")
    (recorder,) = recorders.values()
    return recorder


def _tracing(inputs: List[Any]) -> Optional[_Tracer]:
    for item in inputs:
        if isinstance(item, RemoteTensor) and isinstance(item.recorder, _Tracer):
            return item.recorder
    return None


# Arguments and results.


def _split(arguments: List[Tuple[str, Any]]) -> Tuple[List[Any], Any, Callable[[List[Any]], Dict[str, Any]]]:
    """Arguments as tensors, a key for all that is static, and the way back with other tensors in their places."""
    tensors: List[Any] = []
    form = {name: _take(value, tensors) for name, value in arguments}
    key = repr(form)

    def rebuild(values: List[Any]) -> Dict[str, Any]:
        rest = iter(values)
        return {name: _put_back(value, rest) for name, value in form.items()}

    return tensors, key, rebuild


class _Hole:
    """Where a tensor stood among the arguments."""

    def __repr__(self) -> str:
        return "<tensor>"


_HOLE = _Hole()


def _take(value: Any, tensors: List[Any]) -> Any:
    if isinstance(value, (RemoteTensor, Spec, np.ndarray)):
        tensors.append(value)
        return _HOLE
    if type(value) in (list, tuple):
        return type(value)(_take(item, tensors) for item in value)
    if type(value) is dict:
        return {name: _take(item, tensors) for name, item in value.items()}
    return value


def _put_back(value: Any, rest: Iterator[Any]) -> Any:
    if value is _HOLE:
        return next(rest)
    if type(value) in (list, tuple):
        return type(value)(_put_back(item, rest) for item in value)
    if type(value) is dict:
        return {name: _put_back(item, rest) for name, item in value.items()}
    return value


def _flatten(result: Any) -> Tuple[Any, List[Any]]:
    """A result as (form, tensors): the form has "*" where a tensor stands, lists, ["()", ...] for tuples, maps."""
    if isinstance(result, dict):
        parts = {str(name): _flatten(item) for name, item in result.items()}
        return {name: form for name, (form, _) in parts.items()}, [t for _, ts in parts.values() for t in ts]
    if isinstance(result, (list, tuple)):
        pairs = [_flatten(item) for item in result]
        forms: List[Any] = [form for form, _ in pairs]
        return ["()", *forms] if isinstance(result, tuple) else ["[]", *forms], [t for _, ts in pairs for t in ts]
    return "*", [result]


def _rebuild(form: Any, tensors: List[Any]) -> Any:
    rest = iter(tensors)

    def build(part: Any) -> Any:
        if isinstance(part, dict):
            return {name: build(item) for name, item in part.items()}
        if isinstance(part, list):
            items = [build(item) for item in part[1:]]
            return tuple(items) if part[0] == "()" else items
        return next(rest)

    return build(form)


def _fits(shape: Tuple[Optional[int], ...], known: Tuple[Optional[int], ...]) -> bool:
    return len(shape) == len(known) and all(k is None or d is None or d == k for d, k in zip(shape, known))


# From a trace to a plan.


def _arrange(
    plan: Plan,
    tracer: _Tracer,
    specs: List[Spec],
    state: List[str],
    outputs: List[Any],
    updates: Dict[str, int],
    form: Any,
) -> Recorded:
    """Drop the steps that nothing needs, and count the registers anew: inputs, state, constants, results."""
    needed = {handle.id for handle in outputs} | set(updates.values())
    kept: List[Step] = []
    for raw in reversed(tracer.steps):
        step = program.check(raw)
        if needed & set(step.outs):
            kept.append(step)
            needed.update(item for item in step.inputs if isinstance(item, int))
    kept.reverse()
    constants = [(number, array) for number, array in zip(tracer.constant_ids, tracer.constants) if number in needed]
    order = [
        *range(1, len(specs) + len(state) + 1),
        *(number for number, _ in constants),
        *(o for s in kept for o in s.outs),
    ]
    new = {register: at for at, register in enumerate(order)}
    steps = [
        Step(
            s.op, tuple(new[o] for o in s.outs), tuple(new[i] if isinstance(i, int) else i for i in s.inputs), s.params
        )
        for s in kept
    ]
    data = PlanData(
        plan.name, plan.version, len(specs), state, len(constants), steps, [new[h.id] for h in outputs],
        {name: new[register] for name, register in updates.items()},
    )  # fmt: skip
    return Recorded(data, [array for _, array in constants], specs, [handle.spec for handle in outputs], form)


def _plain_spec(spec: Spec) -> List[Any]:
    return [tensor.descriptor(spec.dtype), list(spec.shape)]


def _spec_from(plain: Any) -> Spec:
    descr, shape = plain
    if any(dim is not None and (type(dim) is not int or dim < 0) for dim in shape):
        raise ValueError("not a shape")
    return Spec(tensor.DTYPES[descr], tuple(shape))


def _from_plain(plain: Any) -> Recorded:
    inputs, outputs = [_spec_from(s) for s in plain["inputs"]], [_spec_from(s) for s in plain["outputs"]]
    constants = [tensor.from_npy(npy) for npy in plain["constants"]]
    return Recorded(program.check_plan(plain["plan"]), constants, inputs, outputs, plain["form"])


# For people.


def show(recorded: Recorded) -> str:
    """A plan as text, a line a step."""
    data = recorded.data
    names = [f"%{at}: {_say(spec)}" for at, spec in enumerate(recorded.inputs)]
    names += [f"%{len(recorded.inputs) + at} = state.{name}" for at, name in enumerate(data.state)]
    first = len(recorded.inputs) + len(data.state)
    names += [f"%{first + at}: constant {a.dtype}{list(a.shape)}" for at, a in enumerate(recorded.constants)]
    lines = [f"plan {data.name} version {data.version} ({', '.join(names)})"]
    for step in data.steps:
        inputs = ", ".join(f"%{item}" if isinstance(item, int) else str(item) for item in step.inputs)
        params = "".join(f", {key}={value!r}" for key, value in step.params.items())
        lines.append(f"  {', '.join(f'%{out}' for out in step.outs)} = {step.op}({inputs}{params})")
    lines += [f"  state.{name} := %{register}" for name, register in data.updates.items()]
    lines.append(f"  return {', '.join(f'%{r}: {_say(s)}' for r, s in zip(data.outputs, recorded.outputs))}")
    return "\n".join(lines)


def _say(spec: Spec) -> str:
    return f"{spec.dtype}[{', '.join('?' if dim is None else str(dim) for dim in spec.shape)}]"


def draw(recorded: Recorded) -> str:
    """A plan as a graph in Graphviz's language."""
    data = recorded.data
    lines = [f'digraph "{data.name}" {{', "  node [shape=box];"]
    made: Dict[int, str] = {}
    labels = [f"input {at}" for at in range(data.inputs)] + [f"state.{name}" for name in data.state]
    for register, label in enumerate(labels + [f"constant {at}" for at in range(data.constants)]):
        made[register] = f"r{register}"
        lines.append(f'  r{register} [label="{label}", shape=ellipse];')
    for at, step in enumerate(data.steps):
        lines.append(f'  s{at} [label="{step.op}"];')
        lines += [f"  {made[item]} -> s{at};" for item in step.inputs if isinstance(item, int)]
        made.update(dict.fromkeys(step.outs, f"s{at}"))
    for at, register in enumerate(data.outputs):
        lines += [f'  o{at} [label="output {at}", shape=ellipse];', f"  {made[register]} -> o{at};"]
    for name, register in data.updates.items():
        lines += [f'  u_{name} [label="state.{name} :=", shape=ellipse];', f"  {made[register]} -> u_{name};"]
    return "\n".join([*lines, "}"])
