"""A worker is checked from the outside: ours reaches its level, and a sloppy one fails exactly the check of its fault.

A sloppy worker is a real one behind a tamperer, which changes frames on their way: only ``wire.py`` is shared.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import asynccontextmanager, suppress
from typing import Any, AsyncIterator, Callable, Dict, List, Mapping, Optional, Set, Tuple

import anyio
import msgpack
import pytest

from asyncsyft import wire
from asyncsyft.conform import CASES, FAILED, LEVELS, PASSED, SKIPPED, Check, Report, conform
from asyncsyft.conform.samples import SAMPLES
from asyncsyft.errors import LinkClosed, RemoteProtocolError
from asyncsyft.identity import Admission, Authority, Challenge, Grant, Key
from asyncsyft.ops import OPS
from asyncsyft.peer import vouch
from asyncsyft.relay import Relay
from asyncsyft.transport import Transport, memory_pair
from asyncsyft.websocket import listen
from asyncsyft.worker import Worker

SECONDS = 240
pytestmark = [pytest.mark.anyio, pytest.mark.timeout(SECONDS + 20)]
#: Seconds for each answer of a worker with no fault: however busy the machine is, none is late.
PATIENT = 30.0


class Edited:
    """A frame that may be changed on its way."""

    def __init__(self, frame: wire.Frame) -> None:
        self.kind, self.flags, self.lane, self.sender, self.id = *frame[:3], frame.sender, frame.id
        self.meta: Any = bytes(frame.meta)
        self.body = bytes(frame.body)
        if frame.kind in (wire.WELCOME, wire.PROGRAM, wire.VALUES, wire.ANSWERS):
            with suppress(ValueError):  # hostile ones go on as they are
                self.meta = msgpack.unpackb(self.meta)

    def data(self) -> bytes:
        meta = self.meta if isinstance(self.meta, bytes) else msgpack.packb(self.meta)
        header = wire.HEADER.pack(self.kind, self.flags, self.lane, 0, self.sender, len(meta), self.id, len(self.body))
        return header + meta + bytes(-len(meta) % 8) + self.body + bytes(-len(self.body) % 8)


class Fault:
    """What a tamperer does with frames on one link: here nothing. The worker claims no more than ``level``."""

    level = 3

    def down(self, frame: Edited) -> List[Edited]:
        """To the worker."""
        return [frame]

    def up(self, frame: Edited) -> List[Edited]:
        """From the worker."""
        return [frame]

    def back(self, frame: Edited) -> List[Edited]:
        """What the driver is told at once when it sends this."""
        return []

    @staticmethod
    def admit(hello: wire.Hello, challenge: Challenge, transport: Transport) -> Grant:
        """Whom the worker lets in."""
        return vouch(hello, challenge, Admission(), transport)


class BelievesAnyProof(Fault):
    level = 0

    @staticmethod
    def admit(hello: wire.Hello, challenge: Challenge, transport: Transport) -> Grant:
        return vouch(hello._replace(key=b""), challenge, Admission(), transport)


class ProvesAnotherChallenge(Fault):
    """What is asked for is not what is checked: nobody's proof fits."""

    level = 0

    def up(self, frame: Edited) -> List[Edited]:
        if frame.kind == wire.CHALLENGE:
            frame.meta = msgpack.packb([wire.VERSION, Key.new().public])
        return [frame]


class NeverGrants(Fault):
    level = 1

    def up(self, frame: Edited) -> List[Edited]:
        return [] if frame.kind == wire.CREDIT else [frame]


class IgnoresCredit(Fault):
    """With the resume comes a very large grant."""

    level = 1

    def down(self, frame: Edited) -> List[Edited]:
        if frame.kind != wire.RESUME or len(frame.meta) < 30:
            return [frame]
        credit = Edited(one(wire.Parcel(wire.CREDIT, 0, [0, 1 << 40])))
        return [frame, credit]


