"""``python -m benchmarks transport|scale|chaos|bridge|mpc|...``: a table for people, a JSON object for programs."""

from __future__ import annotations

import argparse
import sys
from typing import Dict, Protocol, Tuple

from benchmarks import bridge, chaos, mpc, page, scale, throttle, transport


class Command(Protocol):
    """What a module of this table defines."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def main(self, asked: argparse.Namespace) -> int: ...


COMMANDS: Dict[str, Tuple[Command, str]] = {
    "transport": (transport, "asyncsyft and its peers side by side"),
    "scale": (scale, "one relay with 1 to 5,000 workers, and tensors of all sizes"),
    "chaos": (chaos, "cut links and a killed relay under load: nothing lost, doubled, hung or leaked"),
    "bridge": (bridge, "PySyft 0.2.9 on the bridge, beside PySyft's own workers"),
    "mpc": (mpc, "secure computation by two parties and a dealer, beside CrypTen"),
    "throttle": (throttle, "a TCP proxy of limited bandwidth, with delay"),
    "page": (page, "fill docs/benchmarks.md and its pictures from the JSON of runs"),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (module, what) in COMMANDS.items():
        module.add_arguments(commands.add_parser(name, help=what, description=what))
    asked = parser.parse_args()
    try:
        return COMMANDS[asked.command][0].main(asked)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
