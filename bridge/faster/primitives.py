"""What parties need for products and comparisons: PySyft feeds one party after the other, here all together."""

from __future__ import annotations

from typing import Any, List, Sequence, Tuple

from syft.frameworks.torch.mpc.primitives import PrimitiveStorage

from . import parties

_original = PrimitiveStorage.provide_primitives


def provide_primitives(self: Any, op: str, workers: Sequence[Any], n_instances: int = 10, **kwargs: Any) -> None:
    """Build so many primitives of a kind and give each worker its part."""
    if not parties.can_ask(workers):
        _original(self, op, workers, n_instances, **kwargs)
        return
    built = self._builders[op](n_party=len(workers), n_instances=n_instances, **kwargs)
    feed = self._owner.create_worker_command_message
    parties.ask(workers, [feed("feed_crypto_primitive_store", None, {op: part}) for part in built])


PLACES: List[Tuple[Any, str, Any]] = [(PrimitiveStorage, "provide_primitives", provide_primitives)]