class RunsAgain(Fault):
    """A request that comes again is answered again."""

    level = 1

    def __init__(self) -> None:
        self.said: Dict[int, Edited] = {}

    def down(self, frame: Edited) -> List[Edited]:
        if frame.kind == wire.RESUME:
            self.said.clear()  # another conversation counts from 1 again
        return [frame]

    def up(self, frame: Edited) -> List[Edited]:
        if frame.kind == wire.VALUES:
            self.said[frame.id] = frame
        return [frame]

    def back(self, frame: Edited) -> List[Edited]:
        if frame.kind == wire.GOODBYE:
            self.said.clear()
        return [self.said[frame.id]] if frame.kind == wire.PROGRAM and frame.id in self.said else []


class ForgetsAnswers(Fault):
    """What was answered to a single request is said again on another link, but without its values."""

    level = 1

    def __init__(self) -> None:
        self.asked = self.received = 0

    def down(self, frame: Edited) -> List[Edited]:
        if frame.kind == wire.RESUME:
            with suppress(RemoteProtocolError):
                self.asked = wire.parse(one_of(frame)).asked
        return [frame]

    def up(self, frame: Edited) -> List[Edited]:
        if frame.kind == wire.RESUME:
            self.received = wire.parse(one_of(frame)).received
        elif frame.kind == wire.VALUES and frame.id == self.received == self.asked == 1:
            frame.meta[1], frame.body = [], b""
        return [frame]


class AnswersTwiceAfterACut(Fault):
    """A request that comes again on another link is answered again."""

    level = 1

    def __init__(self) -> None:
        self.said: Dict[int, Edited] = {}
        self.again: Set[int] = set()
        self.received = 0

    def up(self, frame: Edited) -> List[Edited]:
        if frame.kind == wire.RESUME:
            self.received = wire.parse(one_of(frame)).received
        elif frame.kind == wire.VALUES and frame.id <= self.received:
            self.said[frame.id] = frame
            return [frame, frame] if frame.id in self.again else [frame]
        return [frame]

    def back(self, frame: Edited) -> List[Edited]:
        if frame.kind != wire.PROGRAM or frame.id > self.received:
            return []
        self.again.add(frame.id)
        return [self.said[frame.id]] if frame.id in self.said else []


class SaysThatNothingCame(Fault):
    """It does not tell on another link that it has a request."""

    level = 1

    def up(self, frame: Edited) -> List[Edited]:
        if frame.kind == wire.RESUME:
            said = wire.parse(one_of(frame))
            frame.meta = msgpack.packb(said._replace(received=0 if said.received == 1 else said.received))
        return [frame]


class NeverCancels(Fault):
    """Cancels get lost, for steps that wait."""

    level = 1

    def down(self, frame: Edited) -> List[Edited]:
        return [] if frame.kind == wire.CANCEL and wire.parse(one_of(frame)).step == 1 else [frame]


class IgnoresFlags(Fault):
    level = 1

    def down(self, frame: Edited) -> List[Edited]:
        if frame.kind == wire.PROGRAM:
            frame.flags &= ~0x40
        return [frame]


class PromotesLikeNumpy(Fault):
    """Where int64 meets float32 it computes in float64."""

    def __init__(self) -> None:
        self.dtypes: Dict[int, str] = {}

    def down(self, frame: Edited) -> List[Edited]:
        for step in steps(frame):
            if step[0] == "put" and len(step) == 4:
                self.dtypes[step[1]] = step[3]["dtype"]
            elif step[0] == "where" and [self.dtypes.get(i) for i in step[2]] == ["|b1", "<i8", "<f4"]:
                step[0], step[2] = "divide", [step[2][1], step[2][1]]
        return [frame]


class WrongSine(Fault):
    def down(self, frame: Edited) -> List[Edited]:
        for step in steps(frame):
            step[0] = "tan" if step[0] == "sin" else step[0]
        return [frame]


class ForgetsCauses(Fault):
    """A failure names itself as its cause."""

    def up(self, frame: Edited) -> List[Edited]:
        if frame.kind == wire.ANSWERS:
            for failure in frame.meta[2]:
                failure[6:8] = failure[0:2] if failure[5] == "matmul" else failure[6:8]
        return [frame]


class NeverCancelsCalls(Fault):
    """Cancels get lost, for calls."""

    def __init__(self) -> None:
        self.calls: Set[int] = set()

    def down(self, frame: Edited) -> List[Edited]:
        if [step[0] for step in steps(frame)][:1] == ["call"]:
            self.calls.add(frame.id)
        return [] if frame.kind == wire.CANCEL and frame.id in self.calls else [frame]


