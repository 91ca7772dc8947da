"""Plans: a function recorded once, stored at a worker with the state that it keeps, and called by one step."""

from .calling import Plan, plan
from .data import Recorded
from .state import State

__all__ = ["Plan", "Recorded", "State", "plan"]
