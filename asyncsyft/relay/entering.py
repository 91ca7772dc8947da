"""How a peer comes in to a relay: the hello, and who takes whose place."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Tuple

from .. import wire
from ..errors import AsyncSyftError, LimitExceeded, LinkClosed, Refused
from ..identity import Grant
from ..limits import told
from ..peer import DRIVER, RELAY, vouch
from ..wire import Hello, Parcel, PeerInfo
from .member import PEERS_TOGETHER, Member

if TYPE_CHECKING:
    from .relay import Relay

logger = logging.getLogger(__name__)


def welcome(relay: Relay, member: Member, hello: Hello) -> None:
    """Let a peer in that said hello, or tell it why not."""
    try:
        member.grant = _admit(relay, member, hello)
    except AsyncSyftError as error:
        relay.peers_refused += 1
        logger.info("refused %s: %s", member.link.transport.remote, error)
        member.link.send(Parcel(wire.GOODBYE, 0, (type(error).__name__, getattr(error, "message", str(error)))))
        member.link.close(1008, "refused")
        return
    limits = {"limits": told(relay.limits)}
    info = PeerInfo(relay.presence.number(), hello.name, hello.role, hello.incarnation, hello.key)
    workers = relay.presence.workers_for(member) if hello.role == DRIVER else []
    me = PeerInfo(0, "relay", RELAY, relay.incarnation, relay.key.public)
    said: Tuple[Any, ...] = (wire.VERSION, info.number, relay.epoch, me, workers[:PEERS_TOGETHER], limits)
    member.link.send(Parcel(wire.WELCOME, 0, said))
    member.tell(workers[PEERS_TOGETHER:])
    relay.presence.join(member, info)
    relay.peers_joined += 1
    member.greeted.set(None)


def _admit(relay: Relay, member: Member, hello: Hello) -> Grant:
    if relay.draining:
        raise LinkClosed("the relay ends")
    grant = vouch(hello, member.challenge, relay.admission, member.link.transport)
    before = relay.presence.namesake(hello)
    if before is not None:
        _replace(relay, before, hello)
    if len(relay.members) >= relay.limits.max_peers:
        raise LimitExceeded(f"there are {len(relay.members)} peers already (max_peers)")
    return grant


def _replace(relay: Relay, before: Member, hello: Hello) -> None:
    """The newer link of a peer wins, if it proved the key of the older one, which may be half open."""
    assert before.info is not None
    if not hello.key or before.info.key != hello.key:
        raise Refused(f"the name {hello.name!r} is taken")
    relay.peers_replaced += 1
    if before.info.incarnation == hello.incarnation:
        before.link.abort(LinkClosed("a newer link of the same peer took its place"))
    else:  # another process, which must not dial again and take the place back
        reason = f"another process took the place of {hello.name}, with the same key"
        before.link.error, before.link.on_message = LinkClosed(reason), lambda message: None
        before.link.send(Parcel(wire.GOODBYE, 0, (Refused.__name__, reason)))
        before.link.close(1008, "replaced")
    relay.presence.leave(before)
