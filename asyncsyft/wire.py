"""Frames to messages and back: docs/protocol.md in code.

A frame is a header of 32 bytes, a meta (a msgpack list) and a body (raw buffers), the last two padded to 8 bytes. This
module knows what each kind of frame says and refuses everything else; it does not know in which order frames may come.
"""

from __future__ import annotations

import struct
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple, Union

import msgpack

from .compression import Policy, expand
from .errors import LocalProtocolError, RemoteProtocolError, in_short

Buffer = Union[bytes, bytearray, memoryview]

#: What both ends say in the opening handshake.
SUBPROTOCOL = "asyncsyft.v1"
VERSION = 1

#: kind, flags, lane, to, from, meta_len, id, body_len
HEADER = struct.Struct("<BBHIIIQQ")
HEADER_SIZE = HEADER.size
#: A message holds at most this much: the largest frame below, and small ones that travel along.
MAX_MESSAGE = 1 << 20
#: A frame is at most half of the credit of a lane, so that one always fits once the other half is granted.
MAX_FRAME = 1 << 19
#: A tensor of at most one chunk travels inside a program; a larger one in chunks of this size.
CHUNK = 1 << 18
#: Programs close and messages end at about this size: past it, larger writes are slower (facts in docs/design.md).
BATCH = 1 << 16
#: Frames that no credit pays for are at most this large.
MAX_EXEMPT = 1 << 16
#: Largest id: what a JavaScript number holds exactly.
MAX_ID = (1 << 53) - 1
#: Entries of one list in a meta: msgpack allocates what a list declares, at each of at most 1,024 levels, 8 bytes each.
MAX_LIST = 1 << 12
INCARNATION_SIZE = 8
#: Bytes of a public key, and of the proof that a peer holds it.
KEY_SIZE = 32

# Kinds: below 16 they concern a link, from 16 on a conversation.
HELLO, WELCOME, PEERS, GOODBYE, PING, PONG, REFUSED, CHALLENGE, SEEK = 1, 2, 3, 4, 5, 6, 7, 8, 9
RESUME, CREDIT, CANCEL, ANSWERS, PROGRAM, VALUES, CHUNK_OF = 16, 17, 18, 19, 20, 21, 22
#: Messages of the exchange of sealing keys; `seal` reads them, `parse` does not.
SEAL = 23

#: Flag of CHUNK_OF: the chunk belongs to a value that answers the receiver's request, not to a request of the sender.
OF_ANSWER = 0x01
#: The descriptor of a value that is no tensor: its bytes are a msgpack document, its shape their number.
DOCUMENT = "|m"
#: Flag of VALUES: with this frame, and those before it, the request of its id is answered; no answers frame says it.
LAST = 0x08
#: Flag of PROGRAM, VALUES and CHUNK_OF: the body is one zstd frame, which declares its size; only for a peer that
#: offers the codec ``ZSTD``. Credit is charged for the body as it was before.
COMPRESSED, ZSTD = 0x02, "zstd"
#: Flag of any kind: meta and body are sealed between two peers. `seal` opens them; `parse` refuses the flag.
SEALED = 0x04

_FLAGS: Dict[int, int] = {PROGRAM: COMPRESSED, VALUES: LAST | COMPRESSED, CHUNK_OF: OF_ANSWER | COMPRESSED}
#: Makes a named tuple from a tuple: half the time of calling its class, on the way of every message.
_new: Any = tuple.__new__
#: One packer for all: making one costs as much as packing a small meta. It calls nothing that could call it again.
_pack = msgpack.Packer().pack
_PAD = (b"", b"\0" * 7, b"\0" * 6, b"\0" * 5, b"\0" * 4, b"\0" * 3, b"\0" * 2, b"\0")


class Frame(NamedTuple):
    """One frame as it came: the header's fields and views of the rest, valid as long as the message is."""

    kind: int
    flags: int
    lane: int
    to: int
    sender: int
    id: int
    meta: memoryview
    body: memoryview
    size: int


