"""The service that runs programs: order as data flow, poison, cancels, limits, threads, and hostile steps."""

from __future__ import annotations

import threading
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple
from unittest import mock

import anyio
import anyio.to_thread
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncsyft import ops, program, wire
from asyncsyft.errors import RemoteProtocolError
from asyncsyft.executor import Executor
from asyncsyft.executor import run as run_module
from asyncsyft.executor.lanes import PIECES_AHEAD
from asyncsyft.protocol import CHUNKS_AHEAD, WINDOW, Conversation
from asyncsyft.protocol.lane import LARGE_CHUNK
from asyncsyft.store import Space, Store
from asyncsyft.wire import MAX_ID, Failure
from tests.ends import MINE, Asked, Pair, deliver, frame, pull

VALUES = (program.GET, program.INFO, program.SEARCH, program.STATS, program.CLAIM)
UPLOADS = 50  # from this one on, a lane for each large tensor
TICKET = b"t" * 16


def put(out: int, array: Any, at: int = 0) -> List[Any]:
    value = np.asarray(array)
    return ["put", out, [], {"dtype": value.dtype.str, "shape": list(value.shape), "at": at}]


class Room:
    """One worker's executor, and a driver that talks to it."""

    def __init__(self, limit: int = 1 << 30) -> None:
        self.store = Store(limit)
        self.executor = Executor(self.store, "bob")
        self.pair = Pair(self.executor)

    @property
    def space(self) -> Space:
        return self.store.space(MINE)

    def send(self, *steps: Any, body: Sequence[bytes] = (), lane: int = 0) -> Asked:
        """Send a program; what it answers without waiting for anything is here afterwards."""
        wanted = [at for at, step in enumerate(steps) if type(step) is list and step and step[0] in VALUES]
        return self.pair.ask(Asked(*wanted), list(steps), tuple(body), lane)

    def put(self, out: int, array: Any) -> None:
        value = np.asarray(array)
        assert codes(self.send(put(out, value), body=[value.tobytes()])) == {}

    def get(self, number: int) -> Any:
        """What an object is: an array, or the code of a failure."""
        asked = self.send(["get", 0, [number]])
        return dict(asked.values).get(0, codes(asked).get(0))

    def upload(self, out: int, array: Any) -> Callable[[], Asked]:
        """Announce a large tensor; its chunks come when what this returns is called."""
        value = np.ascontiguousarray(array)
        asked = Asked()
        asked.chunks = [(0, value)]
        self.pair.near.ask(asked, [["put", out, [], put(out, value)[3]]], (), UPLOADS + out)
        lane = self.pair.near.lane(UPLOADS + out)
        lane.granted = lane.sent + wire.CHUNK // 2  # enough for the program, not for a chunk
        self.pair.pump()

        def release() -> Asked:
            lane.granted = self.pair.far.lane(UPLOADS + out).allowed
            self.pair.pump()
            return asked

        return release

    def is_clean(self) -> bool:
        """Whether nothing is left of what was under way."""
        executor, space = self.executor, self.space
        held = [*space.objects.values(), *space.offers.values()]
        nbytes = sum(array.nbytes for array in held if isinstance(array, np.ndarray))
        assert space.nbytes == nbytes
        return not (executor.jobs or executor._landings or space.pending or executor._ready)


def codes(asked: Asked) -> Dict[int, str]:
    """The failures of a request: step -> code."""
    return {failure.step: failure.code for failure in asked.failed_with}


def is_done(asked: Asked) -> bool:
    return asked.happened[-1] == "settled"


# Steps.


def test_put_compute_get_delete() -> None:
    room = Room()
    x, y = np.arange(6.0), np.full(6, 2.0)
    asked = room.send(
        put(1, x), put(2, y, 48), ["add", 3, [1, 2]], ["multiply", 4, [3, ["<f8", 10.0]]], ["get", 0, [4]],
        ["delete", 0, [3, 4]], body=[x.tobytes(), y.tobytes()],
    )  # fmt: skip
    np.testing.assert_array_equal(dict(asked.values)[4], (x + y) * 10)
    assert is_done(asked)
    assert sorted(room.space.objects) == [1, 2]
    assert room.is_clean()


def test_every_failure_is_told_with_its_step_op_and_kind() -> None:
    room = Room()
    room.put(1, [[1.0, 2.0]])
    asked = room.send(
        ["matmul", 2, [1, 1]], ["no_such_op", 3, [1]], ["add", 4, [1, 99]], ["add", 5, [1]],
        ["sum", 6, [1], {"axis": 7}], ["unique_all", 7, [1]], ["get", 0, [98]], ["delete", 0, [97]], "nonsense",
        ["add", 8, [1, 1]],
    )  # fmt: skip
    assert {f.step: (f.code, f.op) for f in asked.failed_with} == {
        0: ("OpFailed", "matmul"), 1: ("UnknownOp", "no_such_op"), 2: ("UnknownObject", "add"), 3: ("OpFailed", "add"),
        4: ("OpFailed", "sum"), 5: ("Refused", "unique_all"), 6: ("UnknownObject", "get"),
        7: ("UnknownObject", "delete"), 8: ("Refused", ""),
    }  # fmt: skip
    assert {f.step: f.kind for f in asked.failed_with}[0] == "ValueError"
    assert is_done(asked)
    np.testing.assert_array_equal(room.get(8), [[2.0, 4.0]])
    assert room.is_clean()


def test_poison_flows_with_the_cause_and_is_told_only_where_a_value_is_owed() -> None:
    room = Room()
    asked = room.send(
        ["add", 1, [98, 99]], ["add", 2, [1, 1]], ["sum", 3, [2]], ["get", 0, [3]], ["info", 0, [2]], ["delete", 0, [2]]
    )
    causes = {f.step: (f.code, f.cause_id, f.cause_step) for f in asked.failed_with}
    assert causes == {0: ("UnknownObject", 1, 0), 3: ("UnknownObject", 1, 0), 4: ("UnknownObject", 1, 0)}
    later = room.send(["negative", 4, [3]], ["get", 0, [4]])
    ((failure),) = later.failed_with
    assert (failure.id, failure.step, failure.cause_id, failure.cause_step) == (2, 1, 1, 0)
    assert room.get(2) == "UnknownObject"  # deleted
    assert room.send(["tag", 0, [3], {"name": "x"}]).failed_with == []
    assert room.is_clean()


