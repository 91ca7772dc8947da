"""What a person at a worker is shown of the requests that wait, and says to them."""

from __future__ import annotations

from typing import Any, Dict, List

import numpy as np

from .releases import Releases

#: Entries of a value that are shown.
SHOWN = 40


class Desk:
    """The requests of one worker, as its commands see them."""

    def __init__(self, worker: str, releases: Releases) -> None:
        self._worker, self._releases = worker, releases

    def list(self) -> List[Dict[str, Any]]:
        """All that wait, the oldest first."""
        return [wish.describe() for wish in self._releases.waiting.values()]

    def show(self, number: int) -> Dict[str, Any]:
        """One of them, and what it would give away. Raises: KeyError."""
        wish = self._releases.waiting.get(number)
        if wish is None:
            raise self._unknown(number)
        with np.printoptions(threshold=SHOWN, edgeitems=3, linewidth=100):
            return {**wish.describe(), "preview": str(wish.value.array)}

    def approve(self, number: int) -> None:
        """Let it go. Raises: KeyError."""
        if number not in self._releases.waiting:
            raise self._unknown(number)
        self._releases.approve(number)

    def deny(self, number: int, why: str = "") -> None:
        """Refuse it. Raises: KeyError."""
        if number not in self._releases.waiting:
            raise self._unknown(number)
        self._releases.deny(number, why)

    def _unknown(self, number: Any) -> KeyError:
        return KeyError(f"no request {number!r:.20} waits at {self._worker}: it was decided, or withdrawn")

    def answer(self, said: Dict[str, Any]) -> Dict[str, Any]:
        """What a command asks. Raises: KeyError, ValueError."""
        what, number = said.get("do"), said.get("id")
        if what == "list":
            return {"worker": self._worker, "requests": self.list()}
        if type(number) is not int:
            raise ValueError("a request has a number")
        if what == "show":
            return self.show(number)
        if what == "approve":
            self.approve(number)
        elif what == "deny":
            self.deny(number, str(said.get("why", "")))
        else:
            raise ValueError(f"not understood: {what!r:.40}")
        return {"worker": self._worker, "id": number}
