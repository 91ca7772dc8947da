"""A driver's side of an MPC session: it opens one at the parties and the dealer, and tells them what to compute.

It shares its own data under masks, and sees nothing but the results that are revealed to it.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple, Type

import numpy as np

from .. import program
from ..driver import RemoteWorker
from ..errors import Refused, SessionError
from ..remote import RemoteTensor
from ..waiting import Slot
from . import fixed, joining, ring
from .ahead import Ahead, Like
from .checked import Checked
from .node import Node
from .outgoing import Outgoing
from .prg import Stream, masks_of_driver, new_seed
from .service import DEALER, FORM
from .tensor import SecretTensor

__all__ = ["MPC"]

OWN_DEALER = (
    "a session without a dealer is dealt by this driver, which sees what is revealed, and could read all of it: "
    "name a worker as the dealer, or say insecure=True"
)


class Telling(NamedTuple):
    """Results that were asked for: slots of each place, fractional bits; whether the last one tells of strays."""

    slots: Dict[int, List[Slot[Any]]]
    scales: List[int]
    looked: bool


class Late(NamedTuple):
    """An input that comes later: whose it is (-1: the driver's), and under which mask it leaves then."""

    number: int
    owner: int
    shape: Tuple[int, ...]
    scale: int
    mask: Any


class MPC(Outgoing):
    """Several workers compute on secrets of which each holds a share, while entered; none learns anything of them.

    ``parties``: two or more workers. ``dealer``: another one, that deals randomness, sees no opening, and must not
    collude with any of them; without one this driver deals, which could then read everything: only with ``insecure``.
    ``bits``: fractional bits of numbers that are not whole. What they say to each other is sealed if what this driver
    says to them is; if it is not, and they are not in this process, ``insecure`` must be True, since whoever carries
    the frames could put the shares together. ``patience``: seconds that a party waits for the dealer before the session
    ends; None: as long as it is linked. ``profile``: note what each operation costs.
    ``checked``: look, wherever it can be seen, whether a value leaves its range; what reveals then raises SessionError.

    Raises, on entering: Refused, SessionError.
    """

    def __init__(
        self,
        parties: Sequence[RemoteWorker],
        dealer: Optional[RemoteWorker] = None,
        *,
        bits: int = 16,
        insecure: bool = False,
        patience: Optional[float] = None,
        profile: bool = False,
        checked: bool = False,
    ) -> None:
        """Raises: TypeError for no worker, ValueError for too few, one that is there twice, many bits; Refused."""
        self.parties, self.insecure, self.patience = list(parties), insecure, patience
        self._everyone = [*self.parties, *([] if dealer is None else [dealer])]
        if not all(isinstance(worker, RemoteWorker) for worker in self._everyone):
            raise TypeError('parties and dealer are workers as the driver knows them: driver["alice"], not names')
        different = {worker.conversation for worker in self._everyone}
        if len(self.parties) < 2 or len(different) < len(self._everyone):
            raise ValueError("a session has two parties or more, and a dealer that is none of them, all different")
        if len({worker.driver for worker in self._everyone}) > 1:
            raise ValueError("parties and dealer are workers of one driver")
        if dealer is None and not insecure:
            raise Refused(OWN_DEALER)
        super().__init__(bits, profile)
        if checked:
            self.circuit = Checked(bits)
        self._seeds = [new_seed() for _ in self.parties]
        self._streams = [Stream(seed, b"inputs") for seed in self._seeds]
        self._stack = AsyncExitStack()

    # Life.

    async def __aenter__(self) -> MPC:
        await self._stack.__aenter__()
        try:
            if len(self._everyone) == len(self.parties):
                self._everyone.append(await self._stack.enter_async_context(joining.own_dealer(self._driver)))
            await self._open()
        except BaseException:
            self._close()
            await self._stack.aclose()
            raise
        return self

    async def _open(self) -> None:
        joining.check_sealed(self._everyone, self.insecure)
        *parties, dealer = [await joining.described(worker) for worker in self._everyone]
        self._lane = joining.take_lane(self._everyone)
        common = {"session": self.name, "form": FORM, "parties": parties, "dealer": dealer, "patience": self.patience}
        slots = []
        for place, worker in self._members:
            seeds = self._seeds if place == DEALER else [self._seeds[place]]
            step = ["mpc.open", [], [], {**common, "place": place, "seeds": seeds}]
            slots.append(self._ask(worker, [step], [], [], {})[0])
        for slot in slots:
            await slot

    async def __aexit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], traceback: Optional[TracebackType]
    ) -> None:
        self._close()
        await self._stack.aclose()

    def _close(self) -> None:
        if self.error is None:
            self.error = SessionError("the session is closed")
            for slot in list(self._waiting):
                slot.fail(self.error)
            self._say_over(self._everyone if self._lane else (), "")
        joining.give_lane(self._everyone, self._lane)

    # Secrets.

    async def share(self, values: Any) -> SecretTensor:
        """A secret: data of this driver, or a tensor that a party holds, which does not leave it in the clear.

        Whole numbers stay whole; others get the session's fractional bits.

        Raises: SessionError for a value that has no room, TypeError for what is not numbers, and ValueError for a
        tensor of a worker that is no party.
        """
        self._check()
        await self.ready()
        if isinstance(values, RemoteTensor):
            return await self._share_remote(values)
        array = np.asarray(values)
        scale = 0 if array.dtype.kind in "iubO" else self.circuit.bits
        encoded = fixed.encode(array, scale)
        node = self.circuit.input(-1, array.shape, scale)
        self._masked[node.number] = ring.add(encoded, masks_of_driver(self._streams, array.shape))
        return self._made(node)

    async def _share_remote(self, values: RemoteTensor) -> SecretTensor:
        owners = [i for i, worker in enumerate(self.parties) if worker.recorder is values.recorder]
        if not owners:
            raise ValueError(f"{values.worker} is no party of this session: only parties share what they hold")
        await values.info()  # what makes it leaves on another lane; if that failed, this says why
        if values.dtype.kind not in "iubf":
            raise TypeError(f"numbers are wanted, not {values.dtype}")
        scale = 0 if values.dtype.kind in "iub" else self.circuit.bits
        shape = tuple(int(size) for size in values.shape if size is not None)
        node = self.circuit.input(owners[0], shape, scale)
        self._owned[node.number] = owners[0], values, scale
        return self._made(node)

    def _made(self, node: Node) -> SecretTensor:
        self.recorded()
        return SecretTensor(self, node)

    async def reveal(self, *tensors: SecretTensor) -> List[Any]:
        """What these are, to this driver: float64, or int64 where numbers are whole. Raises: SessionError."""
        self._check_nothing_is_prepared()
        return await self.hear(self.telling(tensors))

    def telling(self, tensors: Sequence[SecretTensor]) -> Telling:
        """Send what is recorded, and ask for what these are: for ``hear``."""
        self._check()
        nodes = [self._own(one) for one in tensors]
        told = [(self.circuit.reveal(node, -1), self.circuit.number(node).scale) for node in nodes]
        strayed = self.circuit.strayed()
        if strayed is not None:
            told.append((self.circuit.reveal(strayed, -1), 0))
        steps = [["mpc.reveal", [], [], {"session": self.name, "number": number}] for number, _ in told]
        slots = self._send(dict.fromkeys(range(len(self.parties)), steps))
        return Telling(slots, [scale for _, scale in told], strayed is not None)

    async def hear(self, telling: Telling) -> List[Any]:
        """What was asked for, put together. Raises: SessionError."""
        out = []
        for index, scale in enumerate(telling.scales):
            whole = await telling.slots[0][index]
            for place in range(1, len(self.parties)):
                whole = ring.add(whole, await telling.slots[place][index])
            out.append(fixed.decode(whole, scale))
        for slots in telling.slots.values():
            await slots[-1]  # what they counted comes after what they tell
        if telling.looked and out.pop():
            raise SessionError("a value has left its range, or an argument that of its function")
        return out

    # Calls that are prepared.

    def ahead(self, function: Callable[..., Any], *args: Any, calls: int = 2) -> Ahead:
        """Prepared calls: ``async with mpc.ahead(f, Like((1, 784)), weights) as call: y = await call(image)``.

        So many calls of f are always recorded, and dealt, in advance. Arguments that are ``Like`` are given with each
        call; its results are revealed to this driver. Whatever else the session is asked for comes after these calls.

        Raises: ValueError if there is no ``Like``, or for too many calls.
        """
        return Ahead(self, function, args, calls)

    def prepare(self, ahead: Optional[Ahead]) -> None:
        """Calls are prepared, or no more. Raises: SessionError if others are: they would wait for each other."""
        if ahead is not None:
            self._check_nothing_is_prepared()
        self._ahead = ahead

    def expect(self, like: Like) -> Tuple[SecretTensor, Late]:
        """An input that comes later. Raises: ValueError if it is to be held by a worker that is no party."""
        self._check()
        if like.at is not None and like.at not in self.parties:
            raise ValueError(f"{like.at.name} is no party of this session")
        owner = -1 if like.at is None else self.parties.index(like.at)
        scale = 0 if like.whole else self.circuit.bits
        node = self.circuit.input(owner, like.shape, scale)
        mask = masks_of_driver(self._streams, like.shape) if owner < 0 else None
        self._late.append(node.number)
        return SecretTensor(self, node), Late(node.number, owner, like.shape, scale, mask)

    def give(self, inputs: Sequence[Late], values: Sequence[Any]) -> None:
        """Send inputs that were expected; None stands for zeros. Raises: SessionError for a value without room."""
        self._check()
        given: List[Any] = []
        for late, value in zip(inputs, values):
            if not isinstance(value, RemoteTensor):
                array = fixed.encode(np.zeros(late.shape) if value is None else np.asarray(value), late.scale)
                value = array if late.mask is None else ring.add(array, late.mask)
            given.append(value)
        for place, worker in enumerate(self.parties):
            pairs = [(late, value) for late, value in zip(inputs, given) if late.owner in (-1, place)]
            arrays = [value for _, value in pairs if not isinstance(value, RemoteTensor)]
            held = [value for _, value in pairs if isinstance(value, RemoteTensor)]
            names = [self._driver.new_id() for _ in arrays]
            fresh = iter(names)
            ids = [value.live_id() if isinstance(value, RemoteTensor) else next(fresh) for _, value in pairs]
            numbers = [[late.number, late.scale if isinstance(value, RemoteTensor) else None] for late, value in pairs]
            step = ["mpc.input", [], ids, {"session": self.name, "inputs": numbers}]
            if pairs:
                self._ask(worker, [step, [program.DELETE, 0, names]], names, arrays, {}, held)

    async def reveal_to(self, worker: RemoteWorker, secret: SecretTensor, name: str) -> None:
        """Tell one party alone; who runs it finds it by ``await worker.sessions.result(name)``. Raises: ValueError."""
        self._check()
        self._check_nothing_is_prepared()
        if worker not in self.parties:
            raise ValueError(f"{getattr(worker, 'name', worker)} is no party of this session")
        place = self.parties.index(worker)
        node = self._own(secret)
        if self.circuit.strayed() is not None:
            await self.reveal()  # nothing but that bit
        number, scale = self.circuit.reveal(node, place), self.circuit.number(node).scale
        params = {"session": self.name, "number": number, "name": name, "bits": scale}
        slots = self._send({place: [["mpc.reveal", [], [], params]]})
        await slots[place][-1]

    def _own(self, secret: SecretTensor) -> Node:
        """Raises: TypeError for what is no secret, ValueError for one of another session, whose numbers are others."""
        if not isinstance(secret, SecretTensor):
            raise TypeError(f"only secrets are revealed, not {type(secret).__name__}")
        if secret.mpc is not self:
            raise ValueError("the secret is of another session")
        return secret.node
