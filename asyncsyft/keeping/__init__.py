"""What a worker keeps on disk: the tensors, plans and states that drivers gave names, found again after its restart."""

from .file import Key, Record
from .kept import Keepable, Kept, Named

__all__ = ["Keepable", "Kept", "Key", "Named", "Record"]
