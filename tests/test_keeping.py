"""What a worker keeps on disk: found again after a restart, by whom it belongs to, as it was when it was confirmed."""

from __future__ import annotations

import gc
import re
import sqlite3
import sys
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, AsyncIterator, Callable, Dict, Iterator, List, Optional, Tuple

import anyio
import numpy as np
import pytest
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream
from hypothesis import given
from hypothesis import strategies as st

from asyncsyft import Plan, State, Worker, connect, plan
from asyncsyft.driver import RemoteWorker
from asyncsyft.errors import LimitExceeded, OpFailed, Refused, UnknownObject, WorkerLost
from asyncsyft.identity import Key as PrivateKey
from asyncsyft.keeping.file import PIECE, File, Key, Record
from asyncsyft.tensor import DTYPES

pytestmark = pytest.mark.anyio

SECONDS = 50


@asynccontextmanager
async def alice(
    keep: Path, name: str = "lab", *, key: Optional[PrivateKey] = None, **options: Any
) -> AsyncIterator[Any]:
    """A worker for the time being, as a driver of that name sees it."""
    with anyio.fail_after(SECONDS):
        async with Worker("alice", listen="127.0.0.1:0", keep=keep, **options) as worker:
            async with connect(f"ws://{worker.address}", name, key=key) as driver:
                yield driver["alice"]


async def kept(keep: Path, name: str = "lab", *query: str, **options: Any) -> List[Any]:
    """What a driver of that name finds after one more restart."""
    async with alice(keep, name, **options) as worker:
        return [await x.get() for x in await worker.search(*query)]


@pytest.fixture
def keep(tmp_path: Path) -> Path:
    return tmp_path / "alice.kept"


def model() -> Tuple[State, Plan]:
    """A state, and a plan that adds to it and gives it doubled."""
    state = State("model", w=np.zeros(2), n=np.zeros((), "int64"))

    @plan(state=state)
    def add(state: Any, x: Any) -> Any:
        state.w = state.w + x
        state.n = state.n + 1
        return {"doubled": state.w * 2.0, "n": [state.n]}

    made: Plan = add
    return state, made


# Tensors.


async def test_a_named_tensor_of_any_dtype_and_shape(keep: Path) -> None:
    shapes: List[Tuple[int, ...]] = [(), (0, 3), (3,), (2, 1, 5)]
    sent = {f"{d}{s}": np.arange(np.prod(s, dtype=int)).reshape(s).astype(t) for d, t in DTYPES.items() for s in shapes}
    async with alice(keep) as worker:
        for name, array in sent.items():
            await worker.send(array, name=name, tags=["all", name[:3]])
        await worker.send(np.ones(3), tags=["all"])  # without a name
        await worker.driver.flush()
    async with alice(keep) as worker:
        found = {(await x.info())["nbytes"]: x for x in await worker.search("all", most=200)}
        assert found
        for name, array in sent.items():
            (there,) = await worker.search(name, "all")
            got = await there.get()
            assert got.dtype == array.dtype
            np.testing.assert_array_equal(got, array)
        assert len(await worker.search("all", most=200)) == len(sent)


async def test_a_large_tensor_in_several_pieces(keep: Path) -> None:
    ours = np.random.default_rng(0).normal(size=(5, 1 << 20))  # 40 MiB
    assert ours.nbytes > 8 * PIECE
    async with alice(keep) as worker:
        await worker.send(ours, name="large")
    (there,) = await kept(keep, "lab", "large")
    np.testing.assert_array_equal(there, ours)


async def test_what_is_computed_can_be_named_too_and_used_on(keep: Path) -> None:
    async with alice(keep) as worker:
        x = await worker.send(np.arange(4.0))
        (x * x).tag("squares", name="y")
        await worker.driver.flush()
    async with alice(keep) as worker:
        (y,) = await worker.search("squares")
        assert float(await (y + 1.0).sum().get()) == 18.0


async def test_it_is_found_once_whether_named_in_this_life_or_before(keep: Path) -> None:
    async with alice(keep) as worker:
        x = await worker.send(np.arange(4.0), name="x")
        assert len(await worker.search("x")) == len(await worker.search("x")) == 1
        del x
    async with alice(keep) as worker:
        first = await worker.search("x")
        assert len(first) == len(await worker.search("x")) == 1
        np.testing.assert_array_equal(await first[0].get(), np.arange(4.0))


