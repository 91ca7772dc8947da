"""Private data at a worker's process: what it may let out, and the person who decides at a terminal of its user."""

from __future__ import annotations

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Dict, List, Tuple

import anyio
import numpy as np
import pytest
from click.testing import CliRunner

import asyncsyft
from asyncsyft.cli.commands import asyncsyft as command
from asyncsyft.errors import AsyncSyftError
from asyncsyft.privacy import control
from tests.cli.kit import SECONDS, url_in

ROWS = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 7.0]])


@pytest.fixture
def home(tmp_path: Path) -> Dict[str, str]:
    """Where this user's sockets are."""
    np.save(tmp_path / "x.npy", ROWS)
    folder = tmp_path / "run"
    folder.mkdir(mode=0o700)
    return {"XDG_RUNTIME_DIR": str(folder)}


def requests(home: Dict[str, str], *words: str) -> Tuple[int, str]:
    """``asyncsyft requests`` as this user says it: its exit code, and all that it says."""
    result = CliRunner().invoke(command, ["requests", *words], env=home)
    return result.exit_code, result.output


def got(url: str, *work: Any) -> List[Any]:
    """What a driver gets of what it makes of x; refusals as texts."""

    async def main() -> List[Any]:
        found: List[Any] = []
        with anyio.fail_after(SECONDS):
            async with asyncsyft.connect(url, name="lab") as driver:
                (worker,) = driver.workers.values()
                (x,) = await worker.search("x")
                for one in work:
                    try:
                        found.append((await one(x).get()).tolist())
                    except AsyncSyftError as error:
                        found.append(str(error))
        return found

    return anyio.run(main)


def worker(start: Any, home: Dict[str, str], cwd: Path, *words: str, name: str = "alice") -> Tuple[Any, str]:
    process = start("worker", "--name", name, "--listen", "127.0.0.1:0", "--load", "x=x.npy", *words, env=home, cwd=cwd)
    return process, url_in(process.line())


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_a_person_decides(start: Any, run: Any, home: Dict[str, str], tmp_path: Path, loop: str) -> None:
    alice, url = worker(start, home, tmp_path, "--release", "ask", "--audit", "log", "--loop", loop)
    assert alice.line().split() == ["x", "<f8", "(3,", "2)", "release", "ask"]
    assert run("requests", "list", env=home) == (0, "nothing waits\n", "")
    with ThreadPoolExecutor(1) as other:
        answers = other.submit(got, url, lambda x: x.sum(0), lambda x: x[0], lambda x: x * 2)
        alice.error("lab asks for what is made of alice/x: request 1 waits for approval")
        code, out = requests(home, "list")
        assert code == 0
        words = out.split()
        assert (words[0], words[3:]) == ("1", ["lab", "get", "alice/x", "float64[2]"])
        (listed,) = json.loads(requests(home, "list", "--json")[1])
        assert (listed["id"], listed["rows"]) == (1, {"alice/x": 3})
        code, out = requests(home, "show", "1", "--worker", "alice")
        lines = out.splitlines()
        assert lines[0].startswith("request 1: lab wants to get float64[2], since 2")
        assert lines[1:] == ["made of: alice/x", "by: sum", "sums up: 3 rows of alice/x", "[ 9. 13.]"]
        assert requests(home, "approve", "1") == (0, "request 1 at alice: approved\n")
        alice.error("request 2 waits")
        assert requests(home, "approve", "1") == (
            1,
            "Error: no request 1 waits at alice: it was decided, or withdrawn\n",
        )
        assert requests(home, "deny", "2", "--why", "no rows")[1] == "request 2 at alice: denied\n"
        alice.error("request 3 waits")
        assert requests(home, "deny", "3")[0] == 0
        total, first, doubled = answers.result(SECONDS)
    assert total == [9.0, 13.0]
    assert "which is private there, and was denied: no rows" in first
    assert "denied" in doubled
    outcomes = [json.loads(line)["outcome"] for line in (tmp_path / "log").read_text().splitlines()]
    assert outcomes == ["found", "waits", "approved", "waits", "refused", "waits", "refused"]


