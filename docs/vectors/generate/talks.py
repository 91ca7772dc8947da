"""Conversations: what a driver sends to a fresh worker, message by message, and what it is told."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Tuple

import numpy as np

from asyncsyft import wire
from asyncsyft.conform.steps import Steps, frame
from asyncsyft.executor import Executor
from asyncsyft.protocol import Conversation
from asyncsyft.store import Store
from asyncsyft.wire import Buffer

from .frames import CAN, DRIVER, WORKER, described

X, Y = np.array([1, 2, -3], "<f4"), np.array([0.5, 0.25, 4], "<f4")


class Talk:
    """A driver's messages to a worker of its own, and the answers, as they come about."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.worker = fresh_worker()
        self.exchange: List[Dict[str, Any]] = []
        self.say(frame(wire.RESUME, [DRIVER, WORKER, 0, 0, {}, 0]))

    def cut(self, *resume: int) -> None:
        """The link is lost; on the next one the driver says this resume: received, seen, asked."""
        self.worker.begin(0)
        received, seen, asked = resume
        self.say(frame(wire.RESUME, [DRIVER, WORKER, received, seen, {}, asked]))
        self.exchange[-1]["new_link"] = True

    def say(self, *frames: bytes) -> None:
        """Send a message, and note what it brings."""
        message = b"".join(frames)
        told = answer(self.worker, message)
        self.exchange.append({"driver": _entries(message), "worker": _entries(told)})

    def ask(self, number: int, steps: Steps, chunked: Tuple[int, ...] = (), seen: int = 0) -> bytes:
        """A program as bytes."""
        return frame(wire.PROGRAM, [seen, steps.steps, list(chunked)], steps.body, number=number)

    def to_json(self) -> Dict[str, Any]:
        """As a vector."""
        return {"name": self.name, "exchange": self.exchange}


def _entries(message: bytes) -> List[Dict[str, Any]]:
    """The frames of a message; those with texts for people by meaning alone, without the texts."""
    entries = []
    for data, _ in split(message):
        entry = described("", data)
        del entry["name"]
        if entry["message"] == "answers" and entry["says"]["failures"]:
            for failure in entry["says"]["failures"]:
                failure["message"] = "..."
            for field in ("meta_len", "body_len"):
                del entry["header"][field]
            entry = {"message": "answers", "header": entry["header"], "says": entry["says"]}
        entries.append(entry)
    return entries


def fresh_worker() -> Conversation:
    """The worker's end of a conversation that has not begun."""
    return Conversation(WORKER, DRIVER, Executor(Store(), "alice"), CAN)


def answer(worker: Conversation, message: bytes) -> bytes:
    """What a worker says to a message."""
    if not worker.generation:
        worker.begin(0)
    for one in wire.frames(memoryview(bytearray(message))):
        worker.receive(one)
    out: List[Buffer] = []
    while worker.take(out, wire.BATCH):
        pass
    return b"".join(out)


def split(message: bytes) -> List[Tuple[bytes, wire.Frame]]:
    """The frames of a message, each with its bytes."""
    found, at = [], 0
    for one in wire.frames(memoryview(message)):
        found.append((message[at : at + one.size], one))
        at += one.size
    return found


def _add() -> Talk:
    talk = Talk("put two tensors, add them, get the sum")
    steps = Steps()
    steps.put(1, X)
    steps.put(2, Y)
    steps.add("add", 3, [1, 2])
    steps.get(3)
    talk.say(talk.ask(1, steps))
    return talk


def _quiet() -> Talk:
    talk = Talk("steps that return nothing are answered together; what was seen is forgotten")
    put, delete = Steps(), Steps()
    put.put(1, X)
    delete.add("delete", 0, [1])
    talk.say(talk.ask(1, put), talk.ask(2, delete))
    again = Steps()
    again.get(1)
    talk.say(talk.ask(3, again, seen=2))
    return talk


def _failing() -> Talk:
    talk = Talk("a failed step poisons what uses it; the rest is run")
    steps = Steps()
    steps.put(1, X)
    steps.put(2, np.zeros(4, "<f4"))
    steps.add("matmul", 3, [1, 2])
    steps.add("add", 4, [3, 1])
    steps.get(4)
    steps.add("negative", 5, [1])
    steps.get(5)
    talk.say(talk.ask(1, steps))
    later = Steps()
    later.get(3)
    later.add("delete", 0, [3, 4])
    later.get(3)
    talk.say(talk.ask(2, later, seen=1))
    return talk