@pytest.mark.parametrize(
    "step", [["add", 1, [2]], ["add", 1], ["add", [1], [True]], ["nothing", 1, []], ["fetch", 1, [], {}]]
)
def test_a_step_of_any_wrong_form_poisons_its_results(step: Any) -> None:
    room = Room()
    room.put(2, 1.0)
    asked = room.send(step)
    assert set(codes(asked)) == {0}
    assert room.get(1) == codes(asked)[0]


def test_objects_are_written_once() -> None:
    room = Room()
    room.put(1, 1.0)
    room.put(9, np.ones(4))
    room.send(["add", 2, [50, 51]])  # poison
    assert codes(room.send(["add", 2, [9, 9]])) == {0: "Refused"}
    release = room.upload(3, np.zeros(100_000))
    asked = room.send(
        ["add", 1, [1, 1]],
        put(1, 5.0),
        ["add", 2, [1, 1]],
        ["add", [4, 4], [1, 1]],
        ["add", 0, [1, 1]],
        body=[bytes(8)],
    )
    assert codes(asked) == dict.fromkeys(range(5), "Refused")
    assert codes(room.send(["negative", 3, [1]])) == {0: "Refused"}
    release()
    assert room.get(1) == 1.0
    assert room.get(2) == "UnknownObject"
    np.testing.assert_array_equal(room.get(3), np.zeros(100_000))
    assert room.is_clean()


def test_a_result_with_several_arrays() -> None:
    room = Room()
    room.put(1, [[1.0, 2.0], [3.0, 4.0]])
    assert codes(room.send(["unstack", [2, 3], [1]], ["unstack", [4], [1]], ["unstack", 5, [1]])) == {
        1: "Refused",
        2: "Refused",
    }
    np.testing.assert_array_equal(room.get(3), [3.0, 4.0])


def test_small_views_do_not_keep_large_arrays_alive() -> None:
    room = Room()
    room.put(1, np.zeros(20_000))
    room.send(["reshape", 2, [1], {"shape": [100, 200]}], ["permute_dims", 3, [2], {"axes": [1, 0]}])
    room.send(["sum", 4, [1]], ["getitem", 5, [1], {"key": ops.encode_key(slice(0, 3), lambda value: False)[0]}])
    assert room.space.objects[3].base is not None
    assert room.space.objects[5].base is None
    np.testing.assert_array_equal(room.get(3), np.zeros((200, 100)))


def test_values_of_every_size_come_back() -> None:
    room = Room()
    arrays = [np.arange(count, dtype="<f8") for count in (0, 1, 511, 512, 513, 32_768, 32_769, 200_000)]
    for number, array in enumerate(arrays, 1):
        room.space.keep(number, array)
        room.space.keep(number + 20, array[::-1])
    asked = room.send(*[["get", 0, [number]] for number in [*range(1, 9), *range(21, 29)]])
    for step, value in asked.values:
        np.testing.assert_array_equal(value, arrays[step] if step < 8 else arrays[step - 8][::-1])
    assert len(asked.values) == 16
    assert is_done(asked)


def test_many_small_values_share_frames() -> None:
    room = Room()
    room.put(1, 2.5)
    asked = room.send(*[["get", 0, [1]]] * 1500)
    assert sorted(step for step, _ in asked.values) == list(range(1500))
    assert is_done(asked)


ALIKE = {
    "float32[10]": np.arange(10, dtype="<f4"),
    "of 12 bytes": np.arange(3, dtype="<f4"),
    "a scalar": np.array(2.5, "<f4"),
    "bools": np.array([True, False, True]),
    "in Fortran's order": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "every other element": np.arange(10.0)[::2],
    "empty": np.zeros((0, 3)),
}


@pytest.mark.parametrize("name", ALIKE)
def test_values_of_one_form_come_back(name: str) -> None:
    room = Room()
    for number in range(1, 6):
        room.space.keep(number, ALIKE[name] if number % 2 else np.asarray(ALIKE[name] == 1).astype(ALIKE[name].dtype))
    asked = room.send(*[["get", 0, [number]] for number in range(1, 6)])
    assert [step for step, _ in asked.values] == list(range(5))
    for step, value in asked.values:
        assert value.dtype == ALIKE[name].dtype
        np.testing.assert_array_equal(value, room.space.objects[step + 1])
    assert is_done(asked)


def test_values_of_one_form_are_one_entry_and_others_have_their_own() -> None:
    room = Room()
    for number, array in enumerate([np.zeros(2), np.ones(2), np.ones((2, 1)), np.ones(2, "i8")], 1):
        room.space.keep(number, array)
    alike = [["get", 0, [number]] for number in (1, 2, 1)]
    for steps, entries in ((alike, 1), ([*alike, ["get", 0, [3]]], 4), ([*alike, ["get", 0, [4]]], 4)):
        with mock.patch.object(room.pair.far, "values", wraps=room.pair.far.values) as told:
            asked = room.send(*steps)
        assert len(asked.values) == len(steps)
        ((_, values, _),) = (call.args for call in told.call_args_list)
        assert len(values) == entries


# Order as data flow.


def test_programs_of_a_lane_run_in_order() -> None:
    room = Room()
    room.put(1, 1.0)
    for number in range(2, 30):
        room.send(["add", number, [number - 1, 1]], lane=0)
    assert room.get(29) == 29.0


def test_who_names_a_pending_object_waits_and_the_others_go_on() -> None:
    room = Room()
    room.put(1, np.ones(4))
    big = np.arange(100_000.0)
    release = room.upload(2, big)
    assert list(room.space.pending) == [2]
    waits = room.send(["sum", 3, [2]], ["get", 0, [3]])
    waits_too = room.send(["add", 4, [3, 3]], ["get", 0, [4]])
    goes_on = room.send(["add", 5, [1, 1]], ["get", 0, [5]])
    assert waits.happened == waits_too.happened == ["sent"]
    assert is_done(goes_on)
    assert is_done(release())
    assert dict(waits.values)[1] == big.sum()
    assert dict(waits_too.values)[1] == 2 * big.sum()
    assert is_done(waits)
    assert is_done(waits_too)
    assert room.is_clean()


