"""What a worker keeps on disk: the tensors, plans and states that drivers gave names, found again after its restart."""

from .file import Key, Record
from .table import Keepable, Keeping, Named

__all__ = ["Keepable", "Keeping", "Key", "Named", "Record"]