def _chunks() -> Talk:
    talk = Talk("a request that names a tensor still arriving waits; the next one is answered above")
    array = np.arange(3, dtype="<i4")
    announce, waits, free = Steps(), Steps(), Steps()
    announce.announce(1, array)
    waits.get(1)
    free.put(2, X)
    free.get(2)
    talk.say(talk.ask(1, announce, (0,)), talk.ask(2, waits))
    talk.say(talk.ask(3, free))
    part = [0, 0, "<i4", [3], 0]
    talk.say(frame(wire.CHUNK_OF, part, [array.tobytes()[:5]], number=1))
    talk.say(frame(wire.CHUNK_OF, [*part[:4], 5], [array.tobytes()[5:]], number=1))
    return talk


def _cancel() -> Talk:
    talk = Talk("a put that waits for its chunks is cancelled")
    announce, get = Steps(), Steps()
    announce.announce(1, np.arange(3, dtype="<i4"))
    get.get(1)
    talk.say(talk.ask(1, announce, (0,)), talk.ask(2, get))
    talk.say(frame(wire.CANCEL, [0, 0], number=1))
    talk.say(frame(wire.CANCEL, [0, 0], number=1))
    return talk


def _resent() -> Talk:
    talk = Talk("a request that comes again is not run again")
    steps, get = Steps(), Steps()
    steps.put(1, X)
    get.get(1)
    talk.say(talk.ask(1, steps))
    talk.say(talk.ask(1, steps))
    talk.say(talk.ask(2, get, seen=1))
    return talk


def _cut() -> Talk:
    talk = Talk("a link is lost: what was not seen is answered again, and what was not received is sent again")
    steps, more, get = Steps(), Steps(), Steps()
    steps.put(1, X)
    steps.get(1)
    more.put(2, Y)
    more.get(2)
    get.get(1)
    talk.say(talk.ask(1, steps))
    talk.cut(0, 0, 2)  # request 2 was lost with the link, and so was the answer to 1
    talk.say(talk.ask(2, more))
    talk.cut(0, 2, 2)
    talk.say(talk.ask(3, get, seen=2))
    return talk


def _cut_between_chunks() -> Talk:
    talk = Talk("a link is lost between two chunks: the worker says what it has, and the rest is sent")
    array = np.arange(3, dtype="<i4")
    announce, get = Steps(), Steps()
    announce.announce(1, array)
    get.get(1)
    part = [0, 0, "<i4", [3], 0]
    talk.say(talk.ask(1, announce, (0,)), talk.ask(2, get))
    talk.say(frame(wire.CHUNK_OF, part, [array.tobytes()[:5]], number=1))
    talk.cut(0, 0, 2)
    talk.say(frame(wire.CHUNK_OF, [*part[:4], 5], [array.tobytes()[5:]], number=1))
    return talk


def _documents() -> Talk:
    talk = Talk("info, tag and search answer with documents")
    steps = Steps()
    steps.put(1, X)
    steps.add("tag", 0, [1], {"name": "x", "tags": ["a"]})
    steps.add("info", 0, [1])
    steps.add("search", 0, [], {"query": ["a"], "base": 10, "most": 5})
    steps.get(10)
    talk.say(talk.ask(1, steps))
    return talk


def _allowed() -> Talk:
    talk = Talk("another driver may find a tensor, and may not any more")
    steps = Steps()
    steps.put(1, X)
    steps.add("allow", 0, [1], {"to": "carol", "right": "get"})
    steps.add("disallow", 0, [1], {"to": "carol"})
    steps.add("disallow", 0, [1], {"to": "dave"})
    steps.add("search", 0, [], {"query": [], "base": 10, "most": 5, "owner": "carol"})
    talk.say(talk.ask(1, steps))
    return talk


_TALKS: List[Callable[[], Talk]] = [
    _add,
    _quiet,
    _failing,
    _chunks,
    _cancel,
    _resent,
    _cut,
    _cut_between_chunks,
    _documents,
    _allowed,
]


def conversations() -> Dict[str, Any]:
    """The file of conversations."""
    about = (
        "What a driver says to a worker that holds nothing, message by message, and the frames with which it is "
        "answered. Before a turn of new_link the link was lost, with what was under way. Bytes, the order of frames "
        "beside what docs/protocol.md fixes, and texts for people may differ."
    )
    head = {"about": about, "protocol": wire.SUBPROTOCOL, "draft": True, "driver": DRIVER.hex(), "worker": WORKER.hex()}
    return {**head, "vectors": [make().to_json() for make in _TALKS]}