class NamesNoStep(Fault):
    """A failed call does not say which of its steps it was."""

    def up(self, frame: Edited) -> List[Edited]:
        if frame.kind == wire.ANSWERS:
            for failure in frame.meta[2]:
                failure[5] = failure[5].split("/")[0]
        return [frame]


class CountsNoUpdates(Fault):
    """The version of a state stays what it was."""

    def up(self, frame: Edited) -> List[Edited]:
        if frame.kind == wire.VALUES:
            frame.body = frame.body.replace(b"\xa7version\x03", b"\xa7version\x01")
        return [frame]


class KeepsNoConstants(Fault):
    """Constants are gone with the tensors that they came from: deleting these deletes the plan."""

    def down(self, frame: Edited) -> List[Edited]:
        for step in steps(frame):
            if step[0] == "delete" and len(step[2]) == 2 and step[2][1] > 1000:
                step[2].append(step[2][1] - 1000)
        return [frame]


class WrongVersion(Fault):
    def up(self, frame: Edited) -> List[Edited]:
        if frame.kind == wire.WELCOME:
            frame.meta[0] = 7
        return [frame]


def claiming(frame: Edited, level: int) -> Edited:
    """The frame, a welcome with this level in it."""
    if frame.kind == wire.WELCOME:
        frame.meta[5]["level"] = level
    return frame


def steps(frame: Edited) -> List[List[Any]]:
    """The steps of a program that are steps."""
    if frame.kind != wire.PROGRAM or not isinstance(frame.meta, list) or not isinstance(frame.meta[1:2], list):
        return []
    listed = frame.meta[1] if len(frame.meta) > 1 and isinstance(frame.meta[1], list) else []
    return [step for step in listed if isinstance(step, list) and len(step) >= 3 and isinstance(step[2], list)]


def one(parcel: wire.Parcel) -> wire.Frame:
    out: List[Any] = []
    parcel.write(out, 0, 0)
    return next(iter(wire.frames(memoryview(bytearray(b"".join(out))))))


def one_of(frame: Edited) -> wire.Frame:
    return next(iter(wire.frames(memoryview(bytearray(frame.data())))))


class Side:
    """One end of the tamperer: what comes here goes out at the other side, changed."""

    def __init__(self, transport: Transport, change: Callable[[Edited], List[Edited]]) -> None:
        self.transport, self.change = transport, change
        self.outbox: List[bytes] = []
        self.other: Side
        self.back: Optional[Callable[[Edited], List[Edited]]] = None

    def pull(self) -> Optional[List[bytes]]:
        return [self.outbox.pop(0)] if self.outbox else None

    def push(self, data: bytes) -> None:
        self.outbox.append(data)
        self.transport.wake()

    def receive(self, message: memoryview) -> None:
        try:
            frames = [Edited(frame) for frame in wire.frames(message)]
        except RemoteProtocolError:
            self.other.push(bytes(message))  # hostile on purpose
            return
        told = [answer for frame in frames for answer in (self.back(frame) if self.back else [])]
        changed = [out for frame in frames for out in self.change(frame)]
        for side, passed in ((self, told), (self.other, changed)):
            if passed:
                side.push(b"".join(frame.data() for frame in passed))

    async def run(self) -> None:
        with suppress(LinkClosed, RemoteProtocolError):
            await self.transport.run(self)
        self.other.transport.close()


@asynccontextmanager
async def tampered(make: Callable[[], Fault]) -> AsyncIterator[str]:
    """The address of a worker behind a tamperer; its plans are short, so that the longest one takes little time."""
    async with Worker("sloppy", max_plan_steps=100) as worker:

        async def accept(transport: Transport, headers: Mapping[str, str]) -> None:
            near, far = memory_pair()
            fault = make()
            outer, inner = Side(transport, fault.down), Side(near, lambda frame: fault.up(claiming(frame, fault.level)))
            outer.other, inner.other, outer.back = inner, outer, fault.back
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(worker.peer.accept, far, fault.admit)
                tasks.start_soon(inner.run)
                tasks.start_soon(outer.run)

        async with listen("127.0.0.1", 0, accept) as listener:
            yield f"ws://127.0.0.1:{listener.port}"


