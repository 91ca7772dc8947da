"""When a conversation is sealed, and the exchange of keys before it begins.

This end seals when it was told whom it knows (``known``), or when a driver told it the key of a worker: never because
of what a relay says. Who knows nobody answers an exchange all the same, with whoever proved the key that was presented.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Dict, List, Optional

from .. import wire
from ..errors import Refused, RemoteProtocolError
from ..identity import KnownPeers
from ..protocol import Conversation, Seals
from ..seal import Exchange, Initiator, Responder, exchange, leads, lives, prologue
from ..wire import Buffer, Frame, Parcel, PeerInfo
from .road import Road

if TYPE_CHECKING:
    from .peer import Peer

logger = logging.getLogger(__name__)


class Sealed(Parcel):
    """A frame that a link sends under a seal; it is sealed as it leaves."""

    __slots__ = ("_parcel", "_seal")

    def __init__(self, parcel: Parcel, seal: Seals) -> None:
        self._parcel, self._seal = parcel, seal

    def write(self, out: List[Buffer], to: int, number: int, sender: int = 0, flags: int = 0) -> int:
        """As that of the frame within."""
        return self._seal.write(self._parcel, out, to, number, flags)


class Sealing:
    """The exchanges under way of one peer."""

    def __init__(self, peer: Peer, known: Optional[KnownPeers]) -> None:
        self.peer, self.known = peer, known
        self._begun: Dict[Conversation, Initiator] = {}

    def key_for(self, talk: Conversation, info: PeerInfo) -> Optional[bytes]:
        """The public key with which to seal a new conversation; None: it is not sealed. Raises: Refused."""
        if talk.expects:
            if info.key != talk.expects:
                raise Refused(f"{info.name} has not the key that the driver said")
            return talk.expects
        if self.known is None:
            return None
        self.known.check(info.name, info.key)
        return info.key

    def begin(self, talk: Conversation, road: Road, number: int, key: bytes) -> None:
        """Say the first message of an exchange; the conversation begins when the answer to it is here."""
        me, talk.expects = self.peer.incarnation, key
        if number in road.candidates:
            return  # it began first, and was answered: its resume says under which seal
        self._begun[talk] = initiator = Initiator(self.peer.key, key, prologue(me, talk.theirs))
        road.link.send(Exchange(me, talk.theirs, 1, initiator.message).parcel(), number)

    def forget(self, talk: Conversation) -> None:
        """The conversation lost its road, or ended."""
        self._begun.pop(talk, None)

    def is_under_way(self, talk: Optional[Conversation]) -> bool:
        """Whether a conversation waits for the answer to its exchange."""
        return talk in self._begun

    def on_exchange(self, road: Road, frame: Frame) -> None:
        """A message of an exchange; what is bad is dropped, since the true one may still come."""
        try:
            said = exchange(frame)
            info = road.peers.get(frame.sender)
            if said.yours != self.peer.incarnation or info is None or info.incarnation != said.mine:
                raise RemoteProtocolError("an exchange of keys of other lives")
            if said.step == 1:
                self._answer(road, info, said)
            else:
                self._finish(road, info, said)
        except RemoteProtocolError as error:
            logger.warning("%s: an exchange of keys with %s: %s", self.peer.name, road.name_of(frame.sender), error)
        except Refused as error:
            logger.warning("%s: %s", self.peer.name, error)
            reason = "its key is not known here, or not the one that it proved"
            road.link.send(Parcel(wire.REFUSED, 0, (0, Refused.__name__, reason)), frame.sender)

    def _answer(self, road: Road, info: PeerInfo, said: Exchange) -> None:
        talk = road.conversations.get(info.number)
        if self.is_under_way(talk) and leads(self.peer.incarnation, said.mine):
            return  # both began: ours goes on
        responder = Responder(self.peer.key, prologue(said.mine, said.yours), said.message)
        if responder.theirs != info.key:
            raise Refused(f"{info.name} speaks with another key than the one that was presented")
        if self.known is not None:
            self.known.check(info.name, responder.theirs)
        if talk is not None:
            self.forget(talk)
        road.candidates[info.number] = responder.seal
        road.link.send(Exchange(said.yours, said.mine, 2, responder.message).parcel(), info.number)

    def _finish(self, road: Road, info: PeerInfo, said: Exchange) -> None:
        talk = road.conversations.get(info.number)
        if talk is None or not self.is_under_way(talk):
            raise RemoteProtocolError("an answer to no exchange")
        talk.seal = self._begun[talk].finish(said.message)
        self.forget(talk)
        talk.begin(info.number)

    def open_resume(self, road: Road, frame: Frame) -> Frame:
        """A sealed resume in the clear: of the conversation that goes on, or, of a candidate's seal, of a new one.

        Raises: RemoteProtocolError.
        """
        mine, _ = lives(frame)
        talk = self.peer.conversations.by_life.get(mine)
        candidate = road.candidates.get(frame.sender)
        if talk is not None and talk.seal is not None:
            try:
                return talk.seal.open(frame)
            except RemoteProtocolError:
                if candidate is None:
                    raise
        if candidate is None:
            raise RemoteProtocolError("a sealed resume before the exchange of keys")
        clear = candidate.open(frame)
        del road.candidates[frame.sender]
        self.peer.conversations.adopt(road.peers[frame.sender], candidate)
        return clear

    def is_due(self, talk: Optional[Conversation]) -> bool:
        """Whether what comes in the clear is to be refused."""
        return self.known is not None or (talk is not None and (talk.seal is not None or bool(talk.expects)))