async def test_the_latest_under_a_name_stays(keep: Path) -> None:
    async with alice(keep) as worker:
        for value in range(3):
            await worker.send(np.full(2, value), name="x")
        await worker.driver.flush()
    (there,) = await kept(keep, "lab", "x")
    assert there.tolist() == [2, 2]


async def test_a_tensor_that_is_named_anew_has_one_name(keep: Path) -> None:
    async with alice(keep) as worker:
        x = await worker.send(np.arange(2.0), name="old")
        x.tag(name="new")
        y = await worker.send(np.arange(2.0), name="no more")
        y.tag("nameless")
        await worker.driver.flush()
    assert await kept(keep, "lab", "old") == []
    assert await kept(keep, "lab", "no more") == await kept(keep, "lab", "nameless") == []
    assert len(await kept(keep, "lab", "new")) == 1


@pytest.mark.parametrize("alias", [False, True], ids=["the tensor itself", "one that was searched for"])
async def test_deleting_is_for_ever_forgetting_is_not(keep: Path, alias: bool) -> None:
    async with alice(keep) as worker:
        for name in ("deleted", "forgotten"):
            handle = await worker.send(np.ones(2), name=name)
            if alias:
                (handle,) = await worker.search(name)
            if name == "deleted":
                handle.delete()
        del handle
        gc.collect()
        await worker.driver.flush()
        assert await worker.search("deleted") == []
        assert len(await worker.search("forgotten")) == 1
    assert await kept(keep, "lab", "deleted") == []
    assert len(await kept(keep, "lab", "forgotten")) == 1


async def test_deleting_one_does_not_touch_another_that_has_its_name_now(keep: Path) -> None:
    async with alice(keep) as worker:
        before = await worker.send(np.zeros(2), name="x")
        await worker.send(np.ones(2), name="x")
        before.delete()
        await worker.driver.flush()
    (there,) = await kept(keep, "lab", "x")
    assert there.tolist() == [1, 1]


async def test_the_worker_s_own_data_is_not_kept(keep: Path) -> None:
    async with Worker("alice", listen="127.0.0.1:0", keep=keep) as worker:
        worker.load("own", np.ones(3))
    assert await kept(keep, "lab", "own") == []


# Whose it is.


async def test_only_who_named_it_finds_it(keep: Path) -> None:
    mine, other = PrivateKey.new(), PrivateKey.new()
    state, add = model()
    async with alice(keep, "lab") as worker:
        await worker.send(np.zeros(1), name="x")
        add(worker.ones((2,)))
        await worker.driver.flush()
    async with alice(keep, "lab", key=mine) as worker:
        await worker.send(np.ones(1), name="x")
        await worker.driver.flush()

    async def finds(name: str, key: Optional[PrivateKey] = None) -> List[float]:
        return [float(x[0]) for x in await kept(keep, name, "x", key=key)]

    assert await finds("lab") == [0.0]
    assert await finds("lab", mine) == await finds("another name", mine) == [1.0]
    assert await finds("lab", other) == await finds("other") == []
    async with alice(keep, "other") as worker:
        assert await worker.plans() == []
        assert not await state.recall(worker)
        with pytest.raises(UnknownObject, match="alice keeps no plan 'add'"):
            await Plan.recall(worker, "add")
    async with alice(keep, "lab") as worker:
        assert {entry["kind"] for entry in await worker.plans()} == {"plan", "state"}


# States and plans.


async def test_a_state_goes_on_where_it_was(keep: Path) -> None:
    state, add = model()
    for life in range(3):
        async with alice(keep) as worker:
            x = worker.ones((2,))
            for _ in range(5):
                add(x)
            assert (await add(x)["n"][0].get()).item() == 6 * (life + 1)
    again, _ = model()
    async with alice(keep) as worker:
        assert await again.recall(worker)
        np.testing.assert_array_equal((await again.get(worker))["w"], [18.0, 18.0])
        again.set(worker, w=np.full(2, 0.5))
        await worker.driver.flush()
    async with alice(keep) as worker:  # both are the same state now
        for one in (state, again):
            np.testing.assert_array_equal((await one.get(worker))["w"], [0.5, 0.5])


async def test_another_state_of_the_name_takes_its_place(keep: Path) -> None:
    state, add = model()
    async with alice(keep) as worker:
        add(worker.ones((2,)))
        await worker.driver.flush()
    other, add = model()
    async with alice(keep) as worker:
        np.testing.assert_array_equal((await other.get(worker))["w"], [0, 0])
    async with alice(keep) as worker:
        assert await state.recall(worker)
        np.testing.assert_array_equal((await state.get(worker))["w"], [0, 0])


