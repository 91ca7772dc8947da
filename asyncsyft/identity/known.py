"""Known peers: names and the keys that belong to them, pinned as ssh's known_hosts pins those of hosts."""

from __future__ import annotations

import os
import re
from typing import Callable, Dict, List, Mapping, Optional, Tuple, Union

from ..errors import Refused
from .files import Path, append_line, read_lines
from .forms import PUBLIC_SIZE, fingerprint, is_name, key_text, parse_key

#: What to do about a name that is not pinned: refuse it, or ask (name, text of the key) whether to pin it.
FirstUse = Union[str, Callable[[str, str], bool]]
REFUSE = "refuse"

_LINE = re.compile(r"(.+?)\s+(x25519:\S+)(?:\s.*)?")


class KnownPeers:
    """Which key belongs to which name: from a mapping of texts, or from a file with ``name key [comment]`` a line.

    ``first_use`` says what to do about a name that is not here: "refuse", or a function of the name and the text of its
    key; if that returns True, the key is pinned, in the file too, which need not be there before.

    Raises: OSError; ValueError, naming the line, for what is malformed and for a name with two keys.
    """

    def __init__(self, source: Union[Path, Mapping[str, str]], first_use: FirstUse = REFUSE) -> None:
        if first_use != REFUSE and not callable(first_use):
            raise ValueError(f'first_use is "{REFUSE}" or a function, not {first_use!r}')
        self._first_use = first_use
        self._path: Optional[str] = None
        self._keys: Dict[str, bytes] = {}
        if isinstance(source, Mapping):
            for name, text in source.items():
                self._keys[_name(name)] = parse_key(text)
            return
        self._path = os.fspath(source)
        if os.path.exists(self._path) or first_use == REFUSE:
            self._read(self._path)

    @property
    def names(self) -> List[str]:
        """The names that are pinned."""
        return sorted(self._keys)

    def key_of(self, name: str) -> Optional[bytes]:
        """The key that is pinned for a name."""
        return self._keys.get(name)

    def check(self, name: str, key_public: bytes) -> None:
        """Return if that key is the one of that name, or may be pinned now.

        Raises: Refused, with what to do; OSError if the file cannot be written; what ``first_use`` raises.
        """
        if len(key_public) != PUBLIC_SIZE:
            raise Refused(f"{name} proved no key, and only those are spoken with whose keys are known here")
        pinned = self._keys.get(name)
        if pinned == key_public:
            return
        if pinned is not None:
            raise Refused(
                f"the key of {name} is not the one that is known here: known is {fingerprint(pinned)}, shown was "
                f"{fingerprint(key_public)}. Someone may be posing as {name}. If it has a new key, and you have that "
                f"from a source that you trust, write the new one in {self._where}: {key_text(key_public)}"
            )
        if not is_name(name):
            raise Refused(f"not a name that can be printed: {name!r:.80}")
        if not callable(self._first_use) or not self._first_use(name, key_text(key_public)):
            raise Refused(
                f"{name} is not known here, with the key {fingerprint(key_public)}. If you trust it, add it to "
                f"{self._where}: {name} {key_text(key_public)}"
            )
        self._pin(name, key_public)

    @property
    def _where(self) -> str:
        return self._path or "the known peers"

    def _pin(self, name: str, key_public: bytes) -> None:
        if self._path is not None:
            # otherwise a peer could choose a name that is read as another name with another key
            if name != name.strip() or name.startswith("#") or " x25519:" in name:
                raise Refused(f"the name {name!r:.80} cannot be written in a file of known peers")
            append_line(self._path, f"{name} {key_text(key_public)}")
        self._keys[name] = key_public

    def _read(self, path: str) -> None:
        for number, line in read_lines(path):
            try:
                name, public = _parse(line)
                if self._keys.setdefault(name, public) != public:
                    raise ValueError(f"{name} has another key above")
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {error}") from None


def _parse(line: str) -> Tuple[str, bytes]:
    """The name and the key of a line. Raises: ValueError."""
    found = _LINE.fullmatch(line)
    if found is None:
        raise ValueError("not a name, a key (x25519:...) and perhaps a comment")
    return _name(found[1]), parse_key(found[2])


def _name(name: str) -> str:
    if not is_name(name):
        raise ValueError(f"not a name that can be printed: {name!r:.80}")
    return name


def known_peers(source: Union[KnownPeers, Path, Mapping[str, str], None]) -> Optional[KnownPeers]:
    """Known peers, in whatever form they were given. Raises: OSError, ValueError."""
    return source if source is None or isinstance(source, KnownPeers) else KnownPeers(source)
