"""What is private at a worker: what it is called, how that passes through ops, who lets it out, and who asked."""

from . import control
from .audit import Audit
from .guard import Guard, Held, Private, guard_of, public
from .passing import passed
from .policy import ALWAYS, ASK, NEVER, Asked, Policy, Release, policy_of

__all__ = [
    "ALWAYS",
    "ASK",
    "NEVER",
    "Asked",
    "Audit",
    "Guard",
    "Held",
    "Policy",
    "Private",
    "Release",
    "control",
    "guard_of",
    "passed",
    "policy_of",
    "public",
]
