"""The order in which gates run: all that can travel together does."""

from __future__ import annotations

from typing import Dict, List, Sequence, Set, Tuple

from .machine import Gate

__all__ = ["HOPS", "schedule"]

#: Gates that need what the other parties have.
HOPS = frozenset(("input", "open", "fold", "bit"))


def schedule(gates: Sequence[Gate], dead: Set[int]) -> Tuple[List[Gate], List[int]]:
    """The gates, so ordered that as many openings as possible leave together; values are dropped after their last use.

    ``dead``: numbers that nobody will name any more. Those among them that no gate makes or reads are given back.
    """
    level: Dict[int, int] = {}
    keys: List[Tuple[int, bool]] = []
    for gate in gates:
        start = max((level.get(number, 0) for number in gate.ins), default=0)
        hop = gate.op in HOPS
        keys.append((start, hop))
        level[gate.out] = start + hop
    order = sorted(range(len(gates)), key=lambda index: keys[index])
    last = {number: index for index in order for number in (gates[index].out, *gates[index].ins)}
    drops: Dict[int, List[int]] = {}
    for number in dead & last.keys():
        drops.setdefault(last[number], []).append(number)
    out: List[Gate] = []
    late: List[int] = []
    for index in order:
        gate, gone = gates[index], drops.get(index)
        if gone:
            late.extend(number for number in gone if number == gate.out)
            gate = gate._replace(drop=tuple(sorted(number for number in gone if number != gate.out)))
        out.append(gate)
    return out, sorted((dead - last.keys()) | set(late))
