"""Ways round a label: each ends in a refusal that names the label and holds no value, or in nothing at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Awaitable, Callable, Dict, List

import numpy as np
import pytest

import asyncsyft
from asyncsyft import State, plan
from asyncsyft.driver import RemoteWorker
from asyncsyft.errors import AsyncSyftError, SessionError
from asyncsyft.identity import Challenge, Key, key_text
from asyncsyft.remote import RemoteTensor
from tests.journeys.kit import Town, bystander, town
from tests.journeys.test_sealed import KEYS, PINS, place

pytestmark = pytest.mark.anyio

#: Values that nobody makes up, in a singular matrix, with indices within and out of range.
PRIVATE = np.array([[73.25, 53.75], [146.5, 107.5], [0.0, -3.0]])
SHOWN = ("73.25", "53.75", "146.5", "107.5")

Attempt = Callable[[RemoteTensor, RemoteWorker], Awaitable[Any]]
OPS: Dict[str, Callable[[RemoteTensor, RemoteWorker], Any]] = {
    "as it is": lambda x, w: x,
    "an element": lambda x, w: x[0, 0],
    "a row": lambda x, w: x[1],
    "arithmetic": lambda x, w: x * 1.0 + 0.0,
    "a sum": lambda x, w: x.sum(),
    "a mean by rows": lambda x, w: x.mean(0),
    "a product with a one-hot": lambda x, w: x.T @ np.array([0.0, 1.0, 0.0]),
    "one bit": lambda x, w: (x > 60).astype("int8"),
    "any": lambda x, w: (x > 60).any(),
    "a place": lambda x, w: x.argmax(),
    "a selection by it": lambda x, w: w.call("where", x > 60, 1.0, 0.0),
    "another shape": lambda x, w: x.reshape((6,)),
    "another dtype": lambda x, w: x.astype("int64"),
    "zeros of its shape, and it": lambda x, w: w.call("zeros_like", x) + x,
    "with public data": lambda x, w: w.call("concat", [x, w.call("ones", (3, 2))]),
    "sorted": lambda x, w: w.call("sort", x),
    "an index into public data": lambda x, w: w.call("take", w.call("arange", 200), x[:, 0].astype("int64")),
    "an inverse that there is not": lambda x, w: w.call("linalg.inv", x[:2, :2]),
    "a failure if it is singular": lambda x, w: w.call("linalg.solve", x[:2, :2], w.call("ones", 2)),
    "an index out of range": lambda x, w: w.call("take", w.call("arange", 3), x[:, 0].astype("int64")),
    "how many it has that are not zero": lambda x, w: w.call("nonzero", x)[0],
    "how many differ": lambda x, w: w.call("unique_values", x),
    "a mask": lambda x, w: x[x > 60],
}


def revealing(error: AsyncSyftError) -> List[str]:
    """What of the values an error shows."""
    return [word for word in SHOWN if word in str(error)]


@pytest.mark.parametrize("way", OPS)
async def test_by_ops(way: str) -> None:
    async with town("memory", "alice") as made, bystander(made) as honest, made.connect("mallory") as driver:
        x = await loaded(made, driver)
        with pytest.raises(AsyncSyftError) as caught:
            await OPS[way](x, driver["alice"]).get()
        assert "private" in str(caught.value)
        assert revealing(caught.value) == []
        await driver.flush()  # that was all: no failure told anything else
        await honest.goes_on()


async def loaded(made: Town, driver: Any) -> RemoteTensor:
    made.workers["alice"].load("x", PRIVATE, release="never")
    (worker,) = await driver.wait_for("alice")
    (x,) = await worker.search("x")
    return x


async def test_values_decide_over_no_failure() -> None:
    """Of two data sets alike in form, steps fail alike: here one is singular, and one is not."""
    async with town("memory", "alice") as made, made.connect("mallory") as driver:
        alice = made.workers["alice"]
        alice.load("singular", PRIVATE[:2])
        alice.load("regular", np.eye(2))
        (worker,) = await driver.wait_for("alice")
        told = []
        for name in ("singular", "regular"):
            (x,) = await worker.search(name)
            said: List[Any] = []
            for ask in (
                *(lambda y=y: y.get() for y in (worker.call("linalg.inv", x), worker.call("linalg.cholesky", x))),
                lambda x=x: worker.call("linalg.inv", x).info(),
                lambda x=x: worker.call("unique_values", x).info(),
                driver.flush,
            ):
                try:
                    found = await ask()  # type: ignore[operator]
                    said.append({word: found[word] for word in ("dtype", "shape")} if found else None)
                except AsyncSyftError as error:
                    said.append(str(error).replace(name, "x").split(" [recorded")[0])
            told.append(said)
        assert told[0] == told[1]


async def by_plan(x: RemoteTensor, worker: RemoteWorker) -> Any:
    @plan
    def same(y: Any) -> Any:
        return y * 1

    return await same(x).get()


async def by_a_plan_within(x: RemoteTensor, worker: RemoteWorker) -> Any:
    @plan
    def inner(y: Any) -> Any:
        return y + 0

    @plan
    def outer(y: Any) -> Any:
        return inner(y) * 1

    return await outer(x).get()


async def by_state(x: RemoteTensor, worker: RemoteWorker) -> Any:
    model = State("model", w=np.zeros((3, 2)))

    @plan(state=model)
    def keep(state: Any, y: Any) -> Any:
        state.w = y * 1
        return state.w.sum()

    keep(x)
    return await model.get(worker)


async def by_a_state_that_was_private_once(x: RemoteTensor, worker: RemoteWorker) -> Any:
    model = State("model", w=np.zeros((3, 2)))

    @plan(state=model)
    def keep(state: Any, y: Any) -> Any:
        state.w = y * 1
        return y.sum()

    @plan(state=model)
    def show(state: Any, y: Any) -> Any:
        return state.w * y

    keep(x)
    return await show(worker.call("ones", (3, 2))).get()


async def by_sharing(x: RemoteTensor, worker: RemoteWorker) -> Any:
    x.allow("mallory", "get")
    return [await found.get() for found in await worker.search("x")]


WAYS: Dict[str, Attempt] = {
    "a plan": by_plan,
    "a plan within a plan": by_a_plan_within,
    "a state": by_state,
    "a state, read by another plan": by_a_state_that_was_private_once,
    "leave to have it": by_sharing,
}


@pytest.mark.parametrize("way", WAYS)
async def test_by_plans_states_and_leave(way: str) -> None:
    async with town("memory", "alice") as made, bystander(made) as honest, made.connect("mallory") as driver:
        x = await loaded(made, driver)
        with pytest.raises(AsyncSyftError, match="alice/x") as caught:
            await WAYS[way](x, driver["alice"])
        assert revealing(caught.value) == []
        await honest.goes_on()


async def test_by_a_move_to_a_worker_of_ones_own() -> None:
    async with town("memory", "alice", "mallorys") as made, bystander(made), made.connect("mallory") as driver:
        x = await loaded(made, driver)
        (mine,) = await driver.wait_for("mallorys")
        for thing in (x, x * 2, x[0]):
            with pytest.raises(AsyncSyftError, match="alice/x") as caught:
                await thing.move(mine).get()
            assert revealing(caught.value) == []
        held = [a for s in made.workers["mallorys"].store.spaces.values() for a in s.objects.values()]
        assert not [array for array in held if array.size == PRIVATE.size]


async def test_by_a_session() -> None:
    async with town("memory", "alice", "bob", "dealer") as made, made.connect("mallory") as driver:
        x = await loaded(made, driver)
        alice, bob, dealer = await driver.wait_for("alice", "bob", "dealer")
        with pytest.raises(SessionError, match="alice/x") as caught:
            async with asyncsyft.MPC(parties=[alice, bob], dealer=dealer, insecure=True) as mpc:
                await (await mpc.share(x)).reveal()
        assert revealing(caught.value) == []


async def test_what_is_told_of_it_is_its_form() -> None:
    async with town("memory", "alice") as made, made.connect("mallory") as driver:
        x = await loaded(made, driver)
        info = await x.info()
        info.pop("id", None)
        assert set(info) <= {"kind", "dtype", "shape", "nbytes", "name", "tags", "private", "labels"}, info
        assert not [word for word in SHOWN if word in str(info) + repr(x) + str(await driver["alice"].stats())]
        for convert in (bool, float, int):
            with pytest.raises(TypeError):
                convert(x)


async def test_a_name_that_looks_like_a_key_is_no_key() -> None:
    """What is allowed to who holds a key is not found by who is only called what the key is."""
    key = Key.new()
    text = key_text(key.public)
    async with town("memory", "alice") as made, made.connect("victim") as victim:
        (worker,) = await victim.wait_for("alice")
        x = (await worker.send(PRIVATE, name="x")).allow(text)
        await victim.flush()
        async with made.connect(text) as mallory, made.connect("carol", key=key) as carol:
            assert await (await mallory.wait_for("alice"))[0].search("x") == []
            assert len(await (await carol.wait_for("alice"))[0].search("x")) == 1
        x.delete()


async def test_what_was_said_sealed_is_not_told_in_the_clear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relay that says of somebody that it has another's key gets nothing that is kept for that key, or allowed it."""
    stolen = Key.new()
    stolen.public = KEYS["me"].public
    monkeypatch.setattr(Challenge, "check", lambda *_: None)  # the relay's: it lets in whom it likes
    async with place() as made:
        await made.worker("alice", known_peers=None, keep=tmp_path / "kept")
        async with made.driver(key=KEYS["other"], name="other") as other:
            (worker,) = await other.wait_for("alice")
            lent = (await worker.send(PRIVATE, name="lent")).allow(PINS["me"])
            await other.flush()
            async with made.driver() as driver:
                (worker,) = await driver.wait_for("alice")
                await worker.send(PRIVATE, name="kept")
                await driver.flush()
            async with made.driver() as driver:
                (worker,) = await driver.wait_for("alice")
                assert [len(await worker.search(name)) for name in ("kept", "lent")] == [1, 1]
            async with made.driver(key=stolen, known_peers=None) as mallory:
                (worker,) = await mallory.wait_for("alice")
                assert [await worker.search(name) for name in ("kept", "lent")] == [[], []]
            lent.delete()
