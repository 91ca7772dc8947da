"""The rules of one conversation, two ends driven with bytes alone: order, credit, answers, and roads that are lost."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, Callable, Dict, List, Set, Tuple
from unittest import mock

import msgpack
import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from asyncsyft import protocol, wire
from asyncsyft.errors import LocalProtocolError, RemoteProtocolError, WorkerLost
from asyncsyft.protocol import WINDOW, Conversation, Served
from asyncsyft.protocol.lane import CHUNK_HEAD, CHUNKS_AHEAD, FAST, LARGE_CHUNK
from asyncsyft.protocol.sending import TOLD_TOGETHER
from asyncsyft.wire import Failure
from tests.ends import MINE, THEIRS, Asked, Kept, Pair, counters, deliver, frame, pull

GET = [["get", 0, [1]]]


def small(pair: Pair, served: Served, step: int, value: Any) -> None:
    """Answer a step with a small array."""
    array = np.asarray(value)
    pair.far.values(served, [(step, array.dtype.str, array.shape, 0)], [array.tobytes()])


def failure(number: int, step: int, message: str = "no") -> Failure:
    return Failure(number, step, "OpFailed", "ValueError", message, "add", number, step)


def consume_all(pair: Pair) -> None:
    """The far server has run all that came."""
    for served, _, _, size, generation in pair.server.programs:
        pair.far.consumed(served.lane, size, generation)


# Requests and answers.


def test_ids_count_from_1_and_programs_arrive_as_they_were_asked() -> None:
    pair = Pair()
    asked = [pair.ask(Asked(), [["add", i, [1, 2]]], (bytes([i]),), lane=i % 3) for i in range(6)]
    assert [request.id for request in asked] == [1, 2, 3, 4, 5, 6]
    assert [(s.id, s.lane, steps[0][1], body) for s, steps, body, *_ in pair.server.programs] == [
        (i + 1, i % 3, i, bytes([i])) for i in range(6)
    ]


def test_an_id_is_given_when_a_request_leaves() -> None:
    pair = Pair()
    one, two = Asked(), Asked()
    pair.near.ask(one, GET, (), 1)
    pair.near.ask(two, GET, (), 0)
    assert (one.id, two.id, one.happened) == (0, 0, [])
    pair.pump()
    assert sorted((one.id, two.id)) == [1, 2]
    assert one.happened == two.happened == ["sent"]


def test_values_come_before_a_request_counts_as_answered() -> None:
    pair = Pair()
    request = pair.ask(Asked(0, 1), GET)
    (served, *_) = pair.server.programs[0]
    small(pair, served, 0, np.arange(3.0))
    pair.far.value(served, 1, np.arange(100_000.0))
    pair.far.done(served)
    assert request.happened == ["sent"]
    pair.pump()
    assert request.happened == ["sent", "value", "value", "settled"]
    np.testing.assert_array_equal(request.values[0][1], np.arange(3.0))
    np.testing.assert_array_equal(request.values[1][1], np.arange(100_000.0))


def test_a_document_is_a_value() -> None:
    pair = Pair()
    request = pair.ask(Asked(0), GET)
    data = msgpack.packb({"shape": [1]})
    pair.far.values(pair.server.programs[0][0], [(0, wire.DOCUMENT, (len(data),), 0)], [data])
    pair.pump()
    assert request.values == [(0, {"shape": [1]})]


def test_the_last_values_say_so_themselves() -> None:
    pair = Pair()
    request = pair.ask(Asked(0), GET)
    (served, *_) = pair.server.programs[0]
    small(pair, served, 0, 1.0)
    pair.far.done(served)
    message = pull(pair.far)
    (only,) = wire.frames(memoryview(message))
    assert (only.kind, only.flags) == (wire.VALUES, wire.LAST)
    deliver(pair.near, message)
    assert request.happened == ["sent", "value", "settled"]
    assert pair.near.seen == pair.far.floor == 1


def test_answers_are_cumulative_and_come_in_any_order() -> None:
    pair = Pair()
    asked = [pair.ask(Asked(), GET) for _ in range(6)]
    served = [program[0] for program in pair.server.programs]
    for index, settled, seen in (
        (1, {2}, 0),
        (3, {2, 4}, 0),
        (0, {1, 2, 4}, 2),
        (5, {1, 2, 4, 6}, 2),
        (2, {1, 2, 3, 4, 6}, 4),
    ):
        pair.far.done(served[index])
        pair.pump()
        assert {r.id for r in asked if "settled" in r.happened} == settled
        assert (pair.near.seen, pair.far.floor) == (seen, seen)
    pair.far.done(served[4])
    pair.pump()
    assert all(request.happened == ["sent", "settled"] for request in asked)
    assert pair.near.unanswered == {}


@pytest.mark.parametrize("then", ["another", "one that somebody waits for", "a new road", "out of order"])
def test_answers_for_which_nobody_waits_are_told_together(then: str) -> None:
    pair = Pair()
    asked = [pair.ask(Asked(), GET) for _ in range(TOLD_TOGETHER + 1)]
    served = [program[0] for program in pair.server.programs]
    first, last = served[: TOLD_TOGETHER - 1], served[TOLD_TOGETHER - 1]
    for each in first[::-1] if then == "out of order" else first:
        pair.far.done(each, patient=True)
        pair.pump()
    assert (pair.near.seen, pair.far.owes) == (0, False)
    if then == "a new road":
        pair.join()
        pair.pump()
        settled = TOLD_TOGETHER - 1
    else:
        pair.far.done(last, patient=then != "one that somebody waits for")
        pair.pump()
        settled = TOLD_TOGETHER
    assert [request.happened[-1] for request in asked[:settled]] == ["settled"] * settled
    assert pair.near.seen == settled
    assert set(pair.near.unanswered) == set(range(settled + 1, TOLD_TOGETHER + 2))
    pair.far.done(served[TOLD_TOGETHER], patient=True)  # they are counted from then on
    pair.pump()
    assert pair.near.seen == settled


def test_a_failure_is_told_at_once_and_before_its_request_is_answered() -> None:
    pair = Pair()
    request = pair.ask(Asked(1), GET)
    (served, *_) = pair.server.programs[0]
    pair.far.fail(served, failure(1, 1))
    pair.pump()
    assert request.happened == ["sent", "failed"]
    assert request.failed_with == [failure(1, 1)]
    pair.far.fail(served, failure(1, 3))
    pair.far.done(served)
    pair.pump()
    assert request.happened == ["sent", "failed", "failed", "settled"]


def test_many_failures_fit_frames_and_messages_of_their_size() -> None:
    pair = Pair()
    request = pair.ask(Asked(), GET)
    (served, *_) = pair.server.programs[0]
    for step in range(2000):
        pair.far.fail(
            served, failure(1, step, "\U0001f600" * 1000)._replace(op="\U0001f600" * 64, kind="\U0001f600" * 64)
        )
    pair.far.done(served)
    sizes = []
    while message := pull(pair.far):
        sizes += [found.size for found in wire.frames(memoryview(message))]
        deliver(pair.near, message)
        assert ("settled" in request.happened) == (len(request.failed_with) == 2000)
    assert max(sizes) <= wire.MAX_EXEMPT
    assert request.happened[-1] == "settled"
    assert len(request.failed_with) == 2000


def test_many_answers_out_of_order_fit_too() -> None:
    pair = Pair()
    asked = [Asked() for _ in range(9000)]
    for request in asked:
        pair.near.ask(request, [], ())
    pair.pump()
    for served, *_ in pair.server.programs[:0:-1]:
        pair.far.done(served)
    consume_all(pair)
    pair.pump()
    for served, *_ in pair.server.programs[len(pair.server.programs) - 1 : 0 : -1]:
        pair.far.done(served)
    pair.far.done(pair.server.programs[0][0])
    pair.pump()
    assert len(pair.server.programs) == 9000
    assert all(request.happened == ["sent", "settled"] for request in asked)


def test_what_was_seen_is_forgotten() -> None:
    pair = Pair()
    pinned = np.arange(100_000.0)
    for turn in range(5):
        request = pair.ask(Asked(0), GET)
        served = pair.server.programs[turn][0]
        pair.far.value(served, 0, pinned)
        pair.far.done(served)
        pair.pump()
        assert "settled" in request.happened
        assert list(pair.far.served) == [turn + 1]  # its answer was seen, but nobody said so yet
    pair.ask(Asked(), GET)
    assert list(pair.far.served) == [6]
    assert pair.far.forgotten == 5


def test_cancel_names_request_and_step() -> None:
    pair = Pair()
    request = pair.ask(Asked(0), GET)
    for _ in range(3):
        pair.near.cancel(request, 0)
    pair.pump()
    assert pair.server.cancels == [(1, 0)] * 3
    pair.far.done(pair.server.programs[0][0])
    pair.pump()
    pair.near.cancel(request, 0)  # too late, and harmless
    pair.pump()
    assert len(pair.server.cancels) == 3


def test_a_cancel_follows_a_request_that_waits_to_leave() -> None:
    pair = Pair()
    request = Asked(0)
    pair.near.ask(request, GET, ())
    pair.near.cancel(request, 0)
    pair.pump()
    assert pair.server.cancels == [(1, 0)]


def test_many_cancels_fit_messages() -> None:
    pair = Pair()
    request = pair.ask(Asked(), GET)
    for step in range(30_000):
        pair.near.cancel(request, step)
    pair.pump()  # pull() checks the size of each message
    assert [step for _, step in pair.server.cancels] == list(range(30_000))


def test_who_waits_is_told_why_it_ended() -> None:
    pair = Pair()
    sent, queued = pair.ask(Asked(0), GET), Asked(0)
    pair.near.ask(queued, GET, ())
    why = WorkerLost("gone")
    pair.near.end(why)
    pair.near.end(WorkerLost("again"))
    assert sent.errors == queued.errors == [why]
    assert pull(pair.near) == b""
    with pytest.raises(WorkerLost, match="gone"):
        pair.near.ask(Asked(), GET, ())
    pair.near.cancel(sent, 0)


def test_a_request_that_fits_no_frame_is_not_asked() -> None:
    pair = Pair()
    pair.pump()
    with pytest.raises(LocalProtocolError):
        pair.near.ask(Asked(), GET, [bytes(wire.MAX_FRAME)])
    assert pull(pair.near) == b""
    assert pair.ask(Asked(), GET).id == 1


def test_a_lane_refills_itself_when_it_is_idle() -> None:
    pair = Pair()
    recorded = [Asked() for _ in range(5)]
    waiting = list(recorded)
    pair.near.lane(2).refill = lambda: waiting and pair.near.ask(waiting.pop(0), GET, (), 2)
    pair.pump()
    assert [served.lane for served, *_ in pair.server.programs] == [2] * 5
    assert [request.id for request in recorded] == [1, 2, 3, 4, 5]


# Credit.


def test_no_more_leaves_than_is_granted() -> None:
    pair = Pair()
    for _ in range(100):
        pair.near.ask(Asked(), GET, [bytes(100_000)])
    pair.pump()
    lane = pair.near.lane(0)
    arrived = len(pair.server.programs)
    assert WINDOW - 110_000 < lane.sent <= WINDOW
    assert arrived == WINDOW // 100_000
    consume_all(pair)
    pair.pump()
    assert len(pair.server.programs) > arrived
    for _ in range(100):
        pair.server.programs, taken = [], pair.server.programs
        for served, _, _, size, generation in taken:
            pair.far.consumed(served.lane, size, generation)
        pair.pump()
    assert lane.queue == type(lane.queue)()
    assert lane.room >= WINDOW // 2


def test_the_largest_frame_gets_through_whatever_was_sent_before() -> None:
    pair = Pair()
    for size in (10, wire.MAX_FRAME - 64, 300_000, wire.MAX_FRAME - 64, 1, wire.MAX_FRAME - 64):
        pair.near.ask(Asked(), [], [bytes(size)])
        pair.pump()
        consume_all(pair)
        pair.server.programs.clear()
        pair.pump()
    assert pair.near.last_id == 6
    assert not pair.near.lane(0).queue


def test_a_lane_without_credit_holds_up_no_other() -> None:
    pair = Pair()
    for _ in range(30):
        pair.near.ask(Asked(), GET, [bytes(100_000)], 1)
    pair.ask(Asked(), GET, (), 2)
    assert pair.server.programs[-1][0].lane == 2 or 2 in {served.lane for served, *_ in pair.server.programs}
    before = len(pair.server.programs)
    pair.ask(Asked(), GET, (), 3)
    assert [served.lane for served, *_ in pair.server.programs[before:]] == [3]


def test_answers_need_credit_and_landing_them_gives_it_back() -> None:
    pair = Pair()
    request = pair.ask(Asked(*range(40)), GET)
    (served, *_) = pair.server.programs[0]
    arrays = [np.full(100_000, float(step)) for step in range(40)]
    for step, array in enumerate(arrays):
        pair.far.value(served, step, array)
    pair.far.done(served)
    pair.pump()
    assert sorted(step for step, _ in request.values) == list(range(40))
    for step, value in request.values:
        np.testing.assert_array_equal(value, arrays[step])
    assert pair.near.lane(0).received > 30 * WINDOW
    assert pair.far.lane(0).room >= WINDOW // 2


def test_large_tensors_travel_in_chunks_between_small_requests() -> None:
    pair = Pair()
    array = np.arange(1 << 18, dtype="<f8")  # 8 chunks
    upload = Asked()
    upload.chunks = [(0, array), (1, array[: 1 << 16])]
    pair.near.ask(upload, [["put", 1, []], ["put", 2, []]], ())
    for _ in range(20):
        pair.near.ask(Asked(), GET, ())
    order: List[str] = []
    for _ in range(100):
        message = pull(pair.near)
        if not message:
            break
        for found in wire.frames(memoryview(message)):
            order.append("chunk" if found.kind == wire.CHUNK_OF else "program")
        deliver(pair.far, message)
        deliver(pair.near, pull(pair.far))
    assert order[0] == "program"
    assert order.count("chunk") == 10
    at = [index for index, kind in enumerate(order) if kind == "chunk"]
    assert all(b - a == 2 for a, b in zip(at, at[1:])), order  # in turns
    for step, sent in ((0, array), (1, array[: 1 << 16])):
        pieces = [(offset, body) for number, s, offset, body in pair.server.chunks if (number, s) == (1, step)]
        assert [offset for offset, _ in pieces] == [i * wire.CHUNK for i in range(len(pieces))]
        assert b"".join(body for _, body in pieces) == sent.tobytes()


@pytest.mark.parametrize(
    ("relayed", "speed", "size"),
    [(False, 2 * FAST, LARGE_CHUNK), (True, 2 * FAST, wire.CHUNK), (False, FAST / 2, wire.CHUNK)],
    ids=["fast", "relayed", "slow"],
)
def test_chunks_and_the_credit_for_them_grow_on_fast_roads(relayed: bool, speed: float, size: int) -> None:
    pair = Pair()
    for number, end in enumerate((pair.near, pair.far), 1):
        end.begin(number if relayed else 0)
        end.policy.bandwidth = speed
    array = np.arange(1 << 20, dtype="<f8")
    upload = Asked()
    upload.chunks = [(0, array)]
    pair.near.ask(upload, [["put", 1, []]], ())
    there, back, ahead = pair.near.lane(0), pair.far.lane(0), 0
    for _ in range(100):
        for _ in range(50):
            deliver(pair.far, pull(pair.near))
            ahead = max(ahead, back.allowed - back.consumed)
        deliver(pair.near, pull(pair.far))
    pieces = [body for *_, body in pair.server.chunks]
    assert b"".join(pieces) == array.tobytes()
    assert {len(piece) for piece in pieces[:-1]} == {size}
    most = WINDOW if relayed else CHUNKS_AHEAD * (size + 2 * CHUNK_HEAD)
    assert there.sent == back.received
    assert most * 15 / 16 <= ahead <= most


def test_a_call_beside_a_large_upload_waits_for_one_chunk_at_most() -> None:
    pair = Pair()
    upload = Asked()
    upload.chunks = [(0, np.zeros(1 << 21))]
    pair.near.ask(upload, [["put", 1, []]], ())
    while not pair.server.chunks:
        deliver(pair.far, pull(pair.near))
        deliver(pair.near, pull(pair.far))
    for _ in range(8):
        pair.near.ask(Asked(), GET, ())
        kinds: List[int] = []
        while wire.PROGRAM not in kinds:
            message = pull(pair.near)
            kinds += [found.kind for found in wire.frames(memoryview(message))]
            deliver(pair.far, message)
            deliver(pair.near, pull(pair.far))
        assert kinds.index(wire.PROGRAM) <= 1, kinds
    assert upload.happened == ["sent"]
    assert pair.near.lane(0).bulk


def test_the_link_is_woken_once_until_it_asks_and_anew_on_a_new_road() -> None:
    pair = Pair()
    pair.pump()
    woken: List[int] = []
    pair.near.wake = lambda: woken.append(1)
    for turn in range(1, 4):
        for _ in range(3):
            pair.near.ask(Asked(), GET, ())
        assert len(woken) == turn
        pull(pair.near)
    pair.near.ask(Asked(), GET, ())
    pair.near.begin(7)  # the link that was woken is gone
    assert len(woken) == 5


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_what_is_asked_while_a_large_tensor_leaves_is_sent_whatever_the_lane(order: Tuple[int, int]) -> None:
    pair, late = Pair(), Asked()
    pair.pump()
    of_upload, of_late = order
    for number in (0, 1):
        pair.near.lane(number)

    class Upload(Asked):
        def progress(self, step: int, done: int, total: int) -> None:
            if late.parcel is None:
                pair.near.ask(late, GET, (), of_late)

    upload = Upload()
    upload.chunks = [(0, np.zeros(10))]
    pair.near.ask(upload, [["put", 1, []]], (), of_upload)
    out: List[wire.Buffer] = []
    while pair.near.take(out, WINDOW) >= WINDOW:
        pass  # as a link does, which asks again only where it is told to
    assert late.happened == ["sent"]


def test_the_rest_of_an_upload_that_was_refused_is_not_sent() -> None:
    pair = Pair()
    upload, array = Asked(), np.zeros(1 << 20)  # 32 chunks
    upload.chunks = [(0, array)]
    pair.near.ask(upload, [["put", 1, []]], ())
    deliver(pair.far, pull(pair.near))
    pair.far.fail(pair.server.programs[0][0], failure(1, 0))
    pair.far.done(pair.server.programs[0][0])
    pair.pump()
    assert upload.happened == ["sent", "failed", "settled"]
    assert len(pair.server.chunks) < 8
    assert not pair.near.lane(0).bulk
    assert pair.ask(Asked(), GET).id == 2


# Hostile ends.

RESUME = frame(wire.RESUME, (MINE, THEIRS, 0, 0, {}))


def program(number: int, *, size: int = 0, seen: int = 0, lane: int = 0, chunked: Tuple[int, ...] = ()) -> bytes:
    return frame(wire.PROGRAM, (seen, GET, chunked), bytes(size), number=number, lane=lane)


def values(number: int, entries: List[Any], body: bytes = b"", *, flags: int = 0, seen: int = 0) -> bytes:
    return frame(wire.VALUES, (seen, entries), body, number=number, flags=flags)


def chunk(
    number: int, step: int, offset: int, size: int, *, of: str = "answer", descr: str = "<f8", shape: Any = (8,)
) -> bytes:
    flags = wire.OF_ANSWER if of == "answer" else 0
    return frame(wire.CHUNK_OF, (0, step, descr, shape, offset), bytes(size), number=number, flags=flags)


def answers(floor: int, above: Any = (), failures: Any = (), *, seen: int = 0) -> bytes:
    return frame(wire.ANSWERS, (seen, above, failures), number=floor)


SERVING: Dict[str, List[bytes]] = {
    "before a resume": [program(1)],
    "an answer before a resume": [answers(0)],
    "two resumes": [RESUME, RESUME],
    "of another life": [frame(wire.RESUME, (THEIRS, THEIRS, 0, 0, {}))],
    "to another life": [frame(wire.RESUME, (MINE, MINE, 0, 0, {}))],
    "received what was never sent": [frame(wire.RESUME, (MINE, THEIRS, 1, 0, {}))],
    "seen in the resume": [frame(wire.RESUME, (MINE, THEIRS, 0, 1, {}))],
    "id 0": [RESUME, program(0)],
    "a chunk of id 0": [RESUME, chunk(0, 0, 0, 8, of="request")],
    "a gap": [RESUME, program(2)],
    "ids out of order": [RESUME, program(1), program(3)],
    "the largest id": [RESUME, program(wire.MAX_ID)],
    "seen beyond what was answered": [RESUME, program(1), program(2, seen=1)],
    "seen in credit": [RESUME, frame(wire.CREDIT, (1, 1 << 20))],
    "seen in cancel": [RESUME, frame(wire.CANCEL, (1, 0), number=1)],
    "seen in answers": [RESUME, answers(0, seen=1)],
    "a chunk of nothing": [RESUME, chunk(1, 0, 0, 8, of="request")],
    "a chunk of a later request": [RESUME, program(1), chunk(2, 0, 0, 8, of="request")],
    "an answer to nothing": [RESUME, answers(1)],
    "an answer above to nothing": [RESUME, answers(0, [1])],
    "a failure of nothing": [RESUME, answers(0, [], [failure(1, 0)])],
    "values for nothing": [RESUME, values(1, [])],
    "the last values for nothing": [RESUME, values(1, [], flags=wire.LAST)],
    "values for 0": [RESUME, values(0, [])],
    "a chunk of an answer to nothing": [RESUME, chunk(1, 0, 0, 8)],
    "more than the credit": [RESUME, *(program(i + 1, size=wire.MAX_FRAME - 64) for i in range(3))],
    "too many lanes": [RESUME, *(frame(wire.CREDIT, (0, 1), lane=lane) for lane in range(protocol.MAX_LANES + 1))],
    "a large frame that no credit pays for": [RESUME, frame(wire.ANSWERS, (0, [], [], bytes(wire.MAX_EXEMPT)))],
    "a kind of links": [RESUME, frame(wire.PING, ())],
    "a hello": [RESUME, frame(wire.HELLO, (1, "x", "driver", MINE, None, {}))],
    "an unknown kind": [RESUME, frame(99, ())],
    "an unknown flag": [RESUME, frame(wire.PROGRAM, (0, [], []), number=1, flags=0x40)],
    "compressed, which nobody offered": [RESUME, frame(wire.PROGRAM, (0, [], []), number=1, flags=wire.COMPRESSED)],
}


@pytest.mark.parametrize("name", SERVING)
def test_hostile_askers(name: str) -> None:
    far = Conversation(THEIRS, MINE, Kept(), {})
    far.begin(1)
    *before, last = SERVING[name]
    for message in before:
        deliver(far, message)
    with pytest.raises(RemoteProtocolError):
        deliver(far, last)


ASKED = 3  # requests; the first wants a value of step 0

ANSWERING: Dict[str, bytes] = {
    "beyond the last id": answers(ASKED + 1),
    "above the last id": answers(0, [ASKED + 1]),
    "above 0": answers(0, [0]),
    "a failure of a request never made": answers(0, [], [failure(ASKED + 1, 0)]),
    "a value behind the body": values(1, [(0, "<f8", [2], 8)], bytes(16)),
    "a value past the body": values(1, [(0, "<f8", [1], 1 << 50)], bytes(16)),
    "an offset in between": values(1, [(0, "<f8", [1], 4)], bytes(16)),
    "an unknown dtype": values(1, [(0, "|O", [1], 0)], bytes(16)),
    "no shape": values(1, [(0, "<f8", 1, 0)], bytes(16)),
    "a shape of floats": values(1, [(0, "<f8", [1.0], 0)], bytes(16)),
    "a huge shape": values(1, [(0, "<f8", [1 << 40, 1 << 40], 0)], bytes(16)),
    "no step": values(1, [([], "<f8", [1], 0)], bytes(16)),
    "a step that is a float": values(1, [([0, 0.5], "<f8", [1], 0)], bytes(16)),
    "steps of which one is a list": values(1, [([0, [0]], "<f8", [1], 0)], bytes(16)),
    "more values than a frame has": values(1, [([0] * 4096, "<f8", [0], 0), (0, "<f8", [0], 0)]),
    "values that lie past 2^63": values(1, [([0, 0], "<f8", [1], (1 << 63) - 8)], bytes(16)),
    "empty documents": values(1, [([0, 0], wire.DOCUMENT, [0], 0)]),
    "documents past the body": values(1, [([0, 0], wire.DOCUMENT, [1], 0)], b"\x01" * 8),
    "no document": values(1, [(0, wire.DOCUMENT, [2], 0)], b"\xc1\xc1"),
    "a chunk that begins late": chunk(1, 0, 8, 8),
    "a chunk past the end": chunk(1, 0, 0, 72),
    "an empty chunk": chunk(1, 0, 0, 0),
    "a chunk of an unknown dtype": chunk(1, 0, 0, 8, descr=">f8"),
    "a chunk without a shape": chunk(1, 0, 0, 8, shape=None),
    "a chunk of an empty tensor": chunk(1, 0, 0, 8, shape=(0, 8)),
}


def asker() -> Tuple[Conversation, List[Asked]]:
    """An end that has asked, and was greeted."""
    near = Conversation(MINE, THEIRS, Kept(), {})
    near.begin(2)
    asked = [Asked(0), Asked(), Asked()]
    for request in asked:
        near.ask(request, GET, ())
    pull(near)
    deliver(near, frame(wire.RESUME, (THEIRS, MINE, 0, 0, {})))
    return near, asked


@pytest.mark.parametrize("name", ANSWERING)
def test_hostile_servers(name: str) -> None:
    near, asked = asker()
    with pytest.raises(RemoteProtocolError):
        deliver(near, ANSWERING[name])
    assert asked[0].values == []


@pytest.mark.parametrize(
    "message",
    [
        values(2, [(0, "<f8", [1], 0)], bytes(8)),
        values(1, [(5, "<f8", [1], 0)], bytes(8)),
        values(1, [(-1, "|O", None, 0)], bytes(8)),
        chunk(2, 0, 0, 64),
        chunk(1, 7, 0, 64),
    ],
    ids=range(5),
)
def test_values_that_nobody_asked_for_change_nothing(message: bytes) -> None:
    near, asked = asker()
    deliver(near, message)
    assert all(request.values == [] and not request.landings for request in asked)


FORMS = [("<f4", [5]), ("<f8", []), ("|u1", [3]), ("|b1", [2]), ("<i8", [0, 2]), (wire.DOCUMENT, [4])]


def encoded(step: int, descr: str, shape: List[int]) -> Tuple[Any, bytes]:
    """A value of that form, and its bytes."""
    if descr == wire.DOCUMENT:
        return [step, "x"], msgpack.packb([step, "x"])
    array = np.arange(step, step + int(np.prod(shape))).astype(descr).reshape(shape)
    return array, array.tobytes()


@given(st.lists(st.tuples(st.sampled_from(FORMS), st.integers(1, 4), st.sampled_from([0, 8])), max_size=9), st.data())
def test_values_of_any_forms_and_gaps_come_each_to_its_step(forms: List[Any], data: st.DataObject) -> None:
    near, (asked, *_) = asker()
    entries: List[Any] = []
    body = b""
    expected: Dict[int, Any] = {}
    for (descr, shape), count, gap in forms:
        body += bytes(gap)
        steps = range(len(expected), len(expected) + count)
        entries.append((steps[0] if count == 1 else list(steps), descr, shape, len(body)))
        for step in steps:
            expected[step], piece = encoded(step, descr, shape)
            body += piece + bytes(-len(piece) % 8)
    wanted = data.draw(st.sets(st.sampled_from(range(len(expected))))) if expected else set()
    asked.wanted = set(wanted)
    deliver(near, values(1, data.draw(st.permutations(entries)), body))
    assert {step for step, _ in asked.values} == wanted
    for step, value in asked.values:
        if isinstance(expected[step], list):
            assert value == expected[step]
        else:
            assert (value.dtype, value.shape) == (expected[step].dtype, expected[step].shape)
            assert value.flags.writeable
            np.testing.assert_array_equal(value, expected[step])


def test_the_last_of_many_values_may_not_end_past_the_body() -> None:
    near, (asked, *_) = asker()
    asked.wanted = {0, 1, 2}
    with pytest.raises(RemoteProtocolError, match="in a body of 20"):
        deliver(near, values(1, [([0, 1, 2], "<f8", [1], 0)], bytes(20)))
    assert asked.values == []


def test_a_failure_counts_once() -> None:
    near, asked = asker()
    for _ in range(3):
        deliver(near, answers(0, [], [failure(1, 0), failure(1, 0)]))
    assert len(asked[0].failed_with) == 1


def test_a_tensor_for_which_there_is_no_memory_fails_its_step_alone() -> None:
    near, asked = asker()
    deliver(near, chunk(1, 0, 0, 8, shape=(1 << 40, 8)))
    deliver(near, chunk(1, 0, 8, 8, shape=(1 << 40, 8)))
    ((code,),) = [{found.code for found in asked[0].failed_with}]
    assert code == "LimitExceeded"
    deliver(near, answers(1))
    assert asked[0].happened == ["sent", "failed", "settled"]


def test_the_credit_of_each_lane_is_its_own() -> None:
    far = Conversation(THEIRS, MINE, Kept(), {})
    far.begin(1)
    deliver(far, RESUME)
    deliver(far, program(1, size=wire.MAX_FRAME - 64, lane=1))
    deliver(far, program(2, size=wire.MAX_FRAME - 64, lane=1))
    deliver(far, program(3, size=wire.MAX_FRAME - 64, lane=2))
    with pytest.raises(RemoteProtocolError, match="granted"):
        deliver(far, program(4, size=1024, lane=1))


def test_a_program_that_comes_twice_runs_once_and_costs_credit() -> None:
    server = Kept()
    far = Conversation(THEIRS, MINE, server, {})
    far.begin(1)
    deliver(far, RESUME)
    for _ in range(5):
        deliver(far, program(1))
    assert [served.id for served, *_ in server.programs] == [1]
    assert far.lane(0).received == 5 * len(program(1))


# Compression.

CODECS = {"codecs": [wire.ZSTD]}


def packed(body: bytes) -> bytes:
    """A program whose body is said to be compressed."""
    return frame(wire.PROGRAM, (0, GET, []), body, number=1, flags=wire.COMPRESSED)


def test_what_is_compressed_is_charged_as_it_was_and_resent_as_it_is() -> None:
    pair = Pair(can=CODECS, compression="always")
    pair.pump()
    body = bytes(100_000)
    for _ in range(3):
        pair.near.ask(Asked(), GET, [body])
    message = pull(pair.near, 1 << 20)  # lost
    assert len(message) < 10_000
    pair.join()
    pair.pump()
    assert [sent for _, _, sent, *_ in pair.server.programs] == [body] * 3
    assert pair.near.lane(0).sent == pair.far.lane(0).received > 300_000
    for _ in range(30):
        pair.near.ask(Asked(), GET, [body])
    pair.pump()
    assert len(pair.server.programs) == WINDOW // 100_000


@pytest.mark.parametrize("codecs", [None, 5, "zstd", {"zstd": 1}, [], ["lz4"], [["zstd"]]], ids=repr)
def test_who_does_not_offer_the_codec_gets_plain_frames(codecs: Any) -> None:
    pair = Pair(can={"codecs": codecs}, compression="always")
    pair.pump()
    pair.ask(Asked(), GET, (bytes(100_000),))
    assert pair.far.lane(0).received > 100_000
    assert pair.server.programs[0][2] == bytes(100_000)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        zstandard.compress(bytes(1000))[:-1],
        zstandard.compress(bytes(1000)) + b"\0",
        zstandard.compress(bytes(wire.MAX_FRAME + 1)),
        zstandard.compress(bytes(1 << 26)),
        zstandard.ZstdCompressor(write_content_size=False).compress(bytes(1000)),
    ],
    ids=range(7),
)
def test_a_compressed_body_that_is_none(body: bytes) -> None:
    pair = Pair(can=CODECS)
    pair.pump()
    with pytest.raises(RemoteProtocolError):
        deliver(pair.far, packed(body))
    assert pair.server.programs == []


def test_compression_does_not_stretch_the_credit() -> None:
    pair = Pair(can=CODECS)
    pair.pump()
    small_frame = packed(zstandard.compress(bytes(wire.MAX_FRAME)))
    assert len(small_frame) < 1000
    deliver(pair.far, small_frame)
    with pytest.raises(RemoteProtocolError, match="granted"):
        deliver(pair.far, small_frame)


GOOD = [message for messages in SERVING.values() for message in messages if len(message) < 5000] + list(
    ANSWERING.values()
)


@given(st.data())
def test_any_frames_are_taken_or_refused(data: st.DataObject) -> None:
    near, _ = asker()
    small_frames = data.draw(st.lists(st.sampled_from(GOOD), max_size=8))
    try:
        for message in small_frames:
            mutated = bytearray(message)
            if data.draw(st.booleans()):
                at = data.draw(st.integers(0, len(mutated) - 1))
                mutated[at] = data.draw(st.integers(0, 255))
            deliver(near, bytes(mutated))
        pull(near)
    except RemoteProtocolError:
        pass


# Roads that are lost.


def test_a_new_road_resends_what_is_missing_and_runs_nothing_twice() -> None:
    pair = Pair()
    asked = [Asked(0) for _ in range(4)]
    pair.ask(asked[0], GET)
    pair.ask(asked[1], GET)
    pair.near.ask(asked[2], GET, ())
    pull(pair.near)  # lost
    small(pair, pair.server.programs[0][0], 0, 1.5)
    pair.far.done(pair.server.programs[0][0])
    pull(pair.far)  # lost
    pair.near.ask(asked[3], GET, ())
    pair.join()
    pair.pump()
    assert [served.id for served, *_ in pair.server.programs] == [1, 2, 3, 4]
    assert asked[0].happened == ["sent", "value", "settled"]
    for served, *_ in pair.server.programs[1:]:
        small(pair, served, 0, 2.5)
        pair.far.done(served)
    pair.pump()
    assert [request.happened.count("settled") for request in asked] == [1] * 4
    assert [float(request.values[0][1]) for request in asked] == [1.5, 2.5, 2.5, 2.5]


def test_requests_of_several_lanes_are_resent_in_the_order_of_their_ids() -> None:
    pair = Pair()
    for turn in range(12):
        pair.near.ask(Asked(), GET, [bytes(50_000)], turn % 3)
    pull(pair.near, 1 << 19)  # several ids are given, and lost
    assert pair.near.last_id > 3
    pair.join()
    pair.pump()
    assert [served.id for served, *_ in pair.server.programs] == list(range(1, 13))


def test_chunks_follow_their_request_on_a_new_road() -> None:
    pair = Pair()
    pair.pump()
    upload = Asked()
    upload.chunks = [(0, np.arange(1 << 17, dtype="<f8"))]
    pair.near.ask(upload, GET, ())
    pull(pair.near, 1)  # lost: the program, so that a chunk is due next
    pair.join()
    pair.pump()
    assert [served.id for served, *_ in pair.server.programs] == [1]
    assert b"".join(body for _, _, _, body in pair.server.chunks) == upload.chunks[0][1].tobytes()


def test_a_request_with_values_is_not_answered_before_they_came_once_more() -> None:
    pair = Pair()
    asked = [pair.ask(Asked(), GET), pair.ask(Asked(0), GET)]
    (first, *_), (second, *_) = pair.server.programs
    pair.far.value(second, 0, np.arange(1 << 18, dtype="<f8"))
    pair.far.done(second)
    pair.far.done(first)
    while pull(pair.far):
        pair.far.lane(0).granted += WINDOW
    pair.far.lane(0).reset()  # all answers have left, and are lost
    pair.join()
    pair.pump()
    assert asked[1].happened == ["sent", "value", "settled"]
    assert asked[0].happened == ["sent", "settled"]


def test_an_answer_that_was_about_to_be_told_waits_for_its_values_too() -> None:
    pair = Pair()
    pair.ask(Asked(), GET)
    two = pair.ask(Asked(0), GET)
    second = pair.server.programs[1][0]
    pair.far.value(second, 0, np.arange(1 << 18, dtype="<f8"))
    while pair.far.lane(0).bulk:
        pair.far.lane(0).granted += WINDOW
        pair.far.take([], 1 << 20)  # lost
    pair.far.done(second)
    assert pair.far._new_above == [2]
    pair.join()
    pair.pump()
    assert two.happened == ["sent", "value", "settled"]


def test_failures_and_cancels_survive_a_lost_road() -> None:
    pair = Pair()
    one, two = pair.ask(Asked(0), GET), Asked(0)
    pair.near.ask(two, GET, ())
    pair.near.cancel(one, 0)
    pull(pair.near)  # lost: the second request and the cancel
    pair.near.cancel(two, 0)
    pair.far.fail(pair.server.programs[0][0], failure(1, 0))
    pull(pair.far)  # lost
    pair.join()
    pair.pump()
    assert set(pair.server.cancels) == {(1, 0), (2, 0)}
    assert one.happened == ["sent", "failed"]


def test_credit_begins_afresh_on_a_new_road_and_old_bytes_give_none() -> None:
    pair = Pair()
    for _ in range(4):
        pair.near.ask(Asked(), GET, [bytes(200_000)])
    pair.pump()
    old = list(pair.server.programs)
    pair.join()
    pair.pump()
    assert pair.near.lane(0).room == WINDOW
    for served, _, _, size, generation in old:
        pair.far.consumed(served.lane, size, generation)
    pair.pump()
    assert pair.near.lane(0).room == WINDOW


def test_who_takes_back_what_it_received_has_broken_the_protocol() -> None:
    pair = Pair()
    pair.ask(Asked(), GET)
    pair.far.done(pair.server.programs[0][0])
    pair.pump()
    pair.near.begin(2)
    with pytest.raises(RemoteProtocolError, match="answered"):
        deliver(pair.near, frame(wire.RESUME, (THEIRS, MINE, 0, 0, {})))


# The same, at any moment and in any order.

SIZES = {"CHUNK": 2048, "MAX_FRAME": 8192}
SMALL_WINDOW = 16384
sides = st.integers(0, 1)


class Work:
    """What one request should bring about, and what has happened to it."""

    def __init__(self, side: int, lane: int, steps: List[Any], upload: int) -> None:
        self.side, self.lane, self.steps = side, lane, steps
        self.request = Asked(*(step for step, (kind, _) in enumerate(steps) if kind in ("value", "fail")))
        self.array = np.arange(upload, dtype="<u4")
        if upload:
            self.request.chunks = [(len(steps), self.array)]
        self.runs = 0
        self.uploaded: List[Tuple[int, bytes]] = []
        self.cancelled: Set[int] = set()

    @property
    def is_whole(self) -> bool:
        """Whether the upload is here, or will not come."""
        came = sum(len(piece) for piece in dict(self.uploaded).values())
        return came == self.array.nbytes or len(self.steps) in self.cancelled


class Serving(Kept):
    """Notes which work came; each program names it."""

    def __init__(self, machine: Roads) -> None:
        super().__init__()
        self.machine = machine
        self.open: Dict[int, Tuple[Served, Work, List[int]]] = {}
        self.unconsumed: List[Tuple[int, int, int]] = []

    def program(self, conversation: Conversation, served: Served, message: Any, body: memoryview, size: int) -> None:
        ((name, _, (index,)),) = message.steps
        work = self.machine.works[index]
        assert (name, bytes(body)) == ("work", b"body%d" % index)
        work.runs += 1
        self.open[served.id] = (served, work, list(range(len(work.steps))))
        self.unconsumed.append((served.lane, size, conversation.generation))

    def chunk(self, conversation: Conversation, number: int, message: Any, body: memoryview) -> None:
        work = self.machine.by_id[1 - self.machine.ends.index(conversation)][number]
        work.uploaded.append((message.offset, bytes(body)))


class Roads(RuleBasedStateMachine):
    """Two ends that ask each other, over a road that dies at any moment with all that is on it."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = ExitStack()
        for name, value in SIZES.items():
            self.patches.enter_context(mock.patch.object(wire, name, value))
        self.patches.enter_context(mock.patch.object(protocol, "WINDOW", SMALL_WINDOW))
        self.servers = [Serving(self), Serving(self)]
        lives = [MINE, THEIRS]
        self.ends = [Conversation(lives[i], lives[1 - i], self.servers[i], {}) for i in range(2)]
        self.works: List[Work] = []
        self.wires: List[List[bytes]] = [[], []]
        self.is_up = False
        self.reconnect()

    @property
    def by_id(self) -> List[Dict[int, Work]]:
        return [{w.request.id: w for w in self.works if w.side == side} for side in range(2)]

    def reconnect(self) -> None:
        if not self.is_up:
            for end in self.ends:
                end.begin(1)
            self.is_up = True

    @rule(
        side=sides,
        lane=st.integers(0, 2),
        steps=st.lists(
            st.tuples(st.sampled_from(["none", "value", "value", "fail", "skip"]), st.sampled_from([0, 5, 700, 3000])),
            max_size=4,
        ),
        upload=st.sampled_from([0, 0, 0, 600, 2000]),
    )
    def ask(self, side: int, lane: int, steps: List[Any], upload: int) -> None:
        work = Work(side, lane, steps, upload)
        self.works.append(work)
        index = len(self.works) - 1
        self.ends[side].ask(work.request, [["work", 0, [index]]], [b"body%d" % index], lane)

    @rule(side=sides, budget=st.sampled_from([1, 3000, 65536]))
    def send(self, side: int, budget: int) -> None:
        if self.is_up:
            message = pull(self.ends[side], budget)
            self.wires[side] += [message[a:b] for a, b in self.cuts(message)]

    @staticmethod
    def cuts(message: bytes) -> List[Tuple[int, int]]:
        at, found = 0, []
        for one in wire.frames(memoryview(message)):
            found.append((at, at + one.size))
            at += one.size
        return found

    @rule(side=sides, count=st.integers(1, 8))
    def arrive(self, side: int, count: int) -> None:
        frames, self.wires[side] = self.wires[side][:count], self.wires[side][count:]
        for one in frames:
            (said,) = wire.frames(memoryview(one))
            if said.kind == wire.RESUME:  # whoever lost no more than a road can always go on
                assert self.ends[1 - side].continues(wire.parse(said))
            deliver(self.ends[1 - side], one)

    @rule(rounds=st.integers(1, 4))
    def exchange(self, rounds: int) -> None:
        for _ in range(rounds):
            for side in range(2):
                self.send(side, 65536)
                self.arrive(side, 1 << 30)

    @rule(pick=st.integers(0, 99))
    def bustle(self, pick: int) -> None:
        """Much is served, and its answers leave; whether they arrive is another matter."""
        for side in range(2):
            self.consume(side, 1 << 30)
            for turn in range(3):
                self.serve(side, pick + turn, True)
            self.send(side, 65536)

    @rule(side=sides, pick=st.integers(0, 99), whole=st.booleans())
    def serve(self, side: int, pick: int, whole: bool) -> None:
        server, end = self.servers[side], self.ends[side]
        if not server.open:
            return
        number = sorted(server.open)[pick % len(server.open)]
        served, work, left = server.open[number]
        while left:
            self.answer(end, served, work, left.pop(pick % len(left)))
            if not whole:
                return
        if work.is_whole:
            end.done(served)
            del server.open[number]

    @staticmethod
    def answer(end: Conversation, served: Served, work: Work, step: int) -> None:
        kind, size = work.steps[step]
        array = np.arange(size, dtype="<u4") + served.id
        if kind in ("fail", "skip"):  # whoever asked for a value waits for it, others do not
            end.fail(served, failure(served.id, step))
        elif kind == "value" and array.nbytes > wire.CHUNK:
            end.value(served, step, array)
        elif kind == "value":
            end.values(served, [(step, "<u4", array.shape, 0)], [array.tobytes()])

    @rule(side=sides, count=st.integers(1, 9))
    def consume(self, side: int, count: int) -> None:
        server = self.servers[side]
        taken, server.unconsumed = server.unconsumed[:count], server.unconsumed[count:]
        for entry in taken:
            self.ends[side].consumed(*entry)

    @rule(side=sides, pick=st.integers(0, 99), step=st.integers(0, 3))
    def cancel(self, side: int, pick: int, step: int) -> None:
        mine = [work for work in self.works if work.side == side]
        if mine:
            work = mine[pick % len(mine)]
            work.cancelled.add(step)
            work.request.wanted.discard(step)  # nobody waits for it any more
            self.ends[side].cancel(work.request, step)

    @rule(reconnect=st.booleans())
    def cut(self, reconnect: bool) -> None:
        self.wires = [[], []]
        self.is_up = False
        if reconnect:
            self.reconnect()

    @rule()
    def up(self) -> None:
        self.reconnect()

    @invariant()
    def nothing_runs_or_comes_twice(self) -> None:
        for work in self.works:
            assert work.runs <= 1
            steps = [step for step, _ in work.request.values] + [f.step for f in work.request.failed_with]
            assert len(steps) == len(set(steps))
            assert work.request.happened.count("settled") <= 1
            assert work.request.happened.count("sent") <= 1

    def drain(self) -> None:
        self.reconnect()
        for _ in range(3000):
            for side in range(2):
                self.consume(side, 1 << 30)
                for pick in range(len(self.servers[side].open), 0, -1):
                    self.serve(side, pick - 1, True)
                self.send(side, 65536)
            if not any(self.wires):
                return
            for side in range(2):
                self.arrive(side, 1 << 30)
        raise AssertionError("it never ends")

    def teardown(self) -> None:
        try:
            self.drain()
            for work in self.works:
                self.check(work)
            for side in range(2):  # one more each way carries what was seen
                self.ask(side, 0, [], 0)
            self.drain()
            for end in self.ends:
                assert counters(end) == {"unanswered": 0, "served": min(1, end.received), "above": 0}
                for lane in end.lanes.values():
                    assert not lane.queue
                    assert not lane.bulk
                    assert lane.room >= SMALL_WINDOW // 2
        finally:
            self.patches.close()

    @staticmethod
    def check(work: Work) -> None:
        request = work.request
        assert work.runs == 1
        assert request.happened[0] == "sent"
        assert request.happened[-1] == "settled"
        found = dict(request.values)
        promised = {step for step, (kind, _) in enumerate(work.steps) if kind == "value"}
        assert promised - work.cancelled <= set(found) <= promised
        for step, value in found.items():
            np.testing.assert_array_equal(value, np.arange(work.steps[step][1], dtype="<u4") + request.id)
        failed: Set[int] = {f.step for f in request.failed_with}
        assert failed == {step for step, (kind, _) in enumerate(work.steps) if kind in ("fail", "skip")}
        pieces = dict(work.uploaded)
        whole = b"".join(pieces[at] for at in sorted(pieces))
        assert whole == work.array.tobytes() or len(work.steps) in work.cancelled
        assert all(pieces[at] == piece for at, piece in work.uploaded)  # chunks may come again; they are the same


Roads.TestCase.settings = settings(stateful_step_count=40)
TestRoads: Callable[..., Any] = Roads.TestCase
