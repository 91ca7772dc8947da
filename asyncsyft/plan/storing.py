"""What workers keep copies of, plans and states: stored where it is first needed, dropped there when Python forgets it.

It knows not what is stored; a worker that comes back as another has a recorder of its own, and gets a copy of its own.
"""

from __future__ import annotations

import itertools
from typing import Any, Deque, Dict, List, Sequence, Tuple

from .. import program
from ..errors import AsyncSyftError
from ..remote import Recorder
from ..remote.failures import Failures, current_scope
from ..tensor import Array

_SERIALS = itertools.count(1)


class Kept:
    """Something of which workers hold a copy; its number is never given again, unlike ``id()``."""

    def __init__(self) -> None:
        self.serial = next(_SERIALS)
        # (ids to forget at a worker, what is stored there, the id there): none of them leads back to the recorder, and
        # a weak reference to that would be cleared before ``__del__``, if this is a part of a cycle.
        self._copies: List[Tuple[Deque[int], Dict[int, int], int]] = []

    def __del__(self) -> None:
        # In any thread, also inside our own code: only note the ids.
        for forgotten, stored, number in getattr(self, "_copies", ()):
            if stored.pop(self.serial, None) is not None:
                forgotten.append(number)

    def _store(self) -> Tuple[str, List[Array], Dict[str, Any]]:
        """The step that stores it: op, arrays (that never change), params."""
        raise NotImplementedError

    def id_at(self, recorder: Recorder, depth: int) -> int:
        """Its id at a worker, where it is stored if it is not yet. ``depth``: as ``Recorder.record``."""
        number = recorder.stored.get(self.serial)
        if number is None:
            op, arrays, params = self._store()
            number = recorder.new_id()
            scope = current_scope.set(_Storing(recorder, self.serial, number))
            try:
                _record(recorder, [op, number], arrays, params, depth + 1)
            finally:
                current_scope.reset(scope)
            self._note(recorder, number)
        return number

    def adopt(self, recorder: Recorder, number: int) -> None:
        """The object of that id at a worker is a copy; one that it had there before is let go."""
        before = recorder.stored.get(self.serial)
        if before is not None:
            recorder.forgotten.append(before)
        self._note(recorder, number)

    def _note(self, recorder: Recorder, number: int) -> None:
        self._copies = [copy for copy in self._copies if self.serial in copy[1]]  # the others are gone
        self._copies.append((recorder.forgotten, recorder.stored, number))
        recorder.stored[self.serial] = number

    def drop_at(self, recorder: Recorder, depth: int) -> bool:
        """Forget the copy at a worker; False if there is none."""
        number = recorder.stored.pop(self.serial, None)
        if number is None:
            return False
        recorder.record([program.DELETE, 0, [number], {"kept": True}], depth)
        return True


class _Storing(Failures):
    """Takes the failures of the steps that store something: it counts as not stored, and who needs it tries again.

    What went wrong goes on to whoever is told of failures here. It does not know the thing, which may be forgotten.
    """

    def __init__(self, recorder: Recorder, serial: int, number: int) -> None:
        super().__init__()
        self._told = current_scope.get() or recorder.failures
        self._stored, self._forgotten = recorder.stored, recorder.forgotten
        self._serial, self._number = serial, number

    def add(self, error: AsyncSyftError) -> None:
        if self._stored.get(self._serial) == self._number:
            del self._stored[self._serial]
            self._forgotten.append(self._number)
        self._told.add(error)

    def raised(self, error: AsyncSyftError) -> None:
        self._told.raised(error)


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
