"""The rules of one conversation between two peers, driven by frames alone. No await, no clock, no I/O."""

from .conversation import Conversation
from .lane import CHUNKS_AHEAD, WINDOW, Lane, Request, Served, Server
from .sending import MAX_ABOVE, MAX_LANES, MAX_REQUESTS, MAX_UNSEEN, Seals

__all__ = [
    "CHUNKS_AHEAD",
    "MAX_ABOVE",
    "MAX_LANES",
    "MAX_REQUESTS",
    "MAX_UNSEEN",
    "WINDOW",
    "Conversation",
    "Lane",
    "Request",
    "Seals",
    "Served",
    "Server",
]
