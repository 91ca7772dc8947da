"""What may befall a proxy's lines by chance: one thing at a time, drawn from a seed. It decides; it does not wait."""

from __future__ import annotations

from random import Random
from typing import Dict, Optional, Sequence

from .line import Line
from .proxy import FaultProxy

#: Bytes at most after which a line is cut in the middle of what it carries.
FAR = 256 * 1024


class Mischief:
    """Does at random one of ``kinds`` to one line of a proxy: see ``KINDS``. ``half_open``: seconds that this lasts."""

    def __init__(self, seed: object, kinds: Sequence[str], half_open: float = 5.0) -> None:
        self.done: Dict[str, int] = dict.fromkeys(kinds, 0)
        self.random = Random(f"{seed} mischief")
        self._kinds, self._half_open = list(kinds), half_open

    def strike(self, proxy: FaultProxy) -> Optional[str]:
        """Do something to one line; what it was, for people. None if no line is whole."""
        lines = [line for line in proxy.lines if line.whole]
        if not lines:
            return None
        line, kind = self.random.choice(lines), self.random.choice(self._kinds)
        told = KINDS[kind](self, proxy, line)
        self.done[kind] += 1
        return f"line {line.number}: {told}"

    def _reset(self, proxy: FaultProxy, line: Line) -> str:
        proxy.cut(line)
        return "cut with RST"

    def _end(self, proxy: FaultProxy, line: Line) -> str:
        proxy.cut(line, reset=False)
        return "cut with FIN"

    def _middle(self, proxy: FaultProxy, line: Line) -> str:
        way, after = self.random.randrange(2), self.random.randrange(1, FAR)
        line.truncate(after, back=bool(way))
        return f"cut when {after} more bytes have passed {'back' if way else 'there'}"

    def _freeze(self, proxy: FaultProxy, line: Line) -> str:
        proxy.freeze(line, seconds=self._half_open)
        return f"half open for {self._half_open:g} s"


#: What ``Mischief`` can do: RST; FIN; FIN after some more bytes; half open.
KINDS = {"reset": Mischief._reset, "end": Mischief._end, "middle": Mischief._middle, "freeze": Mischief._freeze}
