"""RemoteTensor: a handle on a tensor that lives elsewhere, and the recorder that its operators write steps to."""

from .creation import Creator
from .failures import Failures
from .handle import described
from .recorder import Recorder
from .tensor import RemoteTensor, call

__all__ = ["Creator", "Failures", "Recorder", "RemoteTensor", "call", "described"]
