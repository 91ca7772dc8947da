"""The conversations of a peer: on which road each runs, which are parked, and who may go on with which.

A conversation belongs to two lives (incarnations), not to a link. When its link is lost it is parked; when the far end
is there again, on whatever road and under whatever number, it goes on; when that takes too long, it ends.
"""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Callable, Dict, List, Optional, Set

import anyio

from .. import wire
from ..errors import AsyncSyftError, Refused, UnknownPeer, WorkerLost
from ..identity import KnownPeers
from ..protocol import Conversation
from ..seal import Seal
from ..wire import Frame, Parcel, PeerInfo, Resume
from .road import Road
from .sealing import Sealed, Sealing

if TYPE_CHECKING:
    from .peer import Peer

logger = logging.getLogger(__name__)

#: Seconds that a conversation is kept after its link was lost.
RESUME_GRACE = 5.0
#: Conversations that are parked at once: beyond, the peers that come and go are not those that come back.
MAX_PARKED = 1 << 14
#: Lives, 8 bytes each, whose requests came here in a conversation that has ended: it is not gone on with.
MAX_ENDED = 1 << 16


class Conversations:
    """All conversations of one peer, by the incarnation of the far end."""

    def __init__(self, peer: Peer, known: Optional[KnownPeers] = None) -> None:
        self.peer = peer
        self.sealing = Sealing(peer, known)
        self.by_life: Dict[bytes, Conversation] = {}
        self._by_name: Dict[str, Conversation] = {}  # the latest of each name
        self.roads: Dict[Conversation, Road] = {}  # of those that are not parked
        self._parked: Dict[Conversation, object] = {}
        self._ended: Set[bytes] = set()
        self.resumed = 0
        #: Told when a conversation has ended.
        self.on_ended: Callable[[Conversation], None] = lambda conversation: None

    @property
    def parked(self) -> List[Conversation]:
        """Those that wait for their far end to come back."""
        return list(self._parked)

    # Roads.

    def open(self, info: PeerInfo) -> Conversation:
        """The conversation with a life of a peer; a new one has no road yet."""
        talk = self.by_life.get(info.incarnation)
        if talk is None:
            peer = self.peer
            talk = Conversation(peer.incarnation, info.incarnation, peer.server, peer.can, peer.compression)
            talk.name, talk.key = info.name, info.key
            self.by_life[info.incarnation] = talk
        return talk

    def attach(self, talk: Conversation, road: Road, info: PeerInfo) -> None:
        """Let a conversation run, or go on, on a road. Raises: Refused if the peer is not to be spoken with."""
        is_new = not talk.generation and talk.seal is None
        key = self.sealing.key_for(talk, info) if is_new else None
        self._detach(talk)
        self._parked.pop(talk, None)
        self._by_name[talk.name] = talk  # not before: until it is presented, it may have no name of its own
        talk.to = info.number
        road.conversations[info.number] = talk
        self.roads[talk] = road
        talk.wake = partial(road.link.ready, talk)
        talk.pump = road.link.transport.pump
        if talk.generation:
            self.resumed += 1
            logger.info("%s: goes on with %s", self.peer.name, talk.name)
        if key is None:
            talk.begin(info.number)
        else:
            self.sealing.begin(talk, road, info.number, key)
        self.peer.tasks.start_soon(self._hurry, talk, road, info.number)

    async def _hurry(self, talk: Conversation, road: Road, number: int) -> None:
        """Who is there answers a resume, and an exchange of keys, as it answers pings; a link that is dead says so."""
        longest = 2 * self.peer.silence
        await anyio.sleep(longest)
        # If it left and came back meanwhile, that has its own time.
        if self.roads.get(talk) is road and talk.to == number and not talk.greeted:
            self.end(talk, WorkerLost(f"{talk.name} did not answer within {longest:g} s"))

    def _detach(self, talk: Conversation) -> None:
        road = self.roads.pop(talk, None)
        if road is not None:
            del road.conversations[talk.to]
            road.link.forget(talk)
        self.sealing.forget(talk)
        talk.wake = talk.pump = _nothing

    def park(self, talk: Conversation, why: AsyncSyftError, grace: Optional[float] = None) -> None:
        """Its road is lost, or there is none yet: keep it for the time of grace (seconds)."""
        self._detach(talk)
        grace = self.peer.resume_grace if grace is None else grace
        if not grace or self.peer.closing or len(self._parked) >= MAX_PARKED:
            self.end(talk, WorkerLost(f"{talk.name} is lost: {why}"))
            return
        self._parked[talk] = parked = object()
        self.peer.tasks.start_soon(self._wait, talk, parked, grace, why)

    async def _wait(self, talk: Conversation, parked: object, grace: float, why: AsyncSyftError) -> None:
        await anyio.sleep(grace)
        if self._parked.get(talk) is parked:
            self.end(talk, WorkerLost(f"{talk.name} is lost, and did not come back within {grace:g} s: {why}"))

    def end(self, talk: Conversation, error: AsyncSyftError) -> None:
        """A conversation is over; idempotent."""
        self._detach(talk)
        self._parked.pop(talk, None)
        if self.by_life.get(talk.theirs) is talk:
            del self.by_life[talk.theirs]
            if talk.received and len(self._ended) < MAX_ENDED:
                self._ended.add(talk.theirs)
            if self._by_name.get(talk.name) is talk:
                del self._by_name[talk.name]
            talk.end(error)
            self.on_ended(talk)

    def leave(self, talk: Conversation, error: AsyncSyftError, code: str = "") -> None:
        """End a conversation and tell the far end."""
        self.say_goodbye(talk, code, str(error)[:1000])
        self.end(talk, error)

    def say_goodbye(self, talk: Conversation, code: str, reason: str) -> None:
        """Tell the far end that the conversation is over, if there is a road to it."""
        road = self.roads.get(talk)
        if road is not None and not road.link.closed:
            goodbye = Parcel(wire.GOODBYE, 0, (code, reason))
            road.link.send(Sealed(goodbye, talk.seal) if talk.seal is not None else goodbye, talk.to)

    def adopt(self, info: PeerInfo, seal: Seal) -> None:
        """A peer resumed under the seal of a new exchange: what was had with it before, if anything was, is over."""
        talk = self.by_life.get(info.incarnation)
        if talk is not None and (talk.generation or talk.seal is not None):
            self.end(talk, WorkerLost(f"{talk.name} began anew"))
        self.open(info).seal = seal

    # Who is there.

    def joined(self, road: Road, info: PeerInfo) -> None:
        """A peer is there: what was parked goes on with it, and what was had with an earlier life of it is over."""
        before = self._by_name.get(info.name)
        # Names are unique where this peer dialled: at a relay, or at the one worker of an address.
        if before is not None and before.theirs != info.incarnation and road.admit is None:
            self.end(before, WorkerLost(f"{info.name} was started anew, and its objects are gone"))
        at = road.conversations.get(info.number)
        if at is not None and at.theirs != info.incarnation:
            self.park(at, UnknownPeer(f"{info.name} has its number now"))
        known = self.by_life.get(info.incarnation)
        if known is not None and known is not at and self._is_of(known, info):
            try:
                self.attach(known, road, info)
            except Refused as error:
                self.end(known, error)

    def _is_of(self, talk: Conversation, info: PeerInfo) -> bool:
        """Whether a peer, as it is presented, is the far end of a conversation; a new one learns who that is."""
        if not talk.generation:
            talk.name, talk.key = info.name, info.key
        return talk.key == info.key

    # Frames.

    def _has_moved(self, road: Road, frame: Frame) -> bool:
        """Whether a frame was on its way by an old road when its conversation went on by another: it is sent again."""
        info = road.peers.get(frame.sender)
        talk = None if info is None else self.by_life.get(info.incarnation)
        return talk is not None and talk in self.roads and frame.kind not in (wire.RESUME, wire.SEAL)

    def receive(self, road: Road, frame: Frame) -> None:
        """A frame of a conversation. Raises: RemoteProtocolError, which costs the conversation."""
        talk, is_sealed = road.conversations.get(frame.sender), bool(frame.flags & wire.SEALED)
        if talk is None and self._has_moved(road, frame):
            return
        if frame.kind == wire.SEAL:
            self.sealing.on_exchange(road, frame)
            return
        if is_sealed or self.sealing.is_due(talk):
            opened = self._open(road, frame, talk)
            if opened is None:
                return
            frame, talk = opened, road.conversations.get(frame.sender)
        if frame.kind == wire.RESUME and (talk is None or not talk.greeted):
            talk = self._meet(road, frame, wire.parse(frame), is_sealed)
        elif talk is None:
            self._refuse(road, frame, "no conversation: resume it first")
        if talk is not None:
            if frame.kind == wire.CREDIT:
                talk.now = time.perf_counter()
            talk.receive(frame)

    def _open(self, road: Road, frame: Frame, talk: Optional[Conversation]) -> Optional[Frame]:
        """A frame that is sealed, or should be, in the clear; None if it was refused. Raises: RemoteProtocolError."""
        if frame.kind == wire.RESUME and frame.flags & wire.SEALED:
            return self.sealing.open_resume(road, frame)
        if talk is not None and talk.seal is not None:
            return talk.seal.open(frame)
        problem = f"{self.peer.name} speaks under a seal, or not at all, and none was agreed on"
        self._refuse(road, frame, problem, Refused.__name__)
        return None

    def _meet(self, road: Road, frame: Frame, resume: Resume, is_sealed: bool) -> Optional[Conversation]:
        """The conversation that a resume is for: one that goes on, or a new one; None if it was refused."""
        info, talk = road.peers.get(frame.sender), self.by_life.get(resume.mine)
        if resume.yours != self.peer.incarnation:
            problem = f"{self.peer.name} is not who you knew: it was started anew"
        elif info is None or info.incarnation != resume.mine:
            problem = "that life is not the one that was introduced"
        elif talk is not None and not self._is_of(talk, info):
            problem = "that life has another key"
        elif talk is not None and self.sealing.is_due(talk) and not is_sealed:
            problem = "that conversation is sealed"
        elif not self.peer.welcomes(resume.mine, info.role):
            problem = f"{self.peer.name} is about to end: come back when it was started anew"
        else:
            return self._go_on(road, info, talk, frame, resume)
        self._refuse(road, frame, problem)
        return None

    def _go_on(
        self, road: Road, info: PeerInfo, talk: Optional[Conversation], frame: Frame, resume: Resume
    ) -> Optional[Conversation]:
        is_first = talk is not None and talk.generation == 1 and road.conversations.get(info.number) is talk
        if is_first and (resume.received or resume.seen):
            return None  # of one that was given up here: our own resume, on its way, says that this is a new one
        if talk is not None and not talk.continues(resume):
            self.end(talk, WorkerLost(f"{talk.name} gave the conversation up"))
            talk = None
        if talk is None and self._was_given_up(resume):
            self._refuse(road, frame, f"{self.peer.name} gave the conversation up")
            return None
        talk = talk or self.open(info)
        if road.conversations.get(info.number) is not talk or not talk.generation:
            self.attach(talk, road, info)
        return talk

    def _was_given_up(self, resume: Resume) -> bool:
        """Whether a resume speaks of what there was here, and not only of what never came: that can be sent again."""
        asked = resume.asked and (resume.mine in self._ended or len(self._ended) >= MAX_ENDED)
        return bool(asked or resume.received or resume.seen)

    def _refuse(self, road: Road, frame: Frame, reason: str, code: str = UnknownPeer.__name__) -> None:
        road.link.send(Parcel(wire.REFUSED, 0, (0, code, reason)), frame.sender, frame.id)


def _nothing() -> None:
    """Nobody is there to be woken."""
