"""What workers keep copies of, plans and states: stored where it is first needed, dropped there when Python forgets it.

It knows not what is stored; a worker that comes back as another has a recorder of its own, and gets a copy of its own.
"""

from __future__ import annotations

import itertools
import weakref
from typing import Any, Dict, List, Sequence, Tuple

from .. import program
from ..remote import Recorder
from ..tensor import Array

_SERIALS = itertools.count(1)


class Kept:
    """Something of which workers hold a copy; its number is never given again, unlike ``id()``."""

    def __init__(self) -> None:
        self.serial = next(_SERIALS)
        self._copies: List[Tuple[weakref.ReferenceType[Recorder], int]] = []

    def __del__(self) -> None:
        # In any thread, also inside our own code: only note the ids.
        for place, number in getattr(self, "_copies", ()):
            recorder = place()
            if recorder is not None:
                recorder.forgotten.append(number)
                recorder.stored.pop(self.serial, None)

    def _store(self) -> Tuple[str, List[Array], Dict[str, Any]]:
        """The step that stores it: op, arrays (that never change), params."""
        raise NotImplementedError

    def id_at(self, recorder: Recorder, depth: int) -> int:
        """Its id at a worker, where it is stored if it is not yet. ``depth``: as ``Recorder.record``."""
        number = recorder.stored.get(self.serial)
        if number is None:
            op, arrays, params = self._store()
            number = recorder.new_id()
            _record(recorder, [op, number], arrays, params, depth + 1)
            recorder.stored[self.serial] = number
            self._copies = [copy for copy in self._copies if copy[0]() is not None]
            self._copies.append((weakref.ref(recorder), number))
        return number

    def drop_at(self, recorder: Recorder, depth: int) -> bool:
        """Forget the copy at a worker; False if there is none."""
        number = recorder.stored.pop(self.serial, None)
        if number is None:
            return False
        self._copies = [copy for copy in self._copies if copy[1] != number]
        recorder.record([program.DELETE, 0, [number]], depth)
        return True


def _record(recorder: Recorder, step: List[Any], arrays: Sequence[Array], params: Dict[str, Any], depth: int) -> None:
    """Record a step on arrays that it alone needs."""
    ids: List[int] = []
    try:
        for array in arrays:
            ids.append(recorder.put_any(array, depth))
        recorder.record([*step, ids, params] if params else [*step, ids], depth)
        recorder.record([program.DELETE, 0, ids], depth)
    except BaseException:
        recorder.forgotten.extend(ids)
        raise