class Hello(NamedTuple):
    """A peer that dialled says who it is. ``can`` is what it can do: level, ops, codecs, limits.

    ``key`` is its public key, and ``proof`` shows that it holds it; both are empty for a peer that has none.
    """

    version: int
    name: str
    role: str
    incarnation: bytes
    token: Optional[str]
    can: Dict[str, Any]
    key: bytes = b""
    proof: bytes = b""

    @property
    def transcript(self) -> bytes:
        """What the proof covers: who the peer says it is, and in which life."""
        return b"\0".join((self.name.encode(), self.role.encode(), (self.token or "").encode(), self.incarnation))


class PeerInfo(NamedTuple):
    """A peer as the relay presents it, to whom it proved ``key``; number 0 is the other end of the link itself."""

    number: int
    name: str
    role: str
    incarnation: bytes
    key: bytes = b""


class Welcome(NamedTuple):
    """The accepting end's answer to a hello: the number it gives, in this epoch (one life of it), and who is there."""

    version: int
    number: int
    epoch: bytes
    me: PeerInfo
    peers: List[PeerInfo]
    can: Dict[str, Any]


class Challenge(NamedTuple):
    """What the accepting end says first: a public key made for this link, against which a hello proves its own."""

    version: int
    public: bytes


class Seek(NamedTuple):
    """To a relay: present these incarnations to me, and me to them, now and when they come."""

    lives: List[bytes]


class Peers(NamedTuple):
    """The relay tells who joined and who left: numbers, and why."""

    joined: List[PeerInfo]
    left: List[Tuple[int, str]]


class Goodbye(NamedTuple):
    """The sender ends the link (or, end to end, the conversation) and says why; ``code`` is an error's name or "".

    ``retry``: seconds after which it, or another in its place, expects to be there again; None if it did not say.
    """

    code: str
    reason: str
    retry: Optional[int] = None


class Refused(NamedTuple):
    """The frame of that id was not accepted: to whom it went, an error's name and a sentence."""

    to: int
    code: str
    reason: str


class Resume(NamedTuple):
    """Opens or continues a conversation: my incarnation, yours as I know it, what I received, what I saw answered.

    ``asked`` is the last id that I gave; with it and ``received`` 0 the conversation is a new one. ``landed`` says how
    much of large tensors came: (1 if it answers my request else 0, id, step, bytes); of others, nothing did.
    """

    mine: bytes
    yours: bytes
    received: int
    seen: int
    can: Dict[str, Any]
    asked: int = 0
    landed: Sequence[Tuple[int, int, int, int]] = ()


class Credit(NamedTuple):
    """The lane's sender may have sent ``granted`` bytes in all since the last resume."""

    seen: int
    granted: int


class Cancel(NamedTuple):
    """Do not begin step ``step`` of the request of that id."""

    seen: int
    step: int


class Failure(NamedTuple):
    """What went wrong with step ``step`` of request ``id``; the cause is the step that failed first."""

    id: int
    step: int
    code: str
    kind: str
    message: str
    op: str
    cause_id: int
    cause_step: int


class Answers(NamedTuple):
    """All requests up to the frame's id are answered, and those in ``above``; these steps failed."""

    seen: int
    above: List[int]
    failures: List[Failure]


class Program(NamedTuple):
    """A list of steps (see ``program.py``); the body holds the raw tensors that its ``put`` steps name.

    ``chunked`` lists the steps whose tensor follows in chunks.
    """

    seen: int
    steps: List[List[Any]]
    chunked: List[int]


#: Small tensors as they leave: a step or several, descriptor, shape, offset in the body.
Value = Tuple[Union[int, Sequence[int]], str, Sequence[int], int]


class Values(NamedTuple):
    """Small tensors and documents that answer steps of the request of the frame's id.

    Each is (steps, descriptor, shape, offset of the first one's bytes in the body), for so many of one form, one
    behind the other; ``tensor.py`` checks descriptor and shape. A single step travels without its list.
    """

    seen: int
    values: List[Tuple[List[int], Any, Any, int]]


