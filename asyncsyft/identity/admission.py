"""Who may come in to a relay, or to a worker that listens, and whom it may reach."""

from __future__ import annotations

import logging
from typing import Container, NamedTuple, Optional, Sequence, Tuple

from ..errors import Refused
from .forms import MAX_NAME, PUBLIC_SIZE, ROLES, fingerprint, is_name, matches
from .known import KnownPeers
from .tokens import check_token

logger = logging.getLogger(__name__)


class Grant(NamedTuple):
    """What a peer that came in may do: reach workers of these names (with ``*``), until ``expires`` (since 1970).

    ``token`` is the id of the token that says so, if one does.
    """

    reach: Tuple[str, ...] = ("*",)
    expires: Optional[int] = None
    token: Optional[str] = None

    def may_reach(self, worker_name: str) -> bool:
        """Whether frames of this peer may go to a worker of that name."""
        return any(matches(pattern, worker_name) for pattern in self.reach)


class Admission:
    """The rules of one door: peers that are pinned, peers with a token of an authority, and what else.

    Without authorities and known peers only this machine comes in; with them, nobody without proof. ``insecure`` lets
    in all who show nothing; but a name that is pinned is given to its key alone, always.

    ``authorities`` are public keys of 32 bytes, ``revoked`` ids of tokens. Raises: ValueError.
    """

    def __init__(
        self,
        authorities: Sequence[bytes] = (),
        known: Optional[KnownPeers] = None,
        revoked: Container[str] = (),
        insecure: bool = False,
    ) -> None:
        self.authorities = list(authorities)
        if any(type(public) is not bytes or len(public) != PUBLIC_SIZE for public in self.authorities):
            raise ValueError(f"an authority is given by its public key, {PUBLIC_SIZE} bytes")
        self.known = known
        self.revoked = revoked
        self.insecure = insecure

    def admit(
        self, name: str, role: str, key: Optional[bytes], token: Optional[str], is_local: bool, now: float
    ) -> Grant:
        """What a peer may do that wants to come in; ``key`` is the one that it *proved*, ``now`` seconds since 1970.

        Raises: Refused, with a sentence that may be told to the peer.
        """
        if role not in ROLES or not is_name(name):
            raise Refused(f"a peer is a {' or a '.join(ROLES)}, with a name of 1 to {MAX_NAME} printable characters")
        pinned = self.known.key_of(name) if self.known is not None else None
        if pinned is not None:
            if key != pinned:
                raise Refused(f"the name {name} belongs to a key, and {'another' if key else 'none'} was proved")
            return Grant()
        if token is not None and self.authorities:
            return self._by_token(name, role, key, token, now)
        return self._without_token(name, key, token, is_local)

    def stands(self, grant: Grant, now: float) -> bool:
        """Whether what was granted still holds: its token has not run out, and was not revoked meanwhile."""
        if grant.expires is not None and now >= grant.expires:
            return False
        return grant.token is None or grant.token not in self.revoked

    def _by_token(self, name: str, role: str, key: Optional[bytes], text: str, now: float) -> Grant:
        token = check_token(text, self.authorities, now, self.revoked)
        if not token.allows(name, role, key):
            bound = token.key is not None and token.key != key
            reason = "is bound to a key that was not proved" if bound else f"is not for {name} as a {role}"
            raise Refused(f"token {token.id} {reason}")
        return Grant(token.reach, token.expires, token.id)

    @staticmethod
    def _by_first_use(known: KnownPeers, name: str, key: bytes) -> None:
        try:
            known.check(name, key)  # it may ask, and pin
        except Refused as error:
            logger.info("%s", error)  # what to do about it is for whoever runs this, and not for the peer
            raise Refused(f"{name} is not known here, with the key {fingerprint(key)}") from None

    def _without_token(self, name: str, key: Optional[bytes], token: Optional[str], is_local: bool) -> Grant:
        guarded = bool(self.authorities) or self.known is not None
        if self.insecure or (is_local and not guarded):
            return Grant()
        if not guarded:
            raise Refused(f"{name} comes from another machine, and no keys or tokens are set up here")
        if self.known is not None and key is not None:
            self._by_first_use(self.known, name, key)
            return Grant()
        accepted = "a token" if self.known is None else "a key that is known here"
        if self.known is not None and self.authorities:
            accepted += " or a token"
        shown = "a token, which is not accepted here" if token is not None else "neither a key nor a token"
        raise Refused(f"{name} shows {shown if key is None else 'a key only'}; it needs {accepted}")