def test_what_a_parked_program_reads_survives_a_delete() -> None:
    room = Room()
    room.put(1, np.full(4, 7.0))
    release = room.upload(2, np.arange(100_000.0))
    waits = room.send(["sum", 3, [2]], ["add", 4, [1, 3]], ["get", 0, [4]])
    assert codes(room.send(["delete", 0, [1, 2]])) == {}
    assert room.get(1) == "UnknownObject"
    assert room.get(2) == "UnknownObject"
    release()
    np.testing.assert_array_equal(dict(waits.values)[2], np.full(4, 7.0) + np.arange(100_000.0).sum())
    assert room.get(1) == room.get(2) == "UnknownObject"
    assert sorted(room.space.objects) == [3, 4]
    assert room.is_clean()


def test_deleted_before_it_came() -> None:
    room = Room()
    release = room.upload(1, np.zeros(100_000))
    assert codes(room.send(["delete", 0, [1]])) == {}
    assert codes(room.send(["delete", 0, [1]])) == {0: "UnknownObject"}
    assert codes(room.send(["sum", 2, [1]], ["get", 0, [2]])) == {0: "UnknownObject", 1: "UnknownObject"}
    assert is_done(release())
    assert room.space.objects == {}
    assert room.is_clean()


def test_results_of_a_parked_program_may_be_deleted_before_they_are_there() -> None:
    room = Room()
    release = room.upload(1, np.zeros(100_000))
    waits = room.send(["sum", 2, [1]], ["add", 3, [2, ["<f8", 1.0]]])
    after = room.send(["get", 0, [3]])
    assert codes(room.send(["delete", 0, [2, 3]])) == {}
    release()
    assert is_done(waits)
    assert dict(after.values)[0] == 1.0
    assert sorted(room.space.objects) == [1]
    assert room.is_clean()


def test_parked_programs_keep_their_bytes_until_they_run() -> None:
    room = Room()
    release = room.upload(1, np.zeros(100_000))
    sizes = 100_000
    for number in range(10):
        room.send(["sum", 10 + number, [1]], body=[bytes(sizes)])
    lane = room.pair.far.lane(0)
    assert lane.consumed == 0
    assert lane.received > 10 * sizes
    release()
    assert lane.consumed == lane.received
    assert room.pair.near.lane(0).room >= WINDOW // 2


def test_the_body_of_a_program_that_waits_is_its_own() -> None:
    room = Room()
    release = room.upload(1, np.zeros(100_000))
    out: List[wire.Buffer] = []
    asked = Asked()
    room.pair.near.ask(asked, [["sum", 2, [1]], put(3, [1.0, 2.0])], [np.array([1.0, 2.0]).tobytes()])
    room.pair.near.take(out, wire.BATCH)
    message = bytearray(b"".join(out))
    for found in wire.frames(memoryview(message)):
        room.pair.far.receive(found)
    message[:] = bytes(len(message))  # the transport uses its buffer again
    del found
    message.clear()  # and nobody holds a view of it
    release()
    np.testing.assert_array_equal(room.get(3), [1.0, 2.0])


def test_a_program_that_has_run_holds_no_view_of_its_message() -> None:
    room = Room()
    room.pair.pump()
    asked = Asked(0)
    room.pair.near.ask(
        asked, [["claim", 0, [], {"ticket": TICKET}], put(3, [1.0, 2.0])], [np.array([1.0, 2.0]).tobytes()]
    )
    message = bytearray(pull(room.pair.near))
    (found,) = wire.frames(memoryview(message))
    room.pair.far.receive(found)
    assert len(room.executor.jobs) == 1  # its claim waits
    del found
    message.clear()
    np.testing.assert_array_equal(room.get(3), [1.0, 2.0])


def test_a_long_chain_of_parked_programs_is_no_deep_stack() -> None:
    room = Room()
    release = room.upload(1, np.ones(100_000))
    room.send(["sum", 2, [1]])
    for number in range(3, 2003):
        room.send(["add", number, [number - 1, ["<f8", 1.0]]])
    last = room.send(["get", 0, [2002]])
    assert last.happened == ["sent"]
    release()
    assert dict(last.values)[0] == 102_000.0
    assert room.is_clean()


def test_search_is_a_barrier_of_its_lane() -> None:
    room = Room()
    release = room.upload(1, np.ones(100_000))
    room.send(["tag", 0, [1], {"name": "late"}])
    found = room.send(["search", 0, [], {"query": ["late"], "base": 100, "most": 5}])
    behind = room.send(["stats", 0, []])
    elsewhere = room.send(["search", 0, [], {"query": ["late"], "base": 200, "most": 5}], lane=3)
    assert found.happened == behind.happened == ["sent"]
    assert dict(elsewhere.values)[0] == []
    release()
    ((_, entries),) = found.values
    assert [entry["id"] for entry in entries] == [100]
    assert is_done(behind)
    assert room.is_clean()


def test_a_failed_upload_poisons_who_waits_for_it() -> None:
    room = Room()
    room.upload(1, np.ones(100_000))
    waits = room.send(["sum", 2, [1]], ["get", 0, [2]])
    room.pair.near.cancel(room.pair.near.unanswered[1], 0)  # type: ignore[arg-type]
    room.pair.pump()
    assert codes(waits) == {1: "Cancelled"}
    assert room.is_clean()


def test_several_uploads_in_one_program_and_a_use_of_them() -> None:
    room = Room()
    arrays = [np.full(50_000, float(i)) for i in range(3)]
    asked = Asked(4)
    asked.chunks = list(enumerate(arrays))
    steps = [put(number, array) for number, array in enumerate(arrays, 1)]
    room.pair.ask(asked, [*steps, ["add", 4, [2, 3]], ["get", 0, [4]]])
    np.testing.assert_array_equal(dict(asked.values)[4], arrays[1] + arrays[2])
    assert is_done(asked)
    assert room.is_clean()


# Chunks.


def test_half_an_upload_is_let_go_when_its_conversation_ends() -> None:
    room = Room()
    array = np.zeros(1 << 18)
    release = room.upload(1, array)
    waits = room.send(["sum", 2, [1]], ["put", 3, [], put(3, array)[3]], body=[bytes(1000)])
    assert waits.happened == ["sent"]
    assert room.space.nbytes == array.nbytes
    other = Pair(room.executor)  # another conversation of the same owner
    theirs = Asked(1)
    other.ask(theirs, [["sum", 5, [2]], ["get", 0, [5]]])
    assert theirs.happened == ["sent"]
    room.executor.ended(room.pair.far)
    other.pump()
    assert codes(theirs) == {1: "Cancelled"}
    assert room.executor.jobs == {}
    assert room.space.nbytes == 0
    assert room.is_clean()
    release()  # what still comes finds nothing, and harms nothing
    assert room.space.objects == {}


