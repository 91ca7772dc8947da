"""A model of the relay's table: peers come, go, vanish, return, collide and seek each other, while frames pass.

It drives the relay with bytes alone; nothing waits. A frame says in its body whom it is from and for, so that one that
went astray is seen.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, FrozenSet, List, Optional, Set, Tuple
from unittest import mock

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from asyncsyft import wire
from asyncsyft.identity import Grant, Key, prove
from asyncsyft.relay import Member, Relay, member
from asyncsyft.waiting import slot_class
from asyncsyft.wire import Hello, PeerInfo
from tests.journeys.scripted import packed

NAMES = ["w0", "w1", "w2", "d0", "d1"]
REACHES = [("*",), ("w0", "w1"), ("w2",), ()]
KEYS = [Key.new(), Key.new()]
picks = st.integers(0, 99)


class Wire:
    """A transport that does nothing: the model moves the messages."""

    remote, is_local = "model", True
    bytes_sent = bytes_received = messages_sent = messages_received = 0

    def __init__(self) -> None:
        self.is_over = False

    def wake(self) -> None:
        """The model asks without being told."""

    def abort(self) -> None:
        self.is_over = True

    def close(self, code: int = 1000, reason: str = "") -> None:
        self.is_over = True


class Doors:
    """Lets in all; what they may reach is what their token says."""

    def admit(self, name: str, role: str, key: Any, token: str, is_local: bool, now: int) -> Grant:
        return Grant(tuple(token.split(",")) if token else ())


class Side:
    """One link of a peer, as the peer sees it: who it is, and what it was told."""

    def __init__(self, member: Member, info: PeerInfo, reach: Tuple[str, ...]) -> None:
        self.member, self.info, self.reach = member, info, reach
        self.told: Dict[int, PeerInfo] = {}
        self.refused: List[int] = []
        self.heard: Dict[int, List[int]] = {}
        self.sent: Dict[int, List[int]] = {}  # to each number, what the relay should have taken
        self.sought: Set[bytes] = set()

    @property
    def is_driver(self) -> bool:
        return self.info.role == "driver"

    def may_reach(self, name: str) -> bool:
        return Grant(self.reach).may_reach(name)


class Table(RuleBasedStateMachine):
    """The relay, the links that it has, and what should be true of them."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = mock.patch.object(member.anyio, "current_time", return_value=0.0)
        self.clock.start()
        self.relay = Relay()
        self.relay.slot = slot_class()
        self.relay.admission = Doors()  # type: ignore[assignment]
        self.here: List[Side] = []
        self.gone: Dict[int, Side] = {}
        self.pairs: Set[FrozenSet[int]] = set()  # who spoke or was presented: each may answer the other
        self.lives: Dict[str, bytes] = {}
        self.serial = 0

    def by_number(self) -> Dict[int, Side]:
        return {side.info.number: side for side in self.here}

    def by_name(self, name: str) -> Optional[Side]:
        return next((side for side in self.here if side.info.name == name), None)

    # Who comes and goes.

    @rule(
        name=st.sampled_from(NAMES),
        reach=st.sampled_from(REACHES),
        key=st.sampled_from([None, 0, 0, 0, 1]),
        life=st.sampled_from(["new", "same", "same", "stolen"]),
        pick=picks,
    )
    def come(self, name: str, reach: Tuple[str, ...], key: Optional[int], life: str, pick: int) -> None:
        self.serial += 1
        mine = self.serial.to_bytes(8, "big")
        if life == "same":
            mine = self.lives.get(name, mine)
        elif life == "stolen" and self.here:
            mine = self.here[pick % len(self.here)].info.incarnation
        before, public = self.by_name(name), KEYS[key].public if key is not None else b""
        taken = any(side.info.incarnation == mine and side is not before for side in self.here)
        taken = taken or (before is not None and (not public or before.info.key != public))
        coming = Member(Wire(), self.relay)  # type: ignore[arg-type]
        role = "worker" if name.startswith("w") else "driver"
        hello = Hello(wire.VERSION, name, role, mine, ",".join(reach), {}, public)
        if key is not None:
            hello = hello._replace(proof=prove(KEYS[key], coming.challenge.public, hello.transcript))
        coming._on_message(memoryview(bytearray(packed(wire.HELLO, list(hello)))))
        (frame, *more) = self.pulled(coming)
        if taken:
            assert (frame.kind, wire.parse(frame).code) == (wire.GOODBYE, "Refused")
            assert coming.link.transport.is_over  # type: ignore[attr-defined]
            assert not more
            self.relay.presence.leave(coming)
            return
        if before is not None:
            assert before.member.link.transport.is_over  # type: ignore[attr-defined]
            self.lost(before)
        self.lives[name] = mine
        self.welcomed(Side(coming, PeerInfo(0, name, role, mine, public), reach), frame, more)

    def welcomed(self, side: Side, frame: wire.Frame, more: List[wire.Frame]) -> None:
        welcome = wire.parse(frame)
        assert welcome.epoch == self.relay.epoch
        side.info = side.info._replace(number=welcome.number)
        assert side.info.number not in {*self.by_number(), *self.gone}  # no number is given twice
        side.told = {info.number: info for info in welcome.peers}
        for other in self.here:
            if side.info.incarnation in other.sought:
                other.sought.discard(side.info.incarnation)
                self.meet(side, other)
        self.here.append(side)
        for said in more:
            self.hear(side, said)

    @rule(pick=picks, says_goodbye=st.booleans())
    def go(self, pick: int, says_goodbye: bool) -> None:
        if self.here:
            side = self.here[pick % len(self.here)]
            if says_goodbye:
                side.member._on_message(memoryview(bytearray(packed(wire.GOODBYE, ["", "enough"]))))
            self.relay.presence.leave(side.member)
            self.lost(side)

    def lost(self, side: Side) -> None:
        self.here.remove(side)
        self.gone[side.info.number] = side

    # What they say.

    def meet(self, one: Side, other: Side) -> None:
        if one.may_reach(other.info.name) or other.may_reach(one.info.name):
            self.pairs.add(frozenset((one.info.number, other.info.number)))

    @rule(pick=picks, to=picks, count=st.integers(1, 3), also=picks)
    def speak(self, pick: int, to: int, count: int, also: int) -> None:
        """Some frames for one peer, or for one that left, and one for another, in one message."""
        if not self.here:
            return
        side = self.here[pick % len(self.here)]
        numbers = sorted({*self.by_number(), *self.gone})
        frames = [self.addressed(side, numbers[to % len(numbers)]) for _ in range(count)]
        frames.append(self.addressed(side, numbers[also % len(numbers)]))
        side.member._on_message(memoryview(bytearray(b"".join(frames))))

    def addressed(self, side: Side, to: int) -> bytes:
        self.serial += 1
        other, mine = self.by_number().get(to), side.info.number
        pair = frozenset((mine, to))
        if other is not None and (pair in self.pairs or side.may_reach(other.info.name)):
            self.pairs.add(pair)
            side.sent.setdefault(to, []).append(self.serial)
        body = b"".join(number.to_bytes(8, "big") for number in (mine, to, self.serial))
        return packed(wire.PROGRAM, [0, [], []], body, to=to, number=1)

    @rule(pick=picks, whom=st.lists(picks, min_size=1, max_size=3))
    def seek(self, pick: int, whom: List[int]) -> None:
        if not self.here or not self.lives:
            return
        side, known = self.here[pick % len(self.here)], sorted(self.lives.values())
        lives = [known[at % len(known)] for at in whom]
        side.member._on_message(memoryview(bytearray(packed(wire.SEEK, [lives]))))
        for life in lives:
            other = next((other for other in self.here if other.info.incarnation == life and other is not side), None)
            if other is None:
                side.sought.add(life)
            else:
                self.meet(side, other)

    # What they hear.

    @staticmethod
    def pulled(member: Member) -> List[wire.Frame]:
        pieces = member.link.pull()
        return [] if pieces is None else list(wire.frames(memoryview(b"".join(pieces))))

    @rule(pick=picks)
    def listen(self, pick: int) -> None:
        if self.here:
            side = self.here[pick % len(self.here)]
            for frame in self.pulled(side.member):
                self.hear(side, frame)

    def hear(self, side: Side, frame: wire.Frame) -> None:
        everybody = {**self.by_number(), **self.gone}
        if frame.kind == wire.PEERS:
            news = wire.parse(frame)
            for info in news.joined:
                assert info == everybody[info.number].info
                assert info.number not in side.told
                side.told[info.number] = info
            for number, _ in news.left:
                assert number in self.gone
                assert side.told.pop(number, None) or number in side.sent or number in side.heard
        elif frame.kind == wire.REFUSED:
            side.refused.append(wire.parse(frame).to)
        else:
            assert (frame.kind, frame.to) == (wire.PROGRAM, side.info.number)
            sender, to, serial = (int.from_bytes(frame.body[at : at + 8], "big") for at in (0, 8, 16))
            assert (frame.sender, to) == (sender, side.info.number)
            # A worker is told first who speaks to it, unless it spoke first, and knew to whom.
            assert sender in side.told or side.is_driver or sender in side.sent
            side.heard.setdefault(sender, []).append(serial)

    # What is true at any moment.

    @invariant()
    def the_tables_hold_nobody_who_is_gone(self) -> None:
        presence, here = self.relay.presence, self.by_number()
        assert presence.members == {number: side.member for number, side in here.items()}
        assert presence.names == {side.info.name: side.member for side in self.here}
        assert presence.lives == {side.info.incarnation: side.member for side in self.here}
        assert {life: set(members) for life, members in presence.sought.items()} == {
            life: {side.member for side in self.here if life in side.sought}
            for life in {life for side in self.here for life in side.sought}
        }
        for side in self.here:
            mine = side.info.number
            assert side.member.talked <= set(here)
            met = {min(pair - {mine}, default=mine) for pair in self.pairs if mine in pair}  # itself, if it likes
            assert side.member.talked == met & set(here)
            assert side.member.waiting == sum(outbox.waiting for outbox in side.member.outboxes.values())
            for number, outbox in side.member.outboxes.items():
                assert number in here or (outbox.ended and outbox.frames)

    def teardown(self) -> None:
        self.clock.stop()
        for side in self.here:
            while frames := self.pulled(side.member):
                for frame in frames:
                    self.hear(side, frame)
        for side in self.here:
            self.check(side)

    def check(self, side: Side) -> None:
        """All has been heard: what a peer knows is true, and all that it should know."""
        here, mine = self.by_number(), side.info.number
        assert set(side.told) <= set(here)
        reachable = {n for n, other in here.items() if not other.is_driver and side.may_reach(other.info.name)}
        if side.is_driver:
            assert reachable <= set(side.told)
        else:
            spoke = {n for n, other in here.items() if mine in other.sent}
            assert spoke - set(side.sent) <= set(side.told)
        assert set(side.told) <= side.member.talked | (reachable if side.is_driver else set())
        for number, other in {**here, **self.gone}.items():
            assert side.heard.get(number, []) == other.sent.get(mine, [])


Table.TestCase.settings = settings(stateful_step_count=50)
TestTable: Callable[..., Any] = Table.TestCase
