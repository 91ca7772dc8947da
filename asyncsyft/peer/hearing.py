"""What the ends of a link say to each other: the handshake, who comes and goes, and pings.

Functions over a peer and the road on which something came; each raises RemoteProtocolError for what is out of place.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any, Callable, Dict

from .. import wire
from ..errors import AsyncSyftError, LinkClosed, Refused, RemoteProtocolError, UnknownPeer, WorkerLost, by_code
from ..identity import prove
from ..wire import Challenge, Frame, Goodbye, Hello, Parcel, PeerInfo, Peers, Welcome
from .road import WORKER, Road

if TYPE_CHECKING:
    from .peer import Peer

logger = logging.getLogger(__name__)


def on_challenge(peer: Peer, road: Road, frame: Frame, challenge: Challenge) -> None:
    if road.admit is not None or road.far is not None or road.hello is not None or frame.sender:
        raise RemoteProtocolError("a challenge out of place")
    hello = Hello(wire.VERSION, peer.name, peer.role, peer.incarnation, road.token, peer.can, peer.key.public)
    road.hello = hello._replace(proof=prove(peer.key, challenge.public, hello.transcript))
    road.link.send(Parcel(wire.HELLO, 0, road.hello))


def on_hello(peer: Peer, road: Road, frame: Frame, hello: Hello) -> None:
    if road.admit is None or road.challenge is None or road.far is not None:
        raise RemoteProtocolError("a hello out of place")
    try:
        road.grant = road.admit(hello, road.challenge, road.link.transport)
        _take_over(peer, hello)
    except AsyncSyftError as error:
        road.link.send(Parcel(wire.GOODBYE, 0, (type(error).__name__, str(error))))
        road.link.close(1008, str(error))
        return
    me = PeerInfo(0, peer.name, peer.role, peer.incarnation, peer.key.public)
    road.link.send(Parcel(wire.WELCOME, 0, (wire.VERSION, 1, os.urandom(8), me, [], peer.can)))
    _greeted(peer, road, PeerInfo(0, hello.name, hello.role, hello.incarnation, hello.key))


def _take_over(peer: Peer, hello: Hello) -> None:
    """A newer link of the same life ends the older one, which may be half open. Raises: Refused for another key."""
    for road in peer.roads:
        if road.admit is not None and road.far is not None and road.far.incarnation == hello.incarnation:
            if road.far.key != hello.key or not hello.key:
                raise Refused(f"{hello.name} is linked already, and this is not the key that it proved")
            road.link.abort(LinkClosed("a newer link of the same peer took its place"))


def on_welcome(peer: Peer, road: Road, frame: Frame, welcome: Welcome) -> None:
    if road.far is not None or road.hello is None or frame.sender:
        raise RemoteProtocolError("a welcome out of place")
    _greeted(peer, road, welcome.me)
    for info in welcome.peers:
        _joined(peer, road, info)
    if road.is_relayed and peer.role == WORKER:  # drivers are told of all workers
        road.seek(*[talk.theirs for talk in peer.conversations.parked])


def _greeted(peer: Peer, road: Road, far: PeerInfo) -> None:
    road.far = far
    peer.roads.append(road)
    logger.debug("%s: linked to %s %s", peer.name, far.role, far.name)
    road.greeted.set(None)
    if not road.is_relayed:
        _joined(peer, road, far._replace(number=0))


def _joined(peer: Peer, road: Road, info: PeerInfo) -> None:
    road.peers[info.number] = info
    peer.conversations.joined(road, info)
    peer.on_joined(road, info)


def on_peers(peer: Peer, road: Road, frame: Frame, message: Peers) -> None:
    if frame.sender or not road.is_relayed:
        raise RemoteProtocolError("only a relay says who is there")
    for number, reason in message.left:
        error = WorkerLost(f"{road.name_of(number)} left: {reason or 'goodbye'}")
        _left(peer, road, number, error, for_good=not reason)
        road.peers.pop(number, None)
    for info in message.joined:
        _joined(peer, road, info)


def _left(peer: Peer, road: Road, number: int, error: AsyncSyftError, for_good: bool) -> None:
    for to, slot in road.pings.values():
        if to == number:
            slot.fail(error)
    road.candidates.pop(number, None)
    talk = road.conversations.get(number)
    if talk is not None and for_good:
        peer.conversations.end(talk, error)
    elif talk is not None:
        peer.conversations.park(talk, error)
        if road.is_relayed and peer.role == WORKER and not road.link.closed:
            road.seek(talk.theirs)  # when it comes back it may not know of us, if nothing of ours had reached it


def on_goodbye(peer: Peer, road: Road, frame: Frame, message: Goodbye) -> None:
    name = road.name_of(frame.sender)
    if message.code == RemoteProtocolError.__name__:
        error: AsyncSyftError = RemoteProtocolError(f"{name} says that we broke the protocol: {message.reason}")
    elif message.code == LinkClosed.__name__:
        error = LinkClosed(message.reason)
    elif message.code:
        error = by_code(message.code)(message.reason)
    else:
        error = WorkerLost(f"{name} said goodbye: {message.reason}")
    if frame.sender or not road.is_relayed:
        if road.far is None:
            road.link.error = road.link.error or error
        _left(peer, road, frame.sender, error, for_good=True)
    elif isinstance(error, Refused):
        road.link.error = road.link.error or error
    else:
        road.link.error = road.link.error or LinkClosed(f"the relay said goodbye: {message.reason}")
        road.retry = message.retry


def on_ping(peer: Peer, road: Road, frame: Frame, message: None) -> None:
    road.link.send(Parcel(wire.PONG, 0, ()), frame.sender, frame.id)


def on_pong(peer: Peer, road: Road, frame: Frame, message: None) -> None:
    number, slot = road.pings.get(frame.id, (-1, None))
    if slot is not None and number == frame.sender:
        slot.set(None)


def on_refused(peer: Peer, road: Road, frame: Frame, message: wire.Refused) -> None:
    if frame.sender or not road.is_relayed:  # the far end does not know, or want, this conversation any more
        talk, info = road.conversations.get(frame.sender), road.peers.get(frame.sender)
        kind = Refused if message.code == Refused.__name__ else WorkerLost
        error = kind(f"{road.name_of(frame.sender)} refused to go on: {message.reason}")
        _left(peer, road, frame.sender, error, for_good=True)
        if talk is not None and talk.generation > 1 and info is not None:
            peer.on_joined(road, info)  # what was had with it is gone, and it is there for something new
    else:  # the relay has nobody of that number now: who it was may come back under another
        _left(peer, road, message.to, by_code(message.code)(message.reason), message.code != UnknownPeer.__name__)


#: By kind of frame.
HANDLERS: Dict[int, Callable[[Peer, Road, Frame, Any], None]] = {
    wire.CHALLENGE: on_challenge,
    wire.HELLO: on_hello,
    wire.WELCOME: on_welcome,
    wire.PEERS: on_peers,
    wire.GOODBYE: on_goodbye,
    wire.PING: on_ping,
    wire.PONG: on_pong,
    wire.REFUSED: on_refused,
}
