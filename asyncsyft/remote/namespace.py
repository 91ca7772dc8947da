"""The namespace of the Python array API: its functions record steps, and make what comes from nothing at one worker.

The functions are made from the table of ops; those that need no step are in ``dtypes.py``. It knows no numpy names.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Callable, Mapping, Optional, Type

import numpy as np

from .. import ops
from ..ops import OPS
from ..tensor import DTYPES
from . import dtypes, steps
from .handle import Handle
from .recorder import Recorder

#: Versions of the standard of which all is here that needs no data at hand, as ``from_dlpack`` does.
VERSIONS = ("2021.12", "2022.12", "2023.12", "2024.12")

#: Ops that make an array from nothing, at a worker that must be told; and those that may put their result elsewhere.
_CREATION = frozenset(name for name, op in OPS.items() if op.max_arrays == 0 or name == "full")
_MAY_MOVE = frozenset((*(name for name in OPS if name.endswith("_like")), "astype"))
# How to call ops whose arrays the worker gets in another form.
_FORMS = {
    "clip": "clip(x, min=None, max=None)",
    "concat": "concat(arrays, axis=0)",
    "diff": "diff(x, axis=-1, n=1, prepend=None, append=None)",
    "full": "full(shape, fill_value, dtype=None)",
    "full_like": "full_like(x, fill_value, dtype=None)",
    "repeat": "repeat(x, repeats, axis=None)",
    "stack": "stack(arrays, axis=0)",
}


def check_version(version: Optional[str]) -> None:
    """Raises: ValueError for a version of the standard that is not here."""
    if version is not None and version not in VERSIONS:
        raise ValueError(f"no array API of version {version!r}; versions: {', '.join(VERSIONS)}")


class _Section:
    """Functions of one worker, whose ``recorder`` it is; ``kind`` is the class of what they make.

    Functions of tensors run where the tensors are; the worker is that of ``zeros`` and the like.
    """

    def __init__(self, kind: Type[Handle], recorder: Recorder) -> None:
        self.kind, self.recorder = kind, recorder

    # All namespaces of a worker are one, so that libraries find a single one among their inputs.
    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and other.recorder is self.recorder

    def __hash__(self) -> int:
        return hash(self.recorder)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {self.recorder.worker}>"

    if TYPE_CHECKING:  # the functions are made from the table

        def __getattr__(self, name: str) -> Callable[..., Any]: ...

    def _place(self, device: Any) -> Recorder:
        """Where to make something. Raises: ValueError for the name of another worker, TypeError for no worker."""
        if device is None or device == self.recorder.worker:
            return self.recorder
        if isinstance(device, str):
            raise ValueError(f"this namespace is that of {self.recorder.worker}: device={device!r} must be a worker")
        recorder = getattr(device, "recorder", None)
        if not isinstance(recorder, Recorder):
            raise TypeError(f"device must be a worker, not {type(device).__name__}")
        return recorder


def _function(name: str) -> Callable[..., Any]:
    """The function of the op of this name, as a method."""

    def make(self: _Section, *args: Any, device: Any = None, **kwargs: Any) -> Any:
        return steps.shaped(name, steps.call(name, args, kwargs, self._place(device), self.kind))

    def record(self: _Section, *args: Any, **kwargs: Any) -> Any:
        return steps.do(name, *args, **kwargs)

    def record_there(self: _Section, *args: Any, device: Any = None, **kwargs: Any) -> Any:
        result = steps.do(name, *args, **kwargs)
        return result if device is None else result.to_device(device)

    function = make if name in _CREATION else record_there if name in _MAY_MOVE else record
    function.__name__ = name.rpartition(".")[2]
    function.__qualname__ = f"Namespace.{name}"
    form = _FORMS.get(name, repr(OPS[name]))
    if function is not record:
        form = f"{form[:-1]}, device=None)"
    function.__doc__ = f"{form}: recorded as a step; semantics of the Python array API standard."
    return function


class Linalg(_Section):
    """The standard's linear algebra."""


class FFT(_Section):
    """The standard's Fourier transforms."""


class Namespace(_Section):
    """The array API at a worker: ``xp = alice.xp``, or ``x.__array_namespace__()`` for the worker of ``x``."""

    e, pi, inf, nan, newaxis = math.e, math.pi, math.inf, math.nan, None
    isdtype = staticmethod(dtypes.isdtype)
    result_type = staticmethod(dtypes.result_type)
    can_cast = staticmethod(dtypes.can_cast)
    finfo = staticmethod(dtypes.finfo)
    iinfo = staticmethod(dtypes.iinfo)
    __array_api_version__ = VERSIONS[-1]

    @property
    def linalg(self) -> Linalg:
        """The standard's linear algebra."""
        return Linalg(self.kind, self.recorder)

    @property
    def fft(self) -> FFT:
        """The standard's Fourier transforms."""
        return FFT(self.kind, self.recorder)

    def asarray(self, obj: Any, /, *, dtype: Any = None, device: Any = None, copy: Optional[bool] = None) -> Any:
        """A remote tensor as it is, or local data of at most 256 KiB as one; larger data: ``await worker.send(array)``.

        Raises: ValueError for data that is too large, or that ``copy=False`` would have to copy; TypeError.
        """
        if isinstance(obj, Handle):
            tensor: Any = (
                obj if dtype is None or dtypes.as_dtype(dtype) == obj.dtype else steps.do("astype", obj, dtype)
            )
            return tensor if device is None else tensor.to_device(device)
        if copy is False:
            raise ValueError("local data goes to a worker by a copy")
        place = self._place(device)
        array = steps.travelling(np.asarray(obj, None if dtype is None else dtypes.as_dtype(dtype)), place)
        return self.kind(place, steps.put(place, array), ops.spec_of(array))

    def __array_namespace_info__(self) -> dtypes.Info:
        """What there is: dtypes, devices, capabilities."""
        return dtypes.Info(self.recorder.worker)


def _fill(section: Type[_Section], names: Mapping[str, str]) -> None:
    for public, op in names.items():
        setattr(section, public, _function(op))


_KEYS = ("getitem", "setitem")  # x[key] is how to write them
_fill(Namespace, {name: name for name in OPS if "." not in name and name not in _KEYS})
_fill(Linalg, {name: name for name in ("matmul", "matrix_transpose", "tensordot", "vecdot")})
for _prefix, _section in (("linalg.", Linalg), ("fft.", FFT)):
    _fill(_section, {name[len(_prefix) :]: name for name in OPS if name.startswith(_prefix)})
for _dtype in DTYPES.values():
    setattr(Namespace, _dtype.name, _dtype)
