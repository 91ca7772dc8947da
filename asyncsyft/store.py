"""The objects that a worker holds: whose they are, what they are called, how large they are, who else may have them.

Arrays are written once and shared by reference: an alias is the same array in another owner's space. It knows no
programs; that an object is still *pending* is noted here, and who waits for it is told.
"""

from __future__ import annotations

import threading
from operator import attrgetter
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional, Protocol, Set, Tuple, Union

import numpy as np

from .errors import LimitExceeded
from .keeping import Keepable, Keeping, Key
from .limits import WorkerLimits
from .privacy import NEVER, Held, Policy, Private
from .program import MAX_PLAN_STEPS
from .tensor import Array
from .wire import Failure

#: Bytes that a worker holds unless told otherwise.
DEFAULT_LIMIT = WorkerLimits.limit
#: Objects of one owner, poisoned and pending ones too: a bound on what the table of a small-object flood costs.
MAX_OBJECTS = 1_000_000
#: Bytes for which it is worth while to look at the memory that is left: looking takes about 100 us.
MUCH = 16 << 20

_size = attrgetter("nbytes")


class Thing(Protocol):
    """What is held beside arrays under ids of the same kind: a plan, a state, a private tensor."""

    @property
    def nbytes(self) -> int:
        """Bytes that it holds."""

    def describe(self) -> Dict[str, Any]:
        """What it is, for a list: plain values."""


Outcome = Union[Array, Failure, Thing]


class Title(NamedTuple):
    """What a person calls an object."""

    name: str
    tags: Tuple[str, ...]


class Pending:
    """An object that is on its way: chunks are arriving, a move is under way, or its program is parked."""

    __slots__ = ("doomed", "nbytes", "turns", "waiters")

    def __init__(self, nbytes: int = 0) -> None:
        self.waiters: List[Callable[[int, Optional[Outcome]], None]] = []
        #: Of these, who may bind it anew: those behind wait for them too.
        self.turns: Set[Callable[[int, Optional[Outcome]], None]] = set()
        self.doomed = False  # deleted before it came
        self.nbytes = nbytes  # room that is kept for it


class Space:
    """The objects of one owner by their ids."""

    def __init__(self) -> None:
        self.objects: Dict[int, Array] = {}
        self.poisons: Dict[int, Failure] = {}
        #: Plans, states, and private tensors: nobody reads these for arrays in the open.
        self.things: Dict[int, Thing] = {}
        self.pending: Dict[int, Pending] = {}
        self.titles: Dict[int, Title] = {}
        #: Whom the owner lets have what of these: who -> what for.
        self.grants: Dict[int, Dict[str, str]] = {}
        #: Of these ids, what they stand for of all that the worker keeps.
        self.kept: Dict[int, Tuple[Key, Keepable]] = {}
        #: Tensors on offer to another worker: (its incarnation, ticket) -> array or failure.
        self.offers: Dict[Tuple[bytes, bytes], Outcome] = {}
        #: What the owner is called, once others may have something of it.
        self.owner = ""
        #: Whether it said so in a sealed conversation.
        self.sealed = False
        #: Bytes of what is held, on offer or expected.
        self.nbytes = 0
        self._lock = threading.Lock()

    @property
    def taken(self) -> int:
        """Number of ids in use."""
        return len(self.objects) + len(self.poisons) + len(self.things) + len(self.pending)

    def grow(self, nbytes: int) -> None:
        """Count bytes more, or less; programs of several threads may do so at the same time."""
        with self._lock:
            self.nbytes += nbytes

    def knows(self, number: int) -> bool:
        """Whether there is, or will be, an object of that id."""
        return self.outcome(number) is not None or number in self.pending

    def outcome(self, number: int) -> Optional[Outcome]:
        """The array or thing, or the failure in its place; None if it is pending or unknown."""
        array = self.objects.get(number)
        return array if array is not None else self.poisons.get(number) or self.things.get(number)

    def keep(self, number: int, outcome: Outcome) -> None:
        """Write an object, once."""
        if isinstance(outcome, Failure):
            self.poisons[number] = outcome
            return
        if isinstance(outcome, np.ndarray):
            self.objects[number] = outcome
        else:
            self.things[number] = outcome
        self.grow(outcome.nbytes)

    def delete(self, number: int) -> bool:
        """Forget an object; False if there is none. One that is pending is dropped when it comes."""
        held: Union[Array, Thing, None] = self.objects.pop(number, None)
        if held is None:
            held = self.things.pop(number, None)
        if held is not None:
            self.grow(-held.nbytes)
        elif self.poisons.pop(number, None) is None:
            pending = self.pending.get(number)
            if pending is None or pending.doomed:
                return False
            pending.doomed = True
        self.titles.pop(number, None)
        self.grants.pop(number, None)
        self.kept.pop(number, None)
        return True

    def expect(self, number: int, nbytes: int = 0) -> None:
        """Note that an object is on its way, and keep room for it."""
        self.pending[number] = Pending(nbytes)
        self.grow(nbytes)

    def delete_arrays(self, numbers: List[int]) -> bool:
        """Forget these objects if all are plain arrays without a title; False, and nothing done, otherwise."""
        wanted = set(numbers)
        if self.titles or self.kept or len(wanted) != len(numbers) or not self.objects.keys() >= wanted:
            return False
        self.grow(-sum(map(_size, map(self.objects.pop, wanted))))
        return True

    def settle(self, number: int) -> None:
        """What was pending is here now, as an array or a failure: tell who waits, up to one who takes a turn at it."""
        pending = self.pending.pop(number, None)
        if pending is None:
            return
        self.grow(-pending.nbytes)
        outcome = self.outcome(number)
        if pending.doomed:  # only for those who named it before it was deleted
            self.delete(number)
        waiters, pending.nbytes = pending.waiters, 0
        for at, waiter in enumerate(waiters):
            if waiter in pending.turns:
                pending.waiters = waiters[at + 1 :]
                self.pending[number] = pending
                waiter(number, outcome)
                return
            waiter(number, outcome)

    def resolve(self, number: int, outcome: Outcome) -> None:
        """A pending object is here, or failed."""
        if number in self.pending:
            self.keep(number, outcome)
            self.settle(number)

    def named(self, name_or_tags: Iterable[str]) -> List[int]:
        """The ids of objects that bear all of these as their name or as tags."""
        wanted: Set[str] = set(name_or_tags)
        titles = list(self.titles.items())  # a program in a thread may delete some meanwhile
        return [n for n, title in titles if self.tensor(n) is not None and wanted <= {title.name, *title.tags}]

    def tensor(self, number: int) -> Optional[Held]:
        """The tensor of that id, in the open or private; None if there is none."""
        array = self.objects.get(number)
        if array is not None:
            return array
        thing = self.things.get(number)
        return thing if isinstance(thing, Private) else None

    def offer(self, ticket: Tuple[bytes, bytes], outcome: Outcome) -> bool:
        """Hold something for another worker, whatever becomes of the object; False if the ticket is in use."""
        if ticket in self.offers:
            return False
        self.offers[ticket] = outcome
        self.grow(0 if isinstance(outcome, Failure) else outcome.nbytes)
        return True

    def claim(self, ticket: Tuple[bytes, bytes]) -> Optional[Outcome]:
        """What is on offer under a ticket, once."""
        outcome = self.offers.pop(ticket, None)
        if outcome is not None and not isinstance(outcome, Failure):
            self.grow(-outcome.nbytes)
        return outcome


