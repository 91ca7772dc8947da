"""A link of a peer: whom it leads to, who else is there, and the conversations that run on it."""

from __future__ import annotations

from typing import Callable, Dict, Optional, Tuple, Type

from .. import wire
from ..identity import Challenge, Grant
from ..link import Link
from ..protocol import Conversation
from ..seal import Seal
from ..transport import Transport
from ..waiting import Slot
from ..wire import Frame, Hello, PeerInfo

DRIVER, RELAY, WORKER = "driver", "relay", "worker"
#: Whom an accepting end lets in: what a hello with this proof, on this transport, may do. Raises: Refused.
Admit = Callable[[Hello, Challenge, Transport], Grant]


class Road:
    """One link in use by a peer; ``on_frame`` gets what comes. It may be lost, its conversations then find another."""

    def __init__(
        self,
        transport: Transport,
        on_frame: Callable[[Road, Frame], None],
        slot: Type[Slot[None]],
        admit: Optional[Admit] = None,
    ) -> None:
        self.admit = admit  # on a link that was accepted
        self.challenge = Challenge() if admit is not None else None
        self.grant = Grant()  # what it gave
        self.link = Link(transport, self._on_message)
        self.on_frame = on_frame
        self.far: Optional[PeerInfo] = None  # who is at the other end of the link
        self.peers: Dict[int, PeerInfo] = {}
        self.conversations: Dict[int, Conversation] = {}
        self.candidates: Dict[int, Seal] = {}  # of peers that began an exchange of keys, until they resume under it
        self.pings: Dict[int, Tuple[int, Slot[None]]] = {}  # by id: to whom, and who waits
        self.token: Optional[str] = None  # shown in the hello, where a relay asks for one
        self.hello: Optional[Hello] = None  # as it was said here
        self.retry: Optional[int] = None  # seconds after which a relay that said goodbye expects to be there again
        self.greeted = slot()
        self.ended = slot()

    @property
    def is_relayed(self) -> bool:
        """Whether a relay is at the other end."""
        return self.far is not None and self.far.role == RELAY

    @property
    def where(self) -> str:
        """Who is at the other end, for people."""
        return self.far.name if self.far is not None and self.far.name else self.link.transport.remote

    def name_of(self, number: int) -> str:
        """What a peer on this road is called, for people."""
        info = self.peers.get(number)
        return info.name if info is not None else self.where if not number else f"peer {number}"

    def seek(self, *lives: bytes) -> None:
        """Ask the relay to present the peers of these incarnations, now or when they come, and this one to them."""
        for start in range(0, len(lives), wire.MAX_LIST):
            self.link.send(wire.Parcel(wire.SEEK, 0, (list(lives[start : start + wire.MAX_LIST]),)))

    def _on_message(self, message: memoryview) -> None:
        for frame in wire.frames(message):
            self.on_frame(self, frame)