async def test_a_state_that_differs_is_not_recalled(keep: Path) -> None:
    state, _ = model()
    async with alice(keep) as worker:
        await state.get(worker)
        with pytest.raises(TypeError, match="alice keeps another state under the name 'model'"):
            await State("model", w=np.zeros(3)).recall(worker)
        assert not await State("unheard of", w=np.zeros(3)).recall(worker)
    async with alice(keep, max_plan_steps=100) as worker:
        assert await state.recall(worker)


async def test_a_plan_comes_back_with_its_state_and_constants(keep: Path) -> None:
    _, add = model()
    table = np.arange(10.0)

    @plan(version=3)
    def look_up(x: Any) -> Any:
        return x + table, {"sum": (x * table).sum()}

    async with alice(keep) as worker:
        one = await worker.send(np.ones(2))
        assert (await add(one)["doubled"].get()).tolist() == [2, 2]
        look_up(worker.ones((10,)))
        look_up(worker.ones((1,)))
        await worker.driver.flush()
    async with alice(keep) as worker:
        again, found = await Plan.recall(worker, "add"), await Plan.recall(worker, "look_up")
        assert (found.version, found.state, len(found.recorded)) == (3, None, 2)
        assert (await again(worker.ones((2,)))["doubled"].get()).tolist() == [4, 4]
        for size in (1, 10):
            result, rest = found(worker.ones((size,)))
            np.testing.assert_array_equal(await result.get(), 1 + table)
            assert float(await rest["sum"].get()) == 45.0
        assert len(await worker.plans()) == 4  # nothing was stored again
        with pytest.raises(TypeError, match="was recorded for"):
            found(worker.ones((3,)))


async def test_another_version_of_a_plan_takes_its_place(keep: Path) -> None:
    async with alice(keep) as worker:
        for version in (1, 2):
            wanted = plan(lambda x, version=version: x + float(version), name="shift", version=version)
            wanted(worker.ones((2,)))
            wanted(worker.ones((version + 5,)))
            await worker.driver.flush()
    async with alice(keep) as worker:
        found = await Plan.recall(worker, "shift")
        assert (found.version, len(found.recorded)) == (2, 2)
        assert (await found(worker.ones((2,))).get()).tolist() == [3, 3]


async def test_plans_and_states_are_forgotten_when_that_is_said(keep: Path) -> None:
    state, add = model()
    async with alice(keep) as worker:
        add(worker.ones((2,)))
        add.forget(worker)
        state.forget(worker)
        await worker.driver.flush()
        assert await worker.plans() == []
    async with alice(keep) as worker:
        assert await worker.plans() == []


async def test_a_long_plan_is_kept_from_a_thread(keep: Path) -> None:
    @plan
    def long(x: Any) -> Any:
        for _ in range(2000):
            x = x + 1.0
        return x

    async with alice(keep) as worker:
        long(worker.ones((2,)))
        await worker.driver.flush()
    async with alice(keep) as worker:
        again = await Plan.recall(worker, "long")
        assert (await again(worker.ones((2,))).get()).tolist() == [2001, 2001]


async def test_hostile_steps_fail_alone(keep: Path) -> None:
    wrong: List[Dict[str, Any]] = [
        {}, {"kind": "array", "name": "x", "base": 100, "most": 1}, {"kind": "plan", "name": 7, "base": 100, "most": 1},
        {"kind": "plan", "name": "x", "base": 0, "most": 1}, {"kind": "plan", "name": "x", "base": 9, "most": 1 << 20},
        {"kind": "state", "name": "model", "base": 100, "most": 1, "mark": "text"},
        {"kind": "state", "name": "model", "base": 100, "most": 1, "mark": bytes(65)},
    ]  # fmt: skip
    state, _ = model()
    async with alice(keep) as worker:
        x = await worker.send(np.ones(2))
        await state.get(worker)
        for params in wrong:
            with pytest.raises(Refused):
                await worker.recorder.ask(["recall", 0, [], params])
        params = {"kind": "state", "name": "model", "base": worker.driver.new_ids(2), "most": 0}
        with pytest.raises(LimitExceeded, match="needs more than 0 ids"):
            await worker.recorder.ask(["recall", 0, [], params])
        number = worker.driver.new_id()
        worker.recorder.record(["state", number, [x.id], {"name": "s", "names": ["w"], "mark": bytes(65)}])
        with pytest.raises(Refused, match="'mark' is at most 64 bytes"):
            await worker.driver.flush()
        assert (await x.get()).tolist() == [1, 1]


# Room, and a disk that fails.


