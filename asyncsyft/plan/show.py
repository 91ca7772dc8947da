"""A recorded plan for people: as text, a line a step, and as a drawing in Graphviz's language."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping

from ..ops import Spec
from ..program import Step
from ..tensor import Array
from .data import Recorded

#: Characters of one constant or parameter.
MOST = 60


def show(recorded: Recorded, state: Mapping[str, Spec]) -> str:
    """A plan as text: registers are %0, %1, ... in the order in which they come to be."""
    data, specs = recorded.data, recorded.registers(state)
    given = _given(recorded)
    names = [f"%{at}: {_say(specs[at])}" + f" {what}".rstrip() for at, what in enumerate(given)]
    lines = [f"plan {data.name} version {data.version} ({', '.join(names)})"]
    for step in data.steps:
        outs = ", ".join(f"%{out}: {_say(specs[out])}" for out in step.outs)
        inputs = [f"%{item}" if isinstance(item, int) else _literal(item) for item in step.inputs]
        lines.append(f"  {outs} = {step.op}({', '.join(inputs + _params(step))})")
    lines += [f"  state.{name} = %{register}" for name, register in data.updates.items()]
    return "\n".join([*lines, f"  return {_form(recorded.form, iter(data.outputs))}"])


def draw(recorded: Recorded, state: Mapping[str, Spec]) -> str:
    """A plan as a graph."""
    data, specs = recorded.data, recorded.registers(state)
    lines = [f"digraph {_quoted(data.name)} {{", '  node [shape=box, fontname="sans-serif"];']
    made: Dict[int, str] = {}
    for register, what in enumerate(_given(recorded)):
        made[register] = f"g{register}"
        lines.append(
            f"  g{register} [shape=ellipse, label={_quoted(what or f'input {register}', _say(specs[register]))}];"
        )
    for at, step in enumerate(data.steps):
        rest = [_literal(item) for item in step.inputs if not isinstance(item, int)] + _params(step)
        result = ", ".join(_say(specs[out]) for out in step.outs)
        lines.append(f"  s{at} [label={_quoted(' '.join([step.op, *rest]), result)}];")
        lines += [f"  {made[item]} -> s{at};" for item in step.inputs if isinstance(item, int)]
        made.update(dict.fromkeys(step.outs, f"s{at}"))
    ends = [(f"o{at}", f"output {at}", register) for at, register in enumerate(data.outputs)]
    ends += [(f"u{at}", f"state.{name} =", data.updates[name]) for at, name in enumerate(data.updates)]
    for node, what, register in ends:
        lines += [f"  {node} [shape=ellipse, label={_quoted(what)}];", f"  {made[register]} -> {node};"]
    return "\n".join([*lines, "}"])


def _given(recorded: Recorded) -> List[str]:
    """What the first registers are; an input is nothing in particular."""
    data = recorded.data
    return [""] * data.inputs + [f"state.{name}" for name in data.state] + ["constant"] * data.constants


def _say(spec: Spec) -> str:
    return f"{spec.dtype}[{', '.join('?' if dim is None else str(dim) for dim in spec.shape)}]"


def _literal(item: Array) -> str:
    return str(item.item())


def _params(step: Step) -> List[str]:
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


def _quoted(*lines: str) -> str:
    # In Graphviz's language a quotation mark and a backslash are escaped, and \n begins a line.
    return '"' + r"\n".join(line.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ") for line in lines) + '"'
