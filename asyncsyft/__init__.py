"""asyncsyft: private tensors stay where they are; the computation travels."""

from .driver import Driver, connect
from .errors import AsyncSyftError
from .remote import RemoteTensor
from .worker import Worker

__all__ = ["AsyncSyftError", "Driver", "RemoteTensor", "Worker", "connect"]