def test_chunks_that_lie_end_the_conversation() -> None:
    for offset, size in ((8, 8), (0, 900_000), (0, 0)):
        room = Room()
        room.upload(1, np.zeros(100_000))
        message = frame(wire.CHUNK_OF, (0, 0, "<f8", [100_000], offset), bytes(min(size, 400_000)), number=1, lane=7)
        if size > 400_000:
            deliver(room.pair.far, message)
            message = frame(wire.CHUNK_OF, (0, 0, "<f8", [100_000], 400_000), bytes(400_008), number=1, lane=8)
        with pytest.raises(RemoteProtocolError):
            deliver(room.pair.far, message)


def test_chunks_for_steps_that_expect_none_are_ignored() -> None:
    room = Room()
    room.upload(1, np.zeros(100_000))
    for step in (1, 7, MAX_ID):
        deliver(room.pair.far, frame(wire.CHUNK_OF, (0, step, "<f8", [4], 0), bytes(32), number=1))
    assert room.space.objects == {}


@pytest.mark.parametrize(
    "step",
    [
        ["add", 5, [1, 1]],
        ["put", 5, []],
        ["put", 5, [], {"dtype": "<f8"}],
        ["put", 5, [], {"dtype": "|O", "shape": [9]}],
        ["put", 5, [], {"dtype": "<f8", "shape": [0]}],
        ["put", 5, [], {"dtype": "<f8", "shape": [1 << 50]}],
        ["put", 5, [], {"dtype": "<f8", "shape": [1 << 30]}],
        ["put", [], [], {"dtype": "<f8", "shape": [9]}],
        ["put", [5, 6], [], {"dtype": "<f8", "shape": [9]}],
        ["put", 1, [], {"dtype": "<f8", "shape": [9]}],
        ["put", 0, [], {"dtype": "<f8", "shape": [9]}],
        "put",
        None,
    ],
    ids=repr,
)
def test_an_announcement_that_is_none_fails_its_step_alone(step: Any) -> None:
    room = Room()
    room.put(1, 1.0)
    message = frame(wire.PROGRAM, (1, [["add", 3, [1, 1]], step, ["get", 0, [3]]], [1]), number=2)
    deliver(room.pair.far, message)
    deliver(room.pair.far, frame(wire.CHUNK_OF, (1, 1, "<f8", [9], 0), bytes(72), number=2))
    served = room.pair.far.served[2]
    assert [failure.step for failure in served.failures] == [1]
    assert served.failures[0].code in ("Refused", "LimitExceeded", "OpFailed")
    assert served.done
    assert room.space.objects[3] == 2.0
    assert room.is_clean()


@pytest.mark.parametrize("chunked", [[5], [0, 0], [MAX_ID]], ids=str)
def test_announcing_steps_that_are_not_there_breaks_the_protocol(chunked: List[int]) -> None:
    room = Room()
    room.pair.pump()
    with pytest.raises(RemoteProtocolError):
        deliver(room.pair.far, frame(wire.PROGRAM, (0, [put(1, np.zeros(9))], chunked), number=1))


# Cancels.


def test_a_step_that_has_begun_is_not_cancelled() -> None:
    room = Room()
    room.put(1, 1.0)
    asked = room.send(["add", 2, [1, 1]], ["get", 0, [2]])
    room.pair.near.cancel(asked, 0)
    room.pair.pump()
    assert dict(asked.values)[1] == 2.0


def test_a_step_that_has_not_begun_is_and_poisons_its_results() -> None:
    room = Room()
    room.put(1, 1.0)
    release = room.upload(2, np.zeros(100_000))
    asked = room.send(["sum", 3, [2]], ["add", 4, [1, 1]], ["get", 0, [4]], ["get", 0, [3]], ["add", 5, [1, 1]])
    for step in (1, 1, 3, 400, MAX_ID):
        room.pair.near.cancel(asked, step)
    room.pair.pump()
    release()
    assert codes(asked) == {1: "Cancelled", 2: "Cancelled", 3: "Cancelled"}
    assert room.get(5) == 2.0
    assert room.get(4) == "Cancelled"
    assert room.is_clean()


def test_cancels_of_what_is_not_there() -> None:
    room = Room()
    room.put(1, 1.0)
    for number in (0, 1, 2, MAX_ID):
        deliver(room.pair.far, frame(wire.CANCEL, (0, 0), number=number))
    assert room.get(1) == 1.0


def test_what_is_cancelled_is_bounded_by_the_steps() -> None:
    room = Room()
    room.upload(1, np.zeros(100_000))
    room.send(["sum", 2, [1]])
    for step in range(100):
        deliver(room.pair.far, frame(wire.CANCEL, (0, step), number=2))
    (job,) = [job for job in room.executor.jobs.values() if job.served.id == 2]
    assert job.cancelled == {0}


# Limits.


def test_what_would_pass_the_limit_is_refused_whichever_way_it_comes() -> None:
    room = Room(limit=10_000)
    room.put(1, np.zeros(500))  # 4,000 bytes
    asked = room.send(
        ["add", 2, [1, 1]], ["add", 3, [1, 1]], ["concat", 4, [1, 1]], ["zeros", 5, [], {"shape": [10**12]}],
        put(6, np.zeros(400)), body=[bytes(3200)],
    )  # fmt: skip
    assert codes(asked) == dict.fromkeys([1, 2, 3, 4], "LimitExceeded")
    assert room.store.nbytes == 8000
    room.upload(7, np.zeros(100_000))
    assert room.get(7) == "LimitExceeded"
    room.send(["delete", 0, [2]])
    assert codes(room.send(["add", 8, [1, 1]])) == {}
    assert room.is_clean()


def test_uploads_under_way_count_against_the_limit() -> None:
    room = Room(limit=1_000_000)
    release = room.upload(1, np.zeros(100_000))
    assert codes(room.upload(2, np.zeros(100_000))()) == {0: "LimitExceeded"}
    assert is_done(release())
    assert room.store.nbytes == 800_000
    assert room.is_clean()


