"""Write the vectors, or check that what is written is what the code does. It knows no vector itself."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Callable, Dict

from . import data, frames, plans, seals, talks
from .plain import same

FOLDER = Path(__file__).resolve().parent.parent / "v1"
FILES: Dict[str, Callable[[], Dict[str, Any]]] = {
    "frames": frames.good,
    "hostile": frames.hostile,
    "tensors": data.tensors,
    "literals": data.literals,
    "promotion": data.promotion,
    "ops": data.ops_,
    "conversations": talks.conversations,
    "plans": plans.plans,
    "seal": seals.seals,
}


def text(content: Dict[str, Any]) -> str:
    """A file as it is written: each vector on a line of its own."""
    parts = []
    for key, value in content.items():
        if isinstance(value, list):
            lines = ",\n".join("    " + json.dumps(item, ensure_ascii=False) for item in value)
            parts.append(f"  {json.dumps(key)}: [\n{lines}\n  ]")
        else:
            parts.append(f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def main() -> int:
    """Exit code 0, or 1 if ``--check`` found a difference."""
    parser = argparse.ArgumentParser(prog="python -m docs.vectors.generate", description="Write the test vectors.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the files differ from the code")
    check = parser.parse_args().check
    stale = []
    for name, make in FILES.items():
        path = FOLDER / f"{name}.json"
        content = make()
        if not check:
            path.write_text(text(content), "utf-8")
        elif not path.exists() or not same(json.loads(path.read_text("utf-8")), json.loads(text(content))):
            stale.append(path.name)
    if stale:
        sys.stderr.write(f"these differ from the code: {', '.join(stale)}; run python -m docs.vectors.generate\n")
    return int(bool(stale))


if __name__ == "__main__":
    sys.exit(main())