async def test_what_is_kept_counts(keep: Path) -> None:
    async with alice(keep, limit=100_000) as worker:
        x = await worker.send(np.ones(5000), name="x")  # 40,000 bytes, and as many kept
        await worker.driver.flush()
        for _ in range(5):
            x.tag("again", name="x")
        await worker.driver.flush()
        y = await worker.send(np.ones(1500))
        y.tag(name="y")
        with pytest.raises(LimitExceeded):
            await worker.driver.flush()
        x.delete()
        y.tag(name="y")
        await worker.driver.flush()
    with pytest.raises(LimitExceeded, match="holds more than the worker's limit"):
        await kept(keep, limit=7000)
    assert len(await kept(keep, "lab", "y")) == 1


async def test_names_of_nothing_are_bounded_too(keep: Path) -> None:
    async with alice(keep, limit=100 << 10) as worker:
        for number in range(200):
            await worker.send(np.empty(0), name=f"nothing {number}")
        with pytest.raises(LimitExceeded):
            await worker.driver.flush()


async def test_a_write_that_fails_is_told_and_tried_again(keep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, broken = File.write, [True]

    def fails(self: File, changes: Any) -> None:
        if broken:
            raise OSError("no space left")
        write(self, changes)

    monkeypatch.setattr(File, "write", fails)
    async with alice(keep) as worker:
        x = await worker.send(np.ones(2), name="x")
        with pytest.raises(OpFailed, match="could not write it to its disk: no space left"):
            await worker.driver.flush()
        assert (await x.get()).tolist() == [1, 1]
        broken.clear()
        await worker.send(np.ones(2), name="y")
        await worker.driver.flush()
    assert len(await kept(keep, "lab", "x")) == len(await kept(keep, "lab", "y")) == 1


# Files that are something else.


async def refused(keep: Path, problem: str, kind: type = ValueError, **options: Any) -> None:
    with pytest.raises(kind, match=problem):
        await kept(keep, **options)


def letter(path: Path) -> None:
    path.write_text("a letter to somebody, rather long, so that it is no empty file" * 100)


def accounts(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE accounts (id INTEGER)")
    db.commit()
    db.close()


@pytest.mark.parametrize(
    ("make", "problem"),
    [(letter, "no file of what a worker keeps, or is damaged"), (accounts, "a database of something else")],
)
def test_another_kind_of_file_is_refused_and_let_be(keep: Path, make: Callable[[Path], None], problem: str) -> None:
    make(keep)
    before = keep.read_bytes()
    with pytest.raises(ValueError, match=problem):
        read(keep)
    assert keep.read_bytes() == before


async def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    await refused(tmp_path, "is no file")
    await refused(tmp_path / "no folder" / "x", "No such file", FileNotFoundError)


async def test_another_form_of_the_file_is_refused(keep: Path) -> None:
    await kept(keep)
    db = sqlite3.connect(keep)
    db.execute("PRAGMA user_version = 99")
    db.close()
    await refused(keep, "has form 99, and this asyncsyft knows 2 at most")


async def test_a_file_that_is_in_use_is_refused(keep: Path) -> None:
    async with alice(keep) as worker:
        await worker.send(np.ones(2), name="x")
        await worker.driver.flush()
        await refused(keep, "another worker has it in use", OSError)
        await worker.send(np.ones(2), name="y")
        await worker.driver.flush()
    assert len(await kept(keep, "lab", "y")) == 1


async def test_only_its_owner_may_read_the_file(keep: Path) -> None:
    await kept(keep)
    assert (await anyio.Path(keep).stat()).st_mode & 0o777 == 0o600


async def test_a_flipped_bit_in_a_tensor_is_noticed(keep: Path) -> None:
    async with alice(keep) as worker:
        await worker.send(np.full(1000, 7, "uint8"), name="x")
        await worker.driver.flush()
    file = anyio.Path(keep)
    data = bytearray(await file.read_bytes())
    data[data.index(bytes([7]) * 1000) + 500] ^= 1
    await file.write_bytes(data)
    await refused(keep, "is damaged: the bytes of an array are not those that were written")


RECORDS = {
    Key(b"name lab", "array", "x"): Record({"tags": ["a"]}, {"": np.arange(100.0)}),
    Key(b"key k", "state", "s"): Record(
        {"version": 3, "marks": [b"m"]}, {"w": np.ones((3, 4), "f4"), "b": np.zeros(())}
    ),
    Key(b"key k", "plan", "p", b"part"): Record({}, {"0": np.arange(3000, dtype="u1"), "1": np.empty(0)}),
}


def read(path: Path) -> Dict[Key, Record]:
    with opened(path) as file:
        return dict(file.load(1 << 30))


@contextmanager
def opened(path: Path) -> Iterator[File]:
    file = File(str(path))
    try:
        file.open()
        yield file
    finally:
        file.close()


def plain(records: Dict[Key, Record]) -> Any:
    return {
        k: (r.about, {n: (a.dtype.str, a.shape, a.tobytes()) for n, a in r.arrays.items()}) for k, r in records.items()
    }


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("kept") / "intact"
    with opened(path) as file:
        file.write(RECORDS.items())
    assert plain(read(path)) == plain(RECORDS)
    return path.read_bytes()


@given(
    flips=st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(1, 255)), min_size=1, max_size=3),
    cut=st.one_of(st.none(), st.integers(1, 1 << 20)),
)
def test_a_damaged_file_is_refused_or_says_the_same(intact: bytes, flips: Any, cut: Optional[int]) -> None:
    broken = bytearray(intact)
    for at, bits in flips:
        broken[at % len(intact)] ^= bits
    with TemporaryDirectory() as folder:
        path = Path(folder) / "broken"
        path.write_bytes(broken[: cut and cut % len(intact) + 1])
        try:
            found = read(path)
        except (ValueError, OSError, LimitExceeded):
            return
    assert plain(found) == plain(RECORDS)


