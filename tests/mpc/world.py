"""Parties and a dealer in one place, without any link: their machines are run in step, and what they say is kept."""

from __future__ import annotations

from typing import Any, Dict, List, Sequence

import numpy as np

from asyncsyft.mpc import fixed, ring
from asyncsyft.mpc.circuit import Circuit
from asyncsyft.mpc.computing import Exchange, Outside, Party, Reveal, Take
from asyncsyft.mpc.dealing import Dealer
from asyncsyft.mpc.machine import Gate
from asyncsyft.mpc.node import Node
from asyncsyft.mpc.prg import Seeds, Stream, masks_of_driver, new_seeds


class World:
    """``share`` and ``reveal`` are the driver's; between them the circuit ``c`` records."""

    def __init__(self, parties: int = 2, bits: int = 16) -> None:
        seeds: List[Seeds] = new_seeds(parties)
        self.c = Circuit(bits)
        self.parties = [Party(index, parties, each) for index, each in enumerate(seeds)]
        self.dealer = Dealer(seeds)
        self._streams = [Stream(each.driver, b"inputs") for each in seeds]
        self._inputs: List[Dict[int, Any]] = [{} for _ in seeds]
        self._shares: Dict[int, Dict[int, Any]] = {}
        #: Bytes that each party opened, and that were dealt, in each exchange.
        self.said: List[List[bytes]] = [[] for _ in seeds]
        self.dealt = b""

    def share(self, values: Any, owner: int = -1) -> Node:
        array = np.asarray(values)
        scale = 0 if array.dtype.kind in "iu" else self.c.bits
        node = self.c.input(owner, array.shape, scale)
        encoded = fixed.encode(array, scale)
        if owner < 0:
            encoded = ring.add(encoded, masks_of_driver(self._streams, array.shape))
        for index, inputs in enumerate(self._inputs):
            if owner in (-1, index):
                inputs[node.number] = encoded
        return node

    def reveal(self, *nodes: Node) -> Any:
        numbers = [self.c.reveal(node, -1) for node in nodes]
        self.go()
        out = []
        for node, number in zip(nodes, numbers):
            shares = self._shares.pop(number)
            assert len(shares) == len(self.parties)
            out.append(fixed.decode(np.sum(list(shares.values()), axis=0, dtype=np.uint64), node.scale))
        return out[0] if len(out) == 1 else out

    def go(self) -> None:
        gates, dead = self.c.take()
        self.run(gates)
        for machine in (*self.parties, self.dealer):
            machine.drop(dead)

    def run(self, gates: Sequence[Gate]) -> None:
        pieces = [piece for deal in self.dealer.run(gates) for piece in deal.pieces]
        self._dealt = b"".join(np.ascontiguousarray(piece).tobytes() for piece in pieces)
        self.dealt = self._dealt
        runs = [party.run(gates) for party in self.parties]
        theirs: List[Any] = [None] * len(runs)
        while True:
            asked = [self._until_exchange(index, run, told) for index, (run, told) in enumerate(zip(runs, theirs))]
            if None in asked:
                assert asked == [None] * len(runs), "the parties do not stop together"
                assert not self._dealt, "more was dealt than taken"
                return
            for index, said in enumerate(asked):
                self.said[index].append(said)
            theirs = [[None if i == j else said for j, said in enumerate(asked)] for i in range(len(runs))]

    def _until_exchange(self, index: int, run: Any, told: Any) -> Any:
        try:
            event = run.send(told)
            while not isinstance(event, Exchange):
                event = run.send(self._answer(index, event))
        except StopIteration:
            return None
        return b"".join(piece.tobytes() for piece in event.mine)

    def _answer(self, index: int, event: Any) -> Any:
        if isinstance(event, Take):
            piece, self._dealt = self._dealt[: event.nbytes], self._dealt[event.nbytes :]
            return piece
        if isinstance(event, Outside):
            return self._inputs[index].pop(event.number)
        assert isinstance(event, Reveal)
        assert event.to == -1
        self._shares.setdefault(event.number, {})[index] = event.share
        return None

    @property
    def cost(self) -> Any:
        """(hops, bytes that party 0 opened, bytes dealt) since the beginning."""
        return np.array([self.parties[0].hops, self.parties[0].opened, self.dealer.dealt])
