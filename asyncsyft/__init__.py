"""asyncsyft: private tensors stay where they are; the computation travels."""

from .driver import Driver, connect, open
from .errors import AsyncSyftError
from .mpc.session import MPC
from .mpc.tensor import SecretTensor
from .plan import Plan, State, plan
from .relay import Relay
from .remote import RemoteTensor
from .testing import local
from .worker import Worker

__all__ = [
    "MPC",
    "AsyncSyftError",
    "Driver",
    "Plan",
    "Relay",
    "RemoteTensor",
    "SecretTensor",
    "State",
    "Worker",
    "connect",
    "local",
    "open",
    "plan",
]