class Store:
    """All that one worker holds: a space for each owner, and one of its own (data from its own disk)."""

    def __init__(self, limit: int = DEFAULT_LIMIT, max_plan_steps: int = MAX_PLAN_STEPS) -> None:
        #: Bytes to hold at most, and which bound that is; bytes of one owner at most, 0 for no bound of its own.
        self.limit, self.bound, self.limit_per_driver = limit, "limit", 0
        self.max_plan_steps = max_plan_steps
        #: Called before much more is held: it may set ``limit`` anew.
        self.look: Callable[[], None] = lambda: None
        #: Bytes that the worker holds otherwise, which count for the limit too.
        self.lent: Callable[[], int] = lambda: 0
        self.spaces: Dict[bytes, Space] = {}
        self.own = Space()
        #: What may leave of private data, by label; and the labels of what may be shared in MPC sessions.
        self.policies: Dict[str, Policy] = {}
        self.shareable: Set[str] = set()
        #: What is kept on disk for drivers, if anything is.
        self.kept: Optional[Keeping] = None

    def space(self, owner: bytes) -> Space:
        """The space of an owner (the incarnation of a driver)."""
        space = self.spaces.get(owner)
        if space is None:
            space = self.spaces[owner] = Space()
        return space

    def release(self, owner: bytes) -> Optional[Space]:
        """Forget all objects of an owner."""
        return self.spaces.pop(owner, None)

    @property
    def nbytes(self) -> int:
        """Bytes held, an alias counted like an object of its own."""
        # A list: an owner may come while a program in a thread asks.
        kept = 0 if self.kept is None else self.kept.nbytes
        held: int = sum(map(_size, list(self.spaces.values())))
        return self.own.nbytes + kept + held

    @property
    def objects(self) -> int:
        """Number of objects held."""
        spaces = [self.own, *self.spaces.values()]
        private = sum(isinstance(thing, Private) for space in spaces for thing in list(space.things.values()))
        return private + sum(len(space.objects) for space in spaces)

    def room(self, space: Space) -> int:
        """Bytes that an owner may still hold."""
        room = self.limit - self.nbytes
        return min(room, self.limit_per_driver - space.nbytes) if self.limit_per_driver else room

    def check_room(self, nbytes: int, space: Optional[Space] = None) -> None:
        """Raises: LimitExceeded if that many bytes more, of this owner, would pass the limit, or that of one owner."""
        if nbytes > MUCH:
            self.look()
        held = self.nbytes + self.lent() if nbytes else 0
        if nbytes and held + nbytes > self.limit:
            told = f"would pass the limit of {self.limit} ({self.bound})"
            raise LimitExceeded(f"{nbytes} bytes more than the {held} held {told}")
        if nbytes and space is not None and self.limit_per_driver and space.nbytes + nbytes > self.limit_per_driver:
            told = f"would pass the {self.limit_per_driver} of one driver (limit_per_driver)"
            raise LimitExceeded(f"{nbytes} bytes more than the {space.nbytes} held for this driver {told}")

    @property
    def expected(self) -> int:
        """Bytes of what is on its way: they are counted as held, and take no memory yet."""
        spaces = list(self.spaces.values())
        return sum([pending.nbytes for space in spaces for pending in list(space.pending.values())])

    def policy(self, label: str) -> Policy:
        """What may leave of the data of that label: nothing, if nobody said."""
        return self.policies.get(label, NEVER)

    def is_kept(self, entry: Tuple[Key, Keepable]) -> bool:
        """Whether something is kept still, and nothing else under its key."""
        return self.kept is not None and self.kept.find(entry[0]) is entry[1]

    def load(self, name: str, value: Held, tags: Iterable[str] = ()) -> int:
        """Put data of the worker's own here, under a name that drivers can search for; its id in the own space."""
        number = len(self.own.titles) + 1
        self.own.keep(number, value)
        self.own.titles[number] = Title(name, tuple(tags))
        return number