def test_the_socket_is_for_its_own_user(start: Any, run: Any, home: Dict[str, str], tmp_path: Path) -> None:
    folder = Path(home["XDG_RUNTIME_DIR"], "asyncsyft")
    alice, _ = worker(start, home, tmp_path, "--release", "ask", name="al/ice")
    (socket,) = folder.iterdir()
    for path, mode in ((folder, 0o700), (socket, 0o600)):
        assert stat.S_IMODE(path.stat().st_mode) == mode
    code, _, errors = run(
        "worker", "--name", "al/ice", "--listen", "127.0.0.1:0", "--load", "x=x.npy", "--release", "ask", env=home,
        cwd=tmp_path,
    )  # fmt: skip
    assert (code, errors.startswith("Error: another worker answers there: ")) == (1, True)
    alice.signal(2)
    alice.end()
    assert not socket.exists()
    code, said = requests(home, "list")
    assert (code, "which worker? Of those that ask a person none is there" in said) == (2, True)
    assert "no worker answers at" in requests(home, "list", "--worker", "alice")[1]


def test_which_worker(start: Any, home: Dict[str, str], tmp_path: Path) -> None:
    for name in ("alice", "bob"):
        worker(start, home, tmp_path, "--release", "x=ask", name=name)
    worker(start, home, tmp_path, "--release", "never", name="carol")  # which asks nobody
    code, said = requests(home, "list")
    assert (code, "they are alice, bob: name one" in said) == (2, True)
    assert requests(home, "list", "--worker", "bob") == (0, "nothing waits\n")
    path = str(tmp_path / "own.sock")
    worker(start, home, tmp_path, "--control", path, name="dave")
    assert requests(home, "list", "--control", path) == (0, "nothing waits\n")


def test_a_policy_of_the_owner_s_own(start: Any, home: Dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "def release(asked):\n    return asked.rows >= 3 or 'rows are not for ' + asked.who\n"
    )
    _, url = worker(start, home, tmp_path, "--release", "never", "--release", "x=mine.py:release")
    total, first = got(url, lambda x: x.mean(0), lambda x: x[0])
    assert total == ROWS.mean(0).tolist()
    assert "which is private there (mine.py:release): rows are not for lab" in first


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--release", "y=ask"], "--release y=ask: nothing called y is loaded; loaded: x"),
        (["--share", "y"], "--share y: nothing called y is loaded; loaded: x"),
        (["--release", "sometimes"], "'sometimes' is no policy: never, ask, aggregate:100, training:100, always"),
        (["--release", "x=aggregate:none"], "aggregate needs the least number of rows, as aggregate:100"),
        (["--release", "x=missing.py:f"], "the policy missing.py:f cannot be imported: "),
    ],
)
def test_a_mistake_is_named(run: Any, home: Dict[str, str], tmp_path: Path, words: List[str], said: str) -> None:
    options = ["worker", "--name", "alice", "--listen", "127.0.0.1:0", "--load", "x=x.npy"]
    code, _, errors = run(*options, *words, cwd=tmp_path, env=home)
    assert code == 2
    assert said in " ".join(errors.split())


def test_a_folder_of_somebody_else_s_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert control.path_of("a/b").endswith("/asyncsyft/a%2Fb.control")
    (tmp_path / "asyncsyft").chmod(0o755)
    with pytest.raises(PermissionError):
        control.folder()
    (tmp_path / "asyncsyft").rmdir()
    (tmp_path / "other").mkdir(mode=0o700)
    os.symlink(tmp_path / "other", tmp_path / "asyncsyft")
    with pytest.raises(PermissionError):
        control.workers()


@pytest.mark.anyio
async def test_what_is_not_understood_is_answered(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            answer = asyncsyft.Worker("alice").requests.answer
            await tasks.start(control.serve, path, answer)
            for said, problem in (
                ({"do": "dance", "id": 1}, "not understood: 'dance'"),
                ({"do": "show"}, "a request has a number"),
                ({"do": "show", "id": 7}, "no request 7 waits at alice"),
                ([], "an object"),
                ("list", "an object"),
                ({"do": "list", "x": "y" * (control.MAX_LINE + 10)}, "a line is at most|ended the call|reset|Broken"),
            ):
                with pytest.raises((ValueError, OSError), match=problem):
                    await anyio.to_thread.run_sync(control.ask, path, said)
            async with await anyio.connect_unix(path) as stream:
                await stream.send(b"no json\n")
                assert b"error" in await stream.receive()
            async with await anyio.connect_unix(path) as stream:
                await stream.send(b"[" * 50_000 + b"\n")
                assert b"error" in await stream.receive()
            assert await anyio.to_thread.run_sync(control.ask, path, {"do": "list"}) == {
                "worker": "alice",
                "requests": [],
            }
            tasks.cancel_scope.cancel()
    assert not os.path.exists(path)  # noqa: ASYNC240
