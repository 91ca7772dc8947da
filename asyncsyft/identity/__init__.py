"""Who is who: keys and their proofs, tokens and their authorities, known peers, and who may come in.

Rules, and files of keys and names that are read and written when asked to: no sockets, no tasks, and times are given.
"""

from __future__ import annotations

from .admission import Admission, Grant
from .files import Path
from .forms import KEY, authority_text, fingerprint, key_text, matches, parse_authority, parse_key
from .keys import Challenge, Key, prove
from .known import KnownPeers, known_peers
from .revoked import Revoked, revoke
from .tokens import Authority, Token, check_token, read_token

__all__ = [
    "KEY",
    "Admission",
    "Authority",
    "Challenge",
    "Grant",
    "Key",
    "KnownPeers",
    "Path",
    "Revoked",
    "Token",
    "authority_text",
    "check_token",
    "fingerprint",
    "key_text",
    "known_peers",
    "matches",
    "parse_authority",
    "parse_key",
    "prove",
    "read_token",
    "revoke",
]
