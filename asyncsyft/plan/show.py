"""A recorded plan as text for people, a line a step."""

from __future__ import annotations

from typing import Any, List, Mapping

from ..ops import Spec
from ..program import Step
from ..tensor import Array
from .data import Recorded

#: Characters of one constant or parameter.
MOST = 60


def show(recorded: Recorded, state: Mapping[str, Spec]) -> str:
    """A plan as text: registers are %0, %1, ... in the order in which they come to be."""
    data, specs = recorded.data, recorded.registers(state)
    names = [f"%{at}: {say(specs[at])}" + f" {what}".rstrip() for at, what in enumerate(given(recorded))]
    lines = [f"plan {data.name} version {data.version} ({', '.join(names)})"]
    for step in data.steps:
        outs = ", ".join(f"%{out}: {say(specs[out])}" for out in step.outs)
        inputs = [f"%{item}" if isinstance(item, int) else literal(item) for item in step.inputs]
        lines.append(f"  {outs} = {step.op}({', '.join(inputs + params(step))})")
    lines += [f"  state.{name} = %{register}" for name, register in data.updates.items()]
    return "\n".join([*lines, f"  return {_form(recorded.form, iter(data.outputs))}"])


def given(recorded: Recorded) -> List[str]:
    """What the first registers are; an input is nothing in particular."""
    data = recorded.data
    return [""] * data.inputs + [f"state.{name}" for name in data.state] + ["constant"] * data.constants


def say(spec: Spec) -> str:
    """Dtype and shape, ? for a size that is not known."""
    return f"{spec.dtype}[{', '.join('?' if dim is None else str(dim) for dim in spec.shape)}]"


def literal(item: Array) -> str:
    """A literal input."""
    return str(item.item())


def params(step: Step) -> List[str]:
    """The parameters of a step."""
    return [f"{key}={_short(value)}" for key, value in step.params.items()]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= MOST else f"{text[: MOST - 3]}..."


def _form(form: Any, outputs: Any) -> str:
    if form is None:
        return "None"
    if isinstance(form, dict):
        return "{" + ", ".join(f"{name!r}: {_form(part, outputs)}" for name, part in form.items()) + "}"
    if isinstance(form, list):
        items = ", ".join(_form(part, outputs) for part in form[1:])
        return f"[{items}]" if form[0] == "[]" else f"({items},)" if len(form) == 2 else f"({items})"
    return f"%{next(outputs)}"