def test_many_small_steps_stay_within_the_limit_too() -> None:
    room = Room(limit=100_000)
    room.put(1, np.zeros(1000))
    asked = room.send(*[["add", number, [1, 1]] for number in range(2, 40)])
    assert set(codes(asked).values()) == {"LimitExceeded"}
    assert room.store.nbytes == 96_000
    assert room.is_clean()


def test_offers_count_against_the_limit_even_if_the_object_is_deleted() -> None:
    room = Room(limit=20_000)
    for number in range(1, 6):
        value = np.zeros(1000)
        ticket = bytes([number]) * 16
        asked = room.send(
            put(number, value), ["move", 0, [number], {"to": MINE, "ticket": ticket}], ["delete", 0, [number]],
            body=[value.tobytes()],
        )  # fmt: skip
        assert bool(codes(asked)) == (number > 2)
    assert room.store.nbytes == 16_000


@pytest.mark.parametrize("shape", [[10**12], [10**6, 10**6], [1 << 62], [1 << 40] * 8], ids=str)
def test_huge_arrays_cost_nothing(shape: List[int]) -> None:
    room = Room()
    for op, params in (("zeros", {}), ("ones", {"dtype": "|i1"}), ("empty", {}), ("full", {})):
        inputs = [["<f8", 1.0]] if op == "full" else []
        assert set(codes(room.send([op, 1, inputs, {"shape": shape, **params}])).values()) <= {
            "LimitExceeded",
            "OpFailed",
        }
        assert room.space.objects == {}
        room.send(["delete", 0, [1]])


def test_too_many_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("store", "executor.run", "executor.job"):
        monkeypatch.setattr(f"asyncsyft.{module}.MAX_OBJECTS", 5)
    room = Room()
    room.put(1, 1.0)
    asked = room.send(*[["add", number, [1, 1]] for number in range(2, 12)])
    assert codes(asked) == dict.fromkeys(range(4, 10), "LimitExceeded")
    assert room.space.taken == 5
    room.send(["delete", 0, [5]])
    room.send(*[["add", number, [98, 99]] for number in range(20, 30)])  # poison is bounded too
    assert room.space.taken == 5
    assert codes(room.send(["search", 0, [], {"query": [], "base": 50, "most": 5}])) == {0: "LimitExceeded"}


def test_a_program_that_is_too_long_fails_as_a_whole() -> None:
    room = Room()
    asked = room.send(*[["stats", 0, []]] * (program.MAX_STEPS + 1))
    assert codes(asked) == {0: "LimitExceeded"}
    assert is_done(asked)
    assert room.is_clean()


def test_a_document_that_is_too_large_fails_its_step() -> None:
    room = Room()
    for number in range(1, 201):
        room.space.keep(number, np.zeros(1))
        room.send(["tag", 0, [number], {"name": "x", "tags": ["\U0001f600" * 256] * 8}])
    asked = room.send(["search", 0, [], {"query": ["x"], "base": 1000, "most": 200}])
    assert codes(asked) == {0: "LimitExceeded"}
    assert not room.space.knows(1000)
    asked = room.send(["search", 0, [], {"query": ["x"], "base": 1000, "most": 20}])
    assert len(dict(asked.values)[0]) == 20


# Search, info, tags, stats.


def test_search_gives_aliases_of_own_data_and_of_the_drivers() -> None:
    room = Room()
    room.store.load("digits", np.arange(4.0), ["mnist"])
    room.put(1, np.arange(3))
    room.send(["tag", 0, [1], {"name": "mine", "tags": ["mnist"]}])
    ((_, found),) = room.send(["search", 0, [], {"query": ["mnist"], "base": 10, "most": 9}]).values
    assert [(entry["id"], entry["name"], entry["shape"]) for entry in found] == [(10, "digits", [4]), (11, "mine", [3])]
    np.testing.assert_array_equal(room.get(10), np.arange(4.0))
    room.send(["delete", 0, [10, 11, 1]])
    assert room.store.own.objects[1] is not None
    ((_, info),) = room.send(["search", 0, [], {"query": ["digits"], "base": 20, "most": 1}], ["info", 0, [20]]).values[
        1:
    ]
    assert info == {"dtype": "<f8", "shape": [4], "nbytes": 32, "name": "", "tags": []}


def test_stats_count() -> None:
    room = Room(limit=777)
    room.put(1, np.zeros(10))
    ((_, stats),) = room.send(["stats", 0, []]).values
    assert (stats["objects"], stats["bytes"], stats["limit"], stats["jobs"]) == (1, 80, 777, 1)


# Moves.


class Move:
    """A driver, a source (alice) and a destination (bob), whose executor asks the source."""

    def __init__(self, limit: int = 1 << 30) -> None:
        self.alice, self.bob = Room(), Room(limit)
        self.road = Pair(self.alice.executor)
        self.bob.executor.converse = self.converse
        self.asked_for: List[Tuple[bytes, bytes]] = []

    def converse(self, source: bytes, key: bytes) -> Conversation:
        self.asked_for.append((source, key))
        return self.road.near

    def offer(self, number: int, ticket: bytes = TICKET) -> Asked:
        return self.alice.send(["move", 0, [number], {"to": MINE, "ticket": ticket}])

    def fetch(self, out: int, ticket: bytes = TICKET, **params: Any) -> Asked:
        return self.bob.send(["fetch", out, [], {"from": b"a" * 8, "ticket": ticket, **params}])

    def pump(self) -> None:
        for _ in range(3):
            for pair in (self.alice.pair, self.road, self.bob.pair):
                pair.pump()


@pytest.mark.parametrize("offer_first", [True, False])
@pytest.mark.parametrize("size", [4, 100_000])
def test_a_move_whichever_comes_first(offer_first: bool, size: int) -> None:
    move = Move()
    array = np.arange(float(size))
    move.alice.space.keep(1, array)
    steps: List[Callable[[], Any]] = [lambda: move.offer(1), lambda: move.fetch(2)]
    for step in steps if offer_first else steps[::-1]:
        step()
        move.road.pump()
    waits = move.bob.send(["sum", 3, [2]], ["get", 0, [3]])
    move.pump()
    assert dict(waits.values)[1] == array.sum()
    assert move.asked_for == [(b"a" * 8, b"")]
    move.alice.send(["delete", 0, [1]])
    assert move.alice.is_clean()
    assert move.bob.is_clean()


