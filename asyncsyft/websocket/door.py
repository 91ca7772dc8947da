"""Who is let in before a websocket opens: how many, from where, how fast, by which proxy, and no web page.

It counts and decides; sockets are the listener's. Time, in seconds, is told by who asks.
"""

from __future__ import annotations

import ipaddress
from collections import Counter, OrderedDict
from typing import Counter as Counted
from typing import Iterable, Mapping, NamedTuple, Optional, Tuple, Union

from asyncsyft.limits import UNGREETED, Bucket, DoorLimits

#: Addresses that are remembered for how fast they come; beyond, the one that did not come for the longest time is not.
MAX_REMEMBERED = 1 << 14
#: Seconds of connections that an address may make at once.
BURST = 10
#: Seconds after which one who was turned away may try again.
RETRY = 1

#: Headers of a request that a proxy passed on.
FORWARDED = frozenset(("x-forwarded-for", "forwarded", "x-real-ip"))
Host = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]
Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]


class TurnedAway(NamedTuple):
    """Why a request is not let in: HTTP's status, a sentence, seconds after which to try again (0: do not)."""

    status: int
    sentence: str
    retry: int


class Caller(NamedTuple):
    """Who is at the other end of a connection, behind any proxy that is trusted."""

    address: str
    is_local: bool
    is_proxied: bool

    @property
    def place(self) -> str:
        """What is counted as one address."""
        address = _address(self.address)
        if isinstance(address, ipaddress.IPv6Address):
            return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))
        return self.address


class Door:
    """What one listener lets in.

    ``origins``: web pages' origins that may open websockets here ("*": all), by default none. ``proxies``: addresses
    and networks whose word is taken for where a request comes from (X-Forwarded-For).
    """

    def __init__(
        self, limits: Optional[DoorLimits] = None, *, origins: Iterable[str] = (), proxies: Iterable[str] = ()
    ) -> None:
        """Raises: ValueError for what is no address or network."""
        self.limits = limits or DoorLimits()
        self._origins = frozenset(origin.rstrip("/").lower() for origin in origins)
        self._proxies: Tuple[Network, ...] = tuple(ipaddress.ip_network(proxy) for proxy in proxies)
        self.open = 0
        #: By place, of those that are in.
        self.places: Counted[str] = Counter()
        #: How many were turned away, by why.
        self.turned_away: Counted[str] = Counter()
        self._closed = ""
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def close(self, sentence: str) -> None:
        """Let nobody in any more, for this reason."""
        self._closed = sentence

    def caller(self, host: str, is_local: bool, headers: Mapping[str, str]) -> Caller:
        """Who sent a request that came from ``host``. Raises: ValueError if the proxy's word makes no sense.

        What another machine sent by a proxy of this one is not local, whether that proxy is trusted or not.
        """
        own = _address(host)
        if not self._trusts(own):
            return Caller(str(own), is_local and not any(name in headers for name in FORWARDED), False)
        named = [word.strip() for word in headers.get("x-forwarded-for", "").split(",") if word.strip()]
        address = own
        while named and self._trusts(address):
            address = _address(_without_port(named.pop()))
        return Caller(str(address), False, address != own)

    def admit(self, caller: Caller, headers: Mapping[str, str], now: float) -> Optional[TurnedAway]:
        """Why a request to open a websocket is refused, or None; then ``left`` follows when it is gone."""
        place = caller.place
        why, refused = self._refuse(place, headers, now)
        if refused is not None:
            self.turned_away[why] += 1
            return refused
        self.open += 1
        self.places[place] += 1
        return None

    def left(self, caller: Caller) -> None:
        """One who was let in is gone."""
        place = caller.place
        self.open -= 1
        self.places[place] -= 1
        if not self.places[place]:
            del self.places[place]

    def _refuse(self, place: str, headers: Mapping[str, str], now: float) -> Tuple[str, Optional[TurnedAway]]:
        limits, origin = self.limits, headers.get("origin")
        if self._closed:
            return "draining", TurnedAway(503, self._closed, RETRY)
        if origin is not None and not {"*", origin.rstrip("/").lower()} & self._origins:
            return "origin", TurnedAway(403, f"web pages of {origin[:80]} may not connect here", 0)
        if self.open >= limits.max_peers + UNGREETED:
            return "max_peers", TurnedAway(503, f"there are {limits.max_peers} peers already (max_peers)", RETRY)
        if self.places[place] >= limits.max_per_address:
            text = f"{place} has {limits.max_per_address} connections already (max_per_address)"
            return "max_per_address", TurnedAway(429, text, RETRY)
        if not self._bucket(place, now).has(now):
            text = f"{place} opens more than {limits.max_new} connections a second (max_new)"
            return "max_new", TurnedAway(429, text, RETRY)
        return "", None

    def _bucket(self, place: str, now: float) -> Bucket:
        bucket = self._buckets.get(place)
        if bucket is None:
            bucket = self._buckets[place] = Bucket(self.limits.max_new, BURST * self.limits.max_new, now)
            if len(self._buckets) > MAX_REMEMBERED:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(place)
        return bucket

    def _trusts(self, address: Host) -> bool:
        return any(address in network for network in self._proxies)


def _address(host: str) -> Host:
    """Raises: ValueError."""
    address = ipaddress.ip_address(host.partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address


def _without_port(word: str) -> str:
    """Some proxies write the port too: 1.2.3.4:5678, [2001:db8::1]:5678."""
    if word.startswith("["):
        return word[1:].partition("]")[0]
    return word.partition(":")[0] if word.count(":") == 1 else word
