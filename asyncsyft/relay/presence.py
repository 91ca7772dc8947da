"""Who is linked to a relay, and who is told of whom: it knows no frames beside these news.

A driver is told of the workers that it may reach. A worker is told who speaks to it, before that peer's first frame;
and who seeks a life is told when it is there. Whoever was told of a peer is told when it leaves.
"""

from __future__ import annotations

import logging
from typing import Dict, List, Optional, Sequence, Set

from .. import wire
from ..errors import Refused
from ..peer import DRIVER, WORKER
from ..wire import Hello, Parcel, PeerInfo
from .member import MAX_SOUGHT, Member

logger = logging.getLogger(__name__)


class Presence:
    """The peers of one relay, by number, by name and by life (incarnation)."""

    def __init__(self) -> None:
        self.members: Dict[int, Member] = {}
        self.names: Dict[str, Member] = {}
        self.lives: Dict[bytes, Member] = {}
        self.sought: Dict[bytes, Set[Member]] = {}  # lives that did not come yet, and who waits for them
        self._last_number = 0

    def number(self) -> int:
        """A number that nobody had before."""
        self._last_number += 1
        return self._last_number

    def namesake(self, hello: Hello) -> Optional[Member]:
        """Who is there under the name of a hello. Raises: Refused if its life is there under another name."""
        before, same = self.names.get(hello.name), self.lives.get(hello.incarnation)
        if same is not None and same is not before:
            raise Refused("that incarnation is there under another name")
        return before

    def join(self, member: Member, info: PeerInfo) -> None:
        """A peer is there; those whom it concerns are told."""
        member.info = info
        self.members[info.number] = self.names[info.name] = self.lives[info.incarnation] = member
        if info.role == WORKER:
            for other in self.members.values():
                if _hears_of(other, info):
                    other.tell([info])
        for other in self.sought.pop(info.incarnation, ()):
            other.sought.discard(info.incarnation)
            self.present(member, other)
        logger.info("%s %s joined as %d from %s", info.role, info.name, info.number, member.link.transport.remote)

    def workers_for(self, member: Member) -> List[PeerInfo]:
        """The workers that a driver may reach."""
        infos = [other.info for other in self.members.values() if other.info is not None]
        return [info for info in infos if info.role == WORKER and member.grant.may_reach(info.name)]

    def introduce(self, sender: Member, destination: Member) -> bool:
        """Before the first frame of a pair: may the sender reach it? A worker is told who speaks to it."""
        assert sender.info is not None
        assert destination.info is not None
        if sender.info.number in destination.talked:
            return True
        name, number = destination.info.name, destination.info.number
        if not sender.grant.may_reach(name):
            refused = (number, Refused.__name__, f"{sender.info.name} may not reach {name}")
            sender.link.send(Parcel(wire.REFUSED, 0, refused))
            return False
        if destination.info.role == WORKER:
            destination.tell([sender.info])
        destination.talked.add(sender.info.number)
        sender.talked.add(number)
        return True

    def present(self, one: Member, other: Member) -> None:
        """Tell two peers of each other, if one of them may reach the other."""
        assert one.info is not None
        assert other.info is not None
        if not (one.grant.may_reach(other.info.name) or other.grant.may_reach(one.info.name)):
            return
        for member, info in ((one, other.info), (other, one.info)):
            if info.number not in member.talked:
                member.talked.add(info.number)
                if info.role != WORKER or not _hears_of(member, info):  # it knows already
                    member.tell([info])

    def seek(self, member: Member, lives: Sequence[bytes]) -> None:
        """Present the peers of these lives to a member, and it to them: now, or when they come."""
        for life in lives:
            other = self.lives.get(life)
            if other is not None and other is not member:
                self.present(member, other)
            elif len(member.sought) < MAX_SOUGHT:
                member.sought.add(life)
                self.sought.setdefault(life, set()).add(member)

    def leave(self, member: Member) -> None:
        """A peer is there no more; nothing happens if it never was."""
        info, member.info = member.info, None
        if info is None:
            return
        del self.members[info.number], self.names[info.name], self.lives[info.incarnation]
        for life in member.sought:
            waiting = self.sought[life]
            waiting.discard(member)
            if not waiting:
                del self.sought[life]
        reason = "" if member.goodbye is not None else str(member.link.error or "the link ended without a goodbye")
        news = Parcel(wire.PEERS, 0, ([], [(info.number, reason)]))
        for other in self.members.values():
            _tell_left(other, info, news)
        logger.info("%s %s left: %s", info.role, info.name, reason or "goodbye")


def _hears_of(other: Member, worker: PeerInfo) -> bool:
    """Whether a member is told of a worker without asking."""
    return other.info is not None and other.info.role == DRIVER and other.grant.may_reach(worker.name)


def _tell_left(other: Member, info: PeerInfo, news: Parcel) -> None:
    """What the one who left said before is still delivered, ahead of the news that it left."""
    outbox = other.outboxes.get(info.number)
    if outbox is not None and outbox.frames:
        outbox.last(news)
    else:
        other.outboxes.pop(info.number, None)
        if info.number in other.talked or (info.role == WORKER and _hears_of(other, info)):
            other.link.send(news)
    other.talked.discard(info.number)