def test_two_moves_in_one_program_and_what_is_made_of_them() -> None:
    move = Move()
    for number in (1, 2):
        move.alice.space.keep(number, np.full(3, float(number)))
        move.offer(number, bytes([number]) * 16)
    fetches = [["fetch", out, [], {"from": b"a" * 8, "ticket": bytes([out]) * 16}] for out in (1, 2)]
    waits = move.bob.send(
        fetches[0], ["add", 3, [1, 1]], ["info", 0, [3]], fetches[1], ["add", 4, [3, 2]], ["get", 0, [4]]
    )
    move.pump()
    np.testing.assert_array_equal(dict(waits.values)[5], np.full(3, 4.0))
    assert is_done(waits)
    assert move.bob.is_clean()


def test_a_step_that_reads_its_own_later_result_does_not_wait_for_ever() -> None:
    room = Room()
    release = room.upload(1, np.zeros(100_000))
    asked = room.send(["sum", 2, [1]], ["add", 3, [4, 4]], ["add", 4, [2, 2]])
    release()
    assert codes(asked) == {1: "UnknownObject"}
    assert is_done(asked)
    assert room.is_clean()


def test_the_failure_of_a_move_has_a_number_of_this_conversation() -> None:
    move = Move()
    for _ in range(5):
        move.alice.send(["stats", 0, []])
    move.alice.send(["add", 1, [98, 99]])  # poison: request 6, step 0
    move.offer(1)
    waits = move.fetch(2)
    after = move.bob.send(["negative", 3, [2]], ["get", 0, [3]])
    move.pump()
    ((failure),) = waits.failed_with
    assert (failure.code, failure.id, failure.step, failure.cause_id, failure.cause_step) == (
        "UnknownObject",
        1,
        0,
        1,
        0,
    )
    assert [(f.step, f.cause_id) for f in after.failed_with] == [(1, 1)]
    assert move.bob.is_clean()