class ChunkOf(NamedTuple):
    """``body`` is a part of a large tensor: that of step ``step``, from byte ``offset`` on."""

    seen: int
    step: int
    descr: str
    shape: List[int]
    offset: int


class Parcel:
    """A frame ready to leave; its header is written at each send, so that a resend carries new numbers."""

    __slots__ = ("kind", "flags", "lane", "meta_len", "body_len", "pieces", "size", "charge")

    def __init__(
        self,
        kind: int,
        lane: int,
        meta: Any,
        body: Sequence[Buffer] = (),
        flags: int = 0,
        policy: Optional[Policy] = None,
    ) -> None:
        """Each buffer of the body starts at a multiple of 8 bytes; ``policy`` may compress the whole.

        Raises: LocalProtocolError if the frame is too large or holds what msgpack cannot say.
        """
        try:
            packed: bytes = _pack(meta)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise LocalProtocolError(f"cannot be sent: {error}") from None
        self.kind, self.flags, self.lane = kind, flags, lane
        self.meta_len = size = len(packed)
        self.pieces: List[Buffer] = [packed + _PAD[size & 7]]
        self.body_len = 0
        end = 0  # of the last buffer, padded: what the body's length leaves out
        for buffer in body:
            length = len(buffer)
            self.pieces.append(buffer)
            if length & 7:
                self.pieces.append(_PAD[length & 7])
            self.body_len = end + length
            end += length + 7 & ~7
        self.size = self.charge = size = HEADER_SIZE + (size + 7 & ~7) + end
        if size > MAX_FRAME:
            raise LocalProtocolError(f"a frame of {size} bytes is past the limit of {MAX_FRAME}")
        if policy is not None and end and policy.looks_at(self.body_len):
            self._compress(policy)

    def _compress(self, policy: Policy) -> None:
        meta, *rest = self.pieces
        body = memoryview(rest[0] if len(rest) == 1 else b"".join(rest))[: self.body_len]
        packed = policy.compress(body)
        if packed is not None:
            self.flags |= COMPRESSED
            self.pieces = [meta, packed, _PAD[len(packed) & 7]]
            self.body_len = len(packed)
            self.size = HEADER_SIZE + len(meta) + (len(packed) + 7 & ~7)

    def write(self, out: List[Buffer], to: int, number: int, sender: int = 0, flags: int = 0) -> int:
        """Append the frame's pieces to a message, for peer ``to``; its bytes. Only a relay names a sender."""
        flags |= self.flags
        out.append(HEADER.pack(self.kind, flags, self.lane, to, sender, self.meta_len, number, self.body_len))
        out.extend(self.pieces)
        return self.size


def expanded(frame: Frame) -> Frame:
    """A frame with its body as it was before compression, and the size that credit is charged for.

    Raises: RemoteProtocolError, before memory is spent, if the body is not what it should be.
    """
    body = memoryview(expand(frame.body, MAX_FRAME))
    size = frame.size - (len(frame.body) + 7 & ~7) + (len(body) + 7 & ~7)
    return frame._replace(flags=frame.flags & ~COMPRESSED, body=body, size=size)


def frames(message: memoryview) -> Iterator[Frame]:
    """The frames of one message, each checked for size. Raises: RemoteProtocolError."""
    at, end = 0, len(message)
    while at < end:
        if end - at < HEADER_SIZE:
            raise RemoteProtocolError(f"{end - at} bytes after the last frame are no header")
        kind, flags, lane, to, sender, meta_len, number, body_len = HEADER.unpack_from(message, at)
        meta_at = at + HEADER_SIZE
        body_at = meta_at + (meta_len + 7 & ~7)
        after = body_at + (body_len + 7 & ~7)
        if after > end:
            raise RemoteProtocolError(f"a frame says {after - at} bytes where {end - at} are left")
        if number > MAX_ID:
            raise RemoteProtocolError(f"id {number} is past 2^53-1")
        size = after - at
        if size > MAX_FRAME:
            raise RemoteProtocolError(f"a frame of {size} bytes is past the limit of {MAX_FRAME}")
        meta, body = message[meta_at : meta_at + meta_len], message[body_at : body_at + body_len]
        yield _new(Frame, (kind, flags, lane, to, sender, number, meta, body, size))
        at = after


