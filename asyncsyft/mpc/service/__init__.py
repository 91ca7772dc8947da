"""MPC sessions at a worker, as party or as dealer: the machines of ``computing`` and ``dealing``, over conversations.

``sessions`` is the table of them, and takes the steps whose names begin with ``mpc.``, as ``reading`` finds them;
``session`` is what both roles have in common; ``party`` and ``dealer`` are the roles; ``mail`` holds what has come and
is not wanted yet, ``meetings`` the links between members that reach each other without a relay.
"""

from .meetings import Meetings
from .session import DEALER
from .sessions import FIRST_LANE, FORM, MAX_SESSIONS, NAME_SIZE, Sessions

__all__ = ["DEALER", "FIRST_LANE", "FORM", "MAX_SESSIONS", "NAME_SIZE", "Meetings", "Sessions"]