keys = st.builds(Key, st.sampled_from([b"a", b"b"]), st.sampled_from(["array", "plan"]), st.sampled_from(["x", "y"]))
changes = st.lists(st.tuples(keys, st.one_of(st.none(), st.integers(0, 99))), max_size=6)


@given(batches=st.lists(changes, max_size=4))
def test_the_file_is_what_was_written_to_it_last(tmp_path_factory: pytest.TempPathFactory, batches: Any) -> None:
    path, model = tmp_path_factory.mktemp("kept") / "file", {}  # type: Path, Dict[Key, int]
    for batch in batches:
        with opened(path) as file:
            file.write((key, None if n is None else Record({"n": n}, {"": np.arange(n)})) for key, n in batch)
        for key, n in batch:
            model.pop(key, None)
            model.update({} if n is None else {key: n})
    with opened(path) as file:
        found = list(file.load(1 << 30))
    assert [(key, record.about["n"]) for key, record in found] == list(model.items())
    assert all(record.arrays[""].tolist() == list(range(record.about["n"])) for _, record in found)


# A process that is killed.


@asynccontextmanager
async def process(keep: Path) -> AsyncIterator[Tuple[str, Process]]:
    """A worker as a process, and where it listens. It is killed when that is over."""
    command = [sys.executable, "-m", "asyncsyft", "worker", "--name", "alice", "--listen", "127.0.0.1:0", "--keep"]
    async with await anyio.open_process([*command, str(keep)], stderr=None) as running:
        try:
            assert running.stdout is not None
            said = await BufferedByteReceiveStream(running.stdout).receive_until(b"\n", 1000)
            found = re.search(r"ws://[\d.:]+", said.decode())
            assert found is not None, said
            yield found.group(), running
        finally:
            with suppress(ProcessLookupError):
                running.kill()


async def train(worker: RemoteWorker, add: Plan, rounds: int) -> int:
    n = [add(worker.ones((2,)))["n"][0] for _ in range(rounds)][-1]
    return int(await n.get())


async def test_what_was_confirmed_outlives_a_kill(keep: Path) -> None:
    state, add = model()
    large = np.arange(1_000_000.0)
    with anyio.fail_after(60):
        async with process(keep) as (url, running), connect(url, "lab", resume_grace=0) as driver:
            await driver["alice"].send(large, name="large")
            y = (await driver["alice"].send(np.arange(3.0))).tag(name="y")
            assert await train(driver["alice"], add, 50) == 50
            await driver.flush()
            running.kill()
            with pytest.raises(WorkerLost):
                while True:
                    await y.get()
        async with process(keep) as (url, _), connect(url, "lab", resume_grace=0) as driver:
            worker = driver["alice"]
            (there,) = await worker.search("large")
            np.testing.assert_array_equal(await there.get(), large)
            assert len(await worker.search("y")) == 1
            assert await train(worker, add, 10) == 60  # the same state goes on
        async with process(keep) as (url, _), connect(url, "lab") as driver:
            found = await Plan.recall(driver["alice"], "add")
            assert (await found(driver["alice"].ones((2,)))["n"][0].get()).item() in range(51, 62)
