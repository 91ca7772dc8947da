"""What ``asyncsyft worker`` lets out of the data that it loads, and where it writes that down."""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterable, List, Optional, Sequence, TypeVar

import click

from ..privacy import NEVER, Policy, control, policy_of

F = TypeVar("F", bound=Callable[..., Any])


def options(command: F) -> F:
    """--release, --share, --audit and --control."""
    path = click.Path(dir_okay=False)
    for option in (
        click.option(
            "--control",
            type=path,
            metavar="FILE",
            help="The Unix socket for `asyncsyft requests`; one of this user's own folder if a policy asks a person.",
        ),
        click.option(
            "--audit", type=path, metavar="FILE", help="Write a line of JSON here for each get, move and search."
        ),
        click.option(
            "--share",
            multiple=True,
            metavar="NAME",
            help="What may be shared in MPC sessions, whose results are for the driver to reveal; repeatable.",
        ),
        click.option(
            "--release",
            multiple=True,
            metavar="[NAME=]POLICY",
            help="What may leave of what is loaded, and of what is made of it: never (which it is otherwise), ask, "
            "aggregate:K, training:K, always, or module:function of your own; repeatable.",
        ),
    ):
        command = option(command)
    return command


def policies(names: Sequence[str], release: Iterable[str]) -> Dict[str, Policy]:
    """The policy of each name that is loaded. Raises: click.UsageError, naming the option."""
    found = dict.fromkeys(names, policy_of(NEVER))
    for item in sorted(release, key=lambda item: "=" in item):  # what is for all comes first
        name, _, text = item.rpartition("=")
        try:
            policy = policy_of(text)
        except ValueError as error:
            raise click.UsageError(f"--release {item}: {error}") from None
        found.update(dict.fromkeys(_meant("--release", item, name, names) if name else names, policy))
    return found


def shared(names: Sequence[str], share: Iterable[str]) -> List[str]:
    """The names that may be shared in sessions. Raises: click.UsageError."""
    return [name for item in share for name in _meant("--share", item, item, names)]


def _meant(option: str, item: str, name: str, names: Sequence[str]) -> List[str]:
    """The names that one stands for: its own, or those of all arrays of its file. Raises: click.UsageError."""
    found = [one for one in names if one == name or one.startswith(f"{name}.")]
    if not found:
        raise click.UsageError(
            f"{option} {item}: nothing called {name} is loaded; loaded: {', '.join(names) or 'none'}"
        )
    return found


def control_at(name: str, path: Optional[str], asks: Iterable[Policy]) -> Optional[str]:
    """Where a worker's socket is, if it has one. Raises: OSError."""
    if path is not None or not any(policy.asks for policy in asks):
        return path
    return control.path_of(name)