def parse(frame: Frame) -> Any:
    """What a frame says: an instance of the class of its kind. Raises: RemoteProtocolError and nothing else."""
    decode = _DECODERS.get(frame.kind)
    if decode is None:
        raise RemoteProtocolError(f"unknown kind of frame: {frame.kind}")
    if frame.flags & ~_FLAGS.get(frame.kind, 0):
        raise RemoteProtocolError(f"unknown flags 0x{frame.flags:02x} on a frame of kind {frame.kind}")
    try:
        meta = msgpack.unpackb(frame.meta, strict_map_key=True, max_array_len=MAX_LIST)
    # msgpack lets these out of hostile bytes; lengths that lie are refused before memory is spent, and so is depth.
    except (ValueError, RecursionError, MemoryError, TypeError) as error:
        raise RemoteProtocolError(f"a meta of kind {frame.kind} is no msgpack: {in_short(error)}") from None
    if type(meta) is not list:
        raise RemoteProtocolError("a meta is a list")
    try:
        return decode(meta)
    except (ValueError, TypeError, IndexError, RecursionError) as error:
        raise RemoteProtocolError(f"a meta of kind {frame.kind} is malformed: {in_short(error)}") from None


def document(body: memoryview) -> Any:
    """The document that a value of descriptor ``DOCUMENT`` holds. Raises: RemoteProtocolError."""
    try:
        return msgpack.unpackb(body, strict_map_key=True, max_array_len=MAX_LIST)
    except (ValueError, RecursionError, MemoryError, TypeError) as error:
        raise RemoteProtocolError(f"a document is no msgpack: {in_short(error)}") from None


def blamed(error: RemoteProtocolError, kind: int, number: int) -> RemoteProtocolError:
    """The same, saying which frame it was: for who sent it, and for the log."""
    return RemoteProtocolError(f"frame of kind {kind}, id {number}: {error}")


def _shown(value: Any) -> str:
    """A value that is not what it should be, without what it holds unless that is a number."""
    size = f" of {len(value)}" if isinstance(value, (bytes, str, list, dict)) else ""
    return f"{value!r:.40}" if value is None or isinstance(value, (int, float)) else f"{type(value).__name__}{size}"


# Decoders. Each takes the fields that it knows and ignores what a later version may append.


def _int(value: Any, most: int = MAX_ID) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError(f"not a number from 0 to {most}: {_shown(value)}")
    return value


def _text(value: Any, most: int = 4096) -> str:
    if type(value) is not str or len(value) > most:
        raise ValueError(f"not a text of at most {most} characters: {_shown(value)}")
    return value


def _list(value: Any) -> List[Any]:
    if type(value) is not list:
        raise ValueError(f"not a list: {_shown(value)}")
    return value


def _map(value: Any) -> Dict[str, Any]:
    if type(value) is not dict:
        raise ValueError(f"not a map: {_shown(value)}")
    return value


def _incarnation(value: Any) -> bytes:
    if type(value) is not bytes or len(value) != INCARNATION_SIZE:
        raise ValueError(f"not an incarnation of {INCARNATION_SIZE} bytes: {_shown(value)}")
    return value


def _key(value: Any) -> bytes:
    if type(value) is not bytes or len(value) not in (0, KEY_SIZE):
        raise ValueError(f"not a key of {KEY_SIZE} bytes, nor an empty one: {_shown(value)}")
    return value


def _peer(value: Any) -> PeerInfo:
    number, name, role, incarnation, *more = _list(value)
    key = _key(more[0]) if more else b""
    if not _text(name, 256).isprintable():  # it is written into logs
        raise ValueError(f"not a name: {_shown(name)}")
    return PeerInfo(_int(number, 0xFFFFFFFF), name, _text(role, 32), _incarnation(incarnation), key)


