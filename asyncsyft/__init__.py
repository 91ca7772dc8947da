"""asyncsyft: private tensors stay where they are; the computation travels."""

from .driver import Driver, connect, open
from .errors import AsyncSyftError
from .plan import Plan, State, plan
from .relay import Relay
from .remote import RemoteTensor
from .testing import local
from .worker import Worker

__all__ = [
    "AsyncSyftError",
    "Driver",
    "Plan",
    "Relay",
    "RemoteTensor",
    "State",
    "Worker",
    "connect",
    "local",
    "open",
    "plan",
]
