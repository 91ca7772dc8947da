"""The service that runs programs: one job a request, one queue a lane, in the order of the data flow."""

from .desk import Desk
from .lanes import Executor

__all__ = ["Desk", "Executor"]