def test_small_programs_are_never_queued_and_their_credit_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    room = Room()
    monkeypatch.setattr(room.executor, "_advance", None)  # to queue one raises
    array = np.arange(10_000.0)
    for number in range(1, 4 * WINDOW // array.nbytes):
        asked = room.send(put(number, array), ["get", 0, [number]], body=[array.tobytes()])
        np.testing.assert_array_equal(dict(asked.values)[1], array)
        assert is_done(asked)
    assert room.executor.steps_run == 2 * number
    assert room.is_clean()


def test_a_move_without_room() -> None:
    move = Move(limit=100)
    move.alice.space.keep(1, np.zeros(100))
    move.offer(1)
    waits = move.fetch(2)
    move.pump()
    assert codes(waits) == {0: "LimitExceeded"}
    assert move.bob.get(2) == "LimitExceeded"
    assert move.bob.is_clean()


def test_a_move_that_is_cancelled_or_whose_source_is_lost() -> None:
    for what in ("cancel", "lost"):
        move = Move()
        waits = move.fetch(2)
        move.road.pump()
        if what == "cancel":
            move.bob.pair.near.cancel(waits, 0)
        else:
            move.road.near.end(RemoteProtocolError("gone"))
        move.pump()
        assert list(codes(waits).values()) == ["Cancelled" if what == "cancel" else "UnknownPeer"]
        assert is_done(waits)
        assert move.bob.is_clean()
        if what == "cancel":
            assert move.alice.executor.jobs == {}


def test_a_source_that_gives_no_tensor() -> None:
    for answer in ("nothing", "a document"):
        bob, source = Room(), Pair()
        bob.executor.converse = lambda life, key, near=source.near: near  # type: ignore[misc]
        waits = bob.send(["fetch", 2, [], {"from": b"a" * 8, "ticket": TICKET}])
        source.pump()
        (served, *_) = source.server.programs[0]
        if answer == "a document":
            source.far.values(served, [(0, wire.DOCUMENT, (1,), 0)], [b"\x80"])
        source.far.done(served)
        source.pump()
        bob.pair.pump()
        assert codes(waits) == {0: "Refused"}
        assert bob.is_clean()


def test_what_fails_once_fails_once() -> None:
    move = Move()
    move.alice.space.keep(1, np.zeros(2))
    move.offer(1)
    waits = move.fetch(2)
    deliver(move.road.far, pull(move.road.near))
    message = pull(move.road.far)
    deliver(move.road.near, message)
    move.road.near.end(RemoteProtocolError("gone"))  # after the value came
    move.pump()
    assert codes(waits) == {}
    assert is_done(waits)
    assert move.bob.is_clean()


def test_a_fetch_to_nowhere_poisons_its_result() -> None:
    room = Room()

    def nowhere(*args: Any) -> Any:
        raise RemoteProtocolError("no road")

    for number, converse in ((1, None), (2, nowhere)):
        room.executor.converse = converse
        asked = room.send(["fetch", number, [], {"from": b"a" * 8, "ticket": TICKET}], ["get", 0, [number]])
        assert set(codes(asked)) == {0, 1}
    assert room.is_clean()


def test_a_ticket_is_for_one_peer_once() -> None:
    room = Room()
    room.put(1, 1.0)
    room.send(["move", 0, [1], {"to": b"other!!!", "ticket": TICKET}])
    waits = room.send(["claim", 0, [], {"ticket": TICKET}])
    assert waits.happened == ["sent"]
    assert codes(room.send(["claim", 0, [], {"ticket": TICKET}])) == {0: "Refused"}
    assert codes(room.send(["move", 0, [1], {"to": b"other!!!", "ticket": TICKET}])) == {0: "Refused"}
    room.send(["move", 0, [1], {"to": MINE, "ticket": TICKET}])
    assert dict(waits.values)[0] == 1.0


def test_claims_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncsyft.executor.moves.MAX_CLAIMS", 3)
    room = Room()
    asked = room.send(*[["claim", 0, [], {"ticket": bytes([number]) * 16}] for number in range(5)])
    assert codes(asked) == {3: "LimitExceeded", 4: "LimitExceeded"}
    assert len(room.executor.moves._claimers) == 3
    room.executor.ended(room.pair.far)
    assert room.executor.moves._claimers == {}


# Heavy work.


class Gate(threading.Event):
    """What a thread waits for; ``begun`` says that it does."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = threading.Event()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """``sin`` is heavy, and does not return before the gate is open."""
    opened = Gate()

    def slow(x: Any) -> Any:
        opened.begun.set()
        assert opened.wait(10)
        return np.sin(x)

    monkeypatch.setattr(ops.OPS["sin"], "run", slow)
    monkeypatch.setattr(ops.OPS["sin"], "cost", lambda arrays, params: 1 << 40)
    return opened


async def idle(room: Room) -> None:
    """Until no program runs or waits."""
    done = anyio.Event()
    if room.executor.jobs:
        room.executor.on_idle = done.set
        with anyio.fail_after(10):
            await done.wait()
    room.pair.pump()


@pytest.mark.anyio
async def test_heavy_steps_run_in_a_thread_and_hold_up_their_lane_alone(gate: Gate) -> None:
    room = Room()
    async with anyio.create_task_group() as room.executor.tasks:
        room.put(1, np.ones(4))
        heavy = room.send(["get", 0, [1]], ["sin", 2, [1]], ["add", 3, [2, 2]], ["stats", 0, []], ["get", 0, [3]])
        behind = room.send(["get", 0, [1]])
        elsewhere = room.send(["add", 4, [1, 1]], ["get", 0, [4]], lane=2)
        other = Pair(room.executor)
        theirs = other.ask(Asked(0), [["stats", 0, []]])
        assert is_done(elsewhere)
        assert is_done(theirs)
        assert behind.happened == ["sent"]
        assert [step for step, _ in heavy.values] == [0]  # what it had so far is on its way
        gate.set()
        await idle(room)
    np.testing.assert_array_equal(dict(heavy.values)[4], 2 * np.sin(np.ones(4)))
    assert is_done(heavy)
    assert is_done(behind)
    assert room.is_clean()


@pytest.mark.anyio
async def test_a_step_behind_a_heavy_one_can_be_cancelled(gate: Gate) -> None:
    room = Room()
    async with anyio.create_task_group() as room.executor.tasks:
        room.put(1, np.ones(4))
        heavy = room.send(["sin", 2, [1]], ["add", 3, [1, 1]], ["get", 0, [2]], ["get", 0, [3]])
        assert await anyio.to_thread.run_sync(gate.begun.wait, 10)
        room.pair.near.cancel(heavy, 0)
        room.pair.near.cancel(heavy, 1)
        room.pair.pump()
        gate.set()
        await idle(room)
    assert codes(heavy) == {1: "Cancelled", 3: "Cancelled"}
    assert list(dict(heavy.values)) == [2]


@pytest.mark.anyio
async def test_a_conversation_that_ends_while_its_work_is_in_a_thread(gate: Gate) -> None:
    room = Room()
    async with anyio.create_task_group() as room.executor.tasks:
        room.put(1, np.ones(4))
        room.send(["sin", 2, [1]], ["get", 0, [2]])
        room.send(["add", 3, [1, 1]])
        room.pair.far.end(RemoteProtocolError("gone"))
        room.executor.ended(room.pair.far)
        assert room.executor.jobs == {}
        gate.set()
    assert sorted(room.space.objects) == [1, 2]  # what was queued behind it is dropped
    assert room.is_clean()


@pytest.mark.anyio
async def test_a_parked_program_whose_heavy_step_comes_first(gate: Gate) -> None:
    room = Room()
    async with anyio.create_task_group() as room.executor.tasks:
        release = room.upload(1, np.zeros(100_000))
        waits = room.send(["sin", 2, [1]], ["sum", 3, [2]], ["get", 0, [3]])
        after = room.send(["get", 0, [2]])
        release()
        assert waits.happened == ["sent"]
        gate.set()
        await idle(room)
    assert dict(waits.values)[2] == 0.0
    assert dict(after.values)[0].shape == (100_000,)
    assert room.is_clean()


@pytest.mark.anyio
async def test_real_heavy_work_and_errors_in_a_thread() -> None:
    room = Room()
    x = np.arange(160_000.0).reshape(400, 400)
    room.space.keep(1, x)
    async with anyio.create_task_group() as room.executor.tasks:
        asked = room.send(
            ["matmul", 2, [1, 1]], ["linalg.inv", 3, [2]], ["nothing", 4, [1]], ["get", 0, [2]], ["get", 0, [3]]
        )
        await idle(room)
    np.testing.assert_allclose(dict(asked.values)[3], x @ x)
    assert codes(asked)[2] == "UnknownOp"
    assert is_done(asked)
    assert room.is_clean()


# Hostile steps.

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 70) | st.sampled_from([-(1 << 63), 1 << 53, (1 << 64) - 1])
    | st.floats() | st.sampled_from(["", "x", "<f8", "|O", "|b1"]) | st.sampled_from([b"", MINE, TICKET]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "x"]), inner, max_size=2),
    max_leaves=6,
)  # fmt: skip
KEYS = [
    "dtype",
    "shape",
    "at",
    "query",
    "base",
    "most",
    "name",
    "tags",
    "to",
    "from",
    "ticket",
    "peer",
    "axis",
    "names",
    "state",
]
SPECIAL = [name for name in (getattr(program, key) for key in dir(program) if key.isupper()) if isinstance(name, str)]
names = st.sampled_from([*SPECIAL, "add", "sum", "zeros", "matmul", "unstack", "nothing", ""])
hostile = st.tuples(
    names,
    st.integers(0, 12) | plain,
    st.lists(st.integers(0, 12) | plain, max_size=3) | plain,
    st.dictionaries(st.sampled_from(KEYS), plain, max_size=4) | plain,
).map(list)


def fill(room: Room) -> None:
    for number, value in ((1, 1.0), (2, np.ones((2, 2))), (3, np.arange(4))):
        room.put(number, value)
    room.send(["add", 4, [98, 99]])
    room.store.load("x", np.zeros(3))


@given(st.lists(hostile | plain, max_size=6), st.booleans())
def test_no_step_gets_out_of_hand(steps: List[Any], with_pending: bool) -> None:
    room = Room(limit=1 << 20)
    fill(room)
    if with_pending:
        release = room.upload(5, np.zeros(40_000))
    asked = room.send(*steps, ["get", 0, [1]], body=[bytes(64)])
    if with_pending:
        release()
    assert set(codes(asked)) <= set(range(len(steps) + 1))
    assert is_done(asked) or room.executor.jobs  # a claim waits for its offer
    if is_done(asked):
        assert set(dict(asked.values)) | set(codes(asked)) >= {len(steps)}


@pytest.mark.parametrize("op", SPECIAL)
def test_special_steps_with_nothing_right(op: str) -> None:
    deep: Any = []
    for _ in range(400):
        deep = [deep]
    for outs in (0, 7, [7, 8], deep):
        for inputs in ([], [1], [99], [["<f8", 1.0]], [deep], None):
            for params in ({}, dict.fromkeys(KEYS, deep), dict.fromkeys(KEYS, -1), dict.fromkeys(KEYS, MAX_ID + 5)):
                room = Room()
                room.space.keep(1, np.zeros(()))
                asked = room.send([op, outs, inputs, params])
                assert is_done(asked)
                assert set(codes(asked)) <= {0}


def test_hostile_tags_and_searches() -> None:
    room = Room()
    fill(room)
    long, many = "x" * 257, ["x"] * 33
    for params in ({"name": long}, {"name": 1}, {"tags": many}, {"tags": [long]}, {"tags": "abc"}, {"tags": [None]}):
        assert codes(room.send(["tag", 0, [1], params])) == {0: "Refused"}
    good = {"query": ["x"], "base": 100, "most": 4}
    for change in (
        {"query": "x"}, {"query": [1]}, {"base": 0}, {"base": -1}, {"base": MAX_ID}, {"base": True}, {"base": 1},
        {"most": -1}, {"most": 1025}, {"most": None},
    ):  # fmt: skip
        assert codes(room.send(["search", 0, [], {**good, **change}])) == {0: "Refused"}, change
    assert not room.space.knows(100)


# Any program, in any pieces.

BINARY = ["add", "subtract", "multiply", "maximum"]
dags = st.lists(st.tuples(st.sampled_from(BINARY), st.integers(0, 99), st.integers(0, 99)), min_size=1, max_size=25)


def expected(dag: Sequence[Tuple[str, int, int]], inputs: Dict[int, Any]) -> Dict[int, Any]:
    """The same, by numpy, in order."""
    objects = dict(inputs)
    for op, one, two in dag:
        ids = sorted(objects)
        run = {"add": np.add, "subtract": np.subtract, "multiply": np.multiply, "maximum": np.maximum}[op]
        objects[len(objects) + 1] = run(objects[ids[one % len(ids)]], objects[ids[two % len(ids)]])
    return objects


def as_steps(dag: Sequence[Tuple[str, int, int]], count: int) -> List[Any]:
    steps = []
    for op, one, two in dag:
        steps.append([op, count + 1, [one % count + 1, two % count + 1]])
        count += 1
    return steps


@given(
    dags, st.lists(st.integers(1, 6), min_size=1), st.sets(st.integers(1, 3)), st.lists(st.integers(0, 40), max_size=3)
)
def test_any_cut_into_programs_gives_what_numpy_gives(
    dag: List[Tuple[str, int, int]], cuts: List[int], late: Any, releases: List[int]
) -> None:
    inputs = {number: np.arange(3000, dtype="<i8") % (number + 3) for number in (1, 2, 3)}
    wanted = expected(dag, inputs)
    room = Room()
    waiting: List[Callable[[], Asked]] = []
    for number, array in inputs.items():
        if number in late:
            waiting.append(room.upload(number, array))
        else:
            room.put(number, array)
    steps, asked = as_steps(dag, 3), []  # type: List[Any], List[Asked]
    used: Dict[int, int] = {}
    for at, step in enumerate(steps):
        used.update(dict.fromkeys(step[2], at))
    doomed = [number for number in used if number > 3 and used[number] < len(steps) - 1]
    turn = 0
    while steps:
        count = cuts[turn % len(cuts)]
        asked.append(room.send(*steps[:count]))
        steps = steps[count:]
        if waiting and turn in releases:
            waiting.pop()()
        turn += 1
    reads = {number: room.send(["get", 0, [number]]) for number in wanted}
    deletes = room.send(["delete", 0, doomed])
    for release in waiting:
        release()
    for number, value in wanted.items():
        np.testing.assert_array_equal(dict(reads[number].values)[0], value)
    assert all(is_done(request) and not codes(request) for request in [*asked, deletes, *reads.values()])
    assert sorted(room.space.objects) == sorted(set(wanted) - set(doomed))
    assert room.is_clean()


def test_the_short_way_and_the_long_way_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = np.arange(-4.0, 4.0), np.linspace(0, 2, 8)
    names = sorted(run_module._SHORT)

    def outcome() -> Dict[str, Any]:
        room = Room()
        room.put(1, x)
        room.put(2, y)
        found = {}
        for number, name in enumerate(names, 10):
            asked = room.send([name, number, [1, 2]])
            found[name] = codes(asked) or room.space.objects[number].tolist()
        return found

    short = outcome()
    monkeypatch.setattr(run_module, "_SHORT", {})
    long = outcome()
    assert len(short) > 20
    assert repr(short) == repr(long)
    assert any(isinstance(value, dict) for value in short.values())  # bitwise_and of floats


def test_failures_are_shared_and_not_copied() -> None:
    room = Room()
    room.send(["add", 1, [98, 99]], *[["add", number, [number - 1, number - 1]] for number in range(2, 50)])
    causes: List[Optional[Failure]] = [room.space.poisons.get(number) for number in range(1, 50)]
    assert all(cause is causes[0] for cause in causes)


class Heard:
    """Sessions that take what they are told."""

    def step(self, job: Any, step: Any) -> None:
        self.last = step.op

    def ended(self, conversation: Conversation) -> None:
        """Nothing to do."""


@pytest.mark.parametrize(("op", "ahead"), [("mpc.deal", PIECES_AHEAD), ("tag", CHUNKS_AHEAD)])
@pytest.mark.parametrize("relayed", [False, True])
def test_members_of_a_session_may_send_many_large_pieces_ahead(op: str, ahead: int, relayed: bool) -> None:
    room = Room()
    room.executor.sessions = Heard()
    for number, end in enumerate((room.pair.near, room.pair.far), 1):
        end.begin(number if relayed else 0)
    room.send([op, 0, [], {}], body=[bytes(LARGE_CHUNK)])
    lane = room.pair.far.lane(0)
    room_for_more = lane.allowed - lane.consumed
    assert lane.consumed > LARGE_CHUNK
    assert room_for_more == (WINDOW if relayed else ahead * lane.consumed)
