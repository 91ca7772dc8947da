"""Without PySyft there is nothing to compare with."""

from __future__ import annotations

import importlib.util
from typing import List

collect_ignore_glob: List[str] = [] if importlib.util.find_spec("syft") else ["test_*.py"]