def _hello(m: List[Any]) -> Hello:
    token = None if m[4] is None else _text(m[4], 8192)
    key, proof = [_key(value) for value in (*m[6:8], b"", b"")[:2]]
    return Hello(_int(m[0]), _text(m[1], 256), _text(m[2], 32), _incarnation(m[3]), token, _map(m[5]), key, proof)


def _welcome(m: List[Any]) -> Welcome:
    return Welcome(
        _int(m[0]), _int(m[1], 0xFFFFFFFF), _incarnation(m[2]), _peer(m[3]), [_peer(p) for p in _list(m[4])], _map(m[5])
    )


def _peers(m: List[Any]) -> Peers:
    left = [_list(entry) for entry in _list(m[1])]
    return Peers([_peer(p) for p in _list(m[0])], [(_int(e[0], 0xFFFFFFFF), _text(e[1])) for e in left])


def _resume(m: List[Any]) -> Resume:
    asked = _int(m[5]) if len(m) > 5 else 0
    entries = [_list(entry) for entry in _list(m[6])] if len(m) > 6 else []
    landed = [(_int(e[0], 1), _int(e[1]), _int(e[2]), _int(e[3])) for e in entries]
    return Resume(_incarnation(m[0]), _incarnation(m[1]), _int(m[2]), _int(m[3]), _map(m[4]), asked, landed)


def _failure(m: List[Any]) -> Failure:
    number, step, code, kind, message, op, cause_id, cause_step = _list(m)[:8]
    return Failure(
        _int(number), _int(step), _text(code, 64), _text(kind, 256), _text(message), _text(op, 256), _int(cause_id),
        _int(cause_step),
    )  # fmt: skip


def _program(m: List[Any]) -> Program:
    seen, steps, chunked = m[0], m[1], m[2]
    if type(seen) is not int or not 0 <= seen <= MAX_ID or type(steps) is not list or type(chunked) is not list:
        raise ValueError("a program is a number, a list of steps and a list of those whose tensor follows")
    made: Program = _new(Program, (seen, steps, [_int(i) for i in chunked] if chunked else chunked))
    return made


def _values(m: List[Any]) -> Values:
    seen, values = m[0], m[1]
    if type(seen) is not int or not 0 <= seen <= MAX_ID or type(values) is not list:
        raise ValueError("values are a number and a list")
    count = 0
    for value in values:
        steps, _, _, offset = _list(value)
        if type(steps) is int:
            value[0] = steps = [steps]
        elif type(steps) is not list or set(map(type, steps)) != _NUMBERS:
            raise ValueError("a value is of a step, or of a list of them")
        if type(offset) is not int or offset < 0:
            raise ValueError("a value is a step, a descriptor, a shape and an offset")
        count += len(steps)
    if count > MAX_LIST:
        raise ValueError(f"more than {MAX_LIST} values")
    made: Values = _new(Values, (seen, values))
    return made


_NUMBERS = {int}
_DECODERS: Dict[int, Callable[[List[Any]], Any]] = {
    HELLO: _hello,
    WELCOME: _welcome,
    PEERS: _peers,
    GOODBYE: lambda m: Goodbye(_text(m[0], 64), _text(m[1]), _int(m[2]) if len(m) > 2 else None),
    CHALLENGE: lambda m: Challenge(_int(m[0]), _key(m[1])),
    SEEK: lambda m: Seek([_incarnation(life) for life in _list(m[0])]),
    PING: lambda m: None,
    PONG: lambda m: None,
    REFUSED: lambda m: Refused(_int(m[0], 0xFFFFFFFF), _text(m[1], 64), _text(m[2])),
    RESUME: _resume,
    CREDIT: lambda m: Credit(_int(m[0]), _int(m[1])),
    CANCEL: lambda m: Cancel(_int(m[0]), _int(m[1])),
    ANSWERS: lambda m: Answers(_int(m[0]), [_int(i) for i in _list(m[1])], [_failure(f) for f in _list(m[2])]),
    PROGRAM: _program,
    VALUES: _values,
    CHUNK_OF: lambda m: ChunkOf(_int(m[0]), _int(m[1]), _text(m[2], 8), _list(m[3]), _int(m[4])),
}
