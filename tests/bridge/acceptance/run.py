"""Runs the programs with VirtualWorkers, in a process in which PySyft is as it came; prints what they give, as JSON."""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any, Dict

NAMES = ("alice", "bob", "charlie", "james")


def fresh() -> None:
    """Have PySyft forget how it took arguments apart before, which it remembers by name only."""
    from syft.generic.frameworks.hook import hook_args

    hook_args.hook_method_args_functions.clear()
    hook_args.hook_method_response_functions.clear()
    hook_args.register_response_functions.clear()
    hook_args.get_tensor_type_functions.clear()


def main() -> Dict[str, Any]:
    """What each program gives, and the seconds that it took."""
    import syft as sy
    import torch
    from programs import PROGRAMS, Workers

    torch.set_num_threads(1)
    hook = sy.TorchHook(torch)
    workers = Workers(hook, *[sy.VirtualWorker(hook, id=name) for name in NAMES])
    results = {}
    for name, program in PROGRAMS.items():
        fresh()
        begun = time.perf_counter()
        try:
            results[name] = {"gives": program(workers)}
        except Exception as error:  # noqa: BLE001 - which one is the result
            results[name] = {"fails": f"{type(error).__name__}: {error}"}
        results[name]["seconds"] = time.perf_counter() - begun
    return results


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sys.path.insert(0, str(Path(__file__).parent))
    print(json.dumps(main()))  # noqa: T201 - its result