def guarded(key: Optional[bytes] = None) -> Tuple[Admission, str]:
    """The rules of a door that asks for a token, and one that it takes."""
    authority = Authority.new()
    token = authority.issue(["conform*"], ["driver"], expires=int(time.time()) + 600, key=key)
    return Admission(authorities=[authority.public]), token


async def test_our_worker_reaches_its_level() -> None:
    told: List[Check] = []
    with anyio.fail_after(SECONDS):
        async with Worker("alice", listen="127.0.0.1:0") as worker:
            report = await conform(f"ws://{worker.address}", on_check=told.append, patience=PATIENT)
    assert [check for check in report.checks if check.outcome != PASSED] == []
    assert told == report.checks
    assert len(told) == len(CASES)
    assert (report.name, report.claimed, report.level, report.conforms) == ("alice", 3, 3, True)
    assert report.to_dict()["checks"][0]["outcome"] == PASSED


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_token_and_the_key_that_it_is_bound_to_are_shown() -> None:
    key = Key.new()
    with anyio.fail_after(SECONDS):
        admission, token = guarded(key.public)
        async with Worker("alice", listen="127.0.0.1:0", admission=admission) as worker:
            url = f"ws://{worker.address}"
            nothing = await conform(url, patience=2)
            other_key = await conform(url, patience=2, token=token)
            report = await conform(url, token=token, key=key, patience=PATIENT)
    assert (nothing.level, other_key.level) == (None, None)
    assert "it needs a token" in nothing.failed[0].found
    assert "is bound to a key that was not proved" in other_key.failed[0].found
    assert [check.name for check in report.checks if check.outcome == SKIPPED] == ["without a key"]
    assert (report.failed, report.level) == ([], 3)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_who_keeps_no_conversations_conforms_too() -> None:
    with anyio.fail_after(SECONDS):
        async with Worker("alice", listen="127.0.0.1:0", resume_grace=0) as worker:
            worker.peer.can = {**worker.peer.can, "level": 1}
            report = await conform(f"ws://{worker.address}", patience=PATIENT)
    skipped = {check.name: check.found for check in report.checks if check.outcome == SKIPPED}
    assert {"answers outlive their link", "chunks go on"} <= set(skipped)
    assert set(skipped.values()) == {"the peer keeps no conversation whose link is lost"}
    assert (report.failed, report.level) == ([], 1)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_nothing_at_the_tamperer_by_itself() -> None:
    with anyio.fail_after(SECONDS):
        async with tampered(Fault) as url:
            report = await conform(url, patience=PATIENT)
    assert report.failed == []
    assert report.level == 3


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize(
    ("fault", "check", "level"),
    [
        (BelievesAnyProof, "wrong proofs", None),
        (ProvesAnotherChallenge, "welcome", None),
        (ForgetsAnswers, "answers outlive their link + what was resent is not run again", 0),
        (AnswersTwiceAfterACut, "what was resent is not run again", 0),
        (SaysThatNothingCame, "answers outlive their link + chunks go on", 0),
        (NeverGrants, "credit is granted", 0),
        (IgnoresCredit, "credit is kept to", 0),
        (RunsAgain, "resent request", 0),
        (NeverCancels, "cancel what waits", 0),
        (IgnoresFlags, "hostile: a flag that nobody defined", None),
        (PromotesLikeNumpy, "promotion", 1),
        (WrongSine, "op sin", 1),
        (ForgetsCauses, "poison flows", 1),
        (NeverCancelsCalls, "cancel a call", 2),
        (NamesNoStep, "a step that fails", 2),
        (CountsNoUpdates, "a state is listed and deleted", 2),
        (KeepsNoConstants, "constants and literals", 2),
    ],
)
async def test_a_fault_fails_its_check(fault: Callable[[], Fault], check: str, level: Optional[int]) -> None:
    with anyio.fail_after(SECONDS):
        async with tampered(fault) as url:
            report = await conform(url, patience=4)  # which passes for a fault, and must do for all else
    assert [(one.name, bool(one.found)) for one in report.failed] == [(name, True) for name in check.split(" + ")]
    assert report.level == level
    assert not report.conforms


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_peer_that_cannot_greet_is_not_asked_more() -> None:
    with anyio.fail_after(SECONDS):
        async with tampered(WrongVersion) as url:
            report = await conform(url)
        async with Relay("127.0.0.1:0") as relay:
            of_relay = await conform(relay.url)
    assert [one.name for one in report.failed] == ["welcome"]
    assert (report.checks[-1].name, report.level) == ("welcome", None)
    assert "the role worker" in of_relay.failed[0].found


