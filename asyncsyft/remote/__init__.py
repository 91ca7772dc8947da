"""RemoteTensor: a handle on a tensor that lives elsewhere, and the recorder that its operators write steps to."""

from .recorder import Failures, Recorder
from .tensor import RemoteTensor, call

__all__ = ["Failures", "Recorder", "RemoteTensor", "call"]