async def test_nobody_is_there() -> None:
    with pytest.raises(LinkClosed, match="nobody answers at"):
        await conform("ws://127.0.0.1:9")
    with pytest.raises(ValueError, match="not a websocket URL"):
        await conform("http://127.0.0.1:9")


async def test_what_is_not_offered_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    with anyio.fail_after(SECONDS):
        async with Worker("small", listen="127.0.0.1:0") as worker:
            worker.peer.can = {"level": 3, "ops": ["add", "positive"], "dtypes": ["<f4", "|u1", "<i8"]}
            report = await conform(f"ws://{worker.address}", patience=PATIENT)
    skipped = {check.name for check in report.checks if check.outcome == SKIPPED}
    assert {"op matmul", "put and get <c16", "promotion", "poison flows", "several outputs"} <= skipped
    assert report.failed == []
    assert report.level == 3


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize(
    ("takes", "says", "outcome"), [(10, 10, PASSED), (10, 9, FAILED), (10, 11, FAILED), (10, 1 << 20, SKIPPED)]
)
async def test_plans_may_be_as_long_as_a_worker_says(takes: int, says: int, outcome: str) -> None:
    with anyio.fail_after(SECONDS):
        async with Worker("alice", listen="127.0.0.1:0", max_plan_steps=takes) as worker:
            worker.peer.can = {"level": 3, "ops": ["add"], "dtypes": ["<f4", "|u1"], "limits": {"plan_steps": says}}
            report = await conform(f"ws://{worker.address}", patience=PATIENT)
    found = {check.name: check.outcome for check in report.checks if check.level == 3}
    assert found.pop("how long a plan may be") == outcome
    assert set(found.values()) <= {PASSED, SKIPPED}


async def test_levels_above_the_claimed_one_are_not_checked() -> None:
    with anyio.fail_after(SECONDS):
        async with Worker("small", listen="127.0.0.1:0") as worker:
            worker.peer.can = {"level": 0}
            report = await conform(f"ws://{worker.address}", patience=PATIENT)
    assert {check.level for check in report.checks} == {0}
    assert (report.claimed, report.level) == (0, 0)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_report_without_a_pass_reaches_nothing() -> None:
    assert Report("ws://x", "", 0, []).level is None
    skipped = [Check(0, "one", "", PASSED), Check(1, "two", "", SKIPPED), Check(2, "three", "", PASSED)]
    assert Report("ws://x", "", 2, skipped).level == 0
    assert len(LEVELS) == 5


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_command() -> None:
    command = [sys.executable, "-m", "asyncsyft", "conform"]
    with anyio.fail_after(SECONDS):
        admission, token = guarded()
        async with Worker("alice", listen="127.0.0.1:0", admission=admission) as worker:
            url = f"ws://{worker.address}"
            more = ["--json", "--token", token, "--patience", str(PATIENT)]
            good = await anyio.run_process([*command, url, *more], check=False)
            bad = await anyio.run_process([*command, url, "--quiet"], check=False)
    assert good.returncode == 0, good.stderr
    assert json.loads(good.stdout)["level"] == 3
    assert bad.returncode == 1
    assert bad.stdout.decode().startswith("FAILED  0 welcome\n")
    assert "reaches no level" in bad.stdout.decode()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_every_op_has_a_sample_and_every_check_a_name_of_its_own() -> None:
    assert {sample.op for sample in SAMPLES} == set(OPS)
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)
    assert all(case.expected for case in CASES)
    assert FAILED not in names
