"""What has come and is not wanted yet; and when a machine lets others have their turn."""

from __future__ import annotations

from typing import Any, Callable, List

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncsyft.errors import Refused, SessionError
from asyncsyft.mpc.computing import Party
from asyncsyft.mpc.machine import Gate, Pause, running
from asyncsyft.mpc.prg import new_seeds
from asyncsyft.mpc.service.mail import TOGETHER, Parcels, Stock


def add_lot(stock: Stock, lot: bytes, piece: int, paid: List[int]) -> None:
    for at in range(0, len(lot), piece):
        stock.add(at, len(lot), memoryview(lot)[at : at + piece], lambda: paid.append(1))


@given(st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=6), st.integers(1, 9), st.data())
def test_a_stock_gives_the_bytes_in_their_order_and_pays_for_each_piece(
    lots: List[bytes], piece: int, data: st.DataObject
) -> None:
    stock, paid, taken = Stock(), [], b""  # type: Stock, List[int], bytes
    for lot in lots:
        add_lot(stock, lot, piece, paid)
        while data.draw(st.booleans()):
            wanted = data.draw(st.integers(0, 50))
            is_there = wanted <= stock.nbytes
            found = stock.take(wanted)
            assert (found is not None) == is_there
            taken += found.tobytes() if is_there else b""
    taken += stock.take(stock.nbytes).tobytes()
    stock.settle()
    assert taken == b"".join(lots)
    assert len(paid) == sum(-(-len(lot) // piece) for lot in lots)
    assert stock.nbytes == 0
    assert stock.take(1) is None


def test_nothing_is_paid_before_it_was_taken() -> None:
    stock, paid = Stock(), []  # type: Stock, List[int]
    add_lot(stock, bytes(8), 4, paid)
    stock.take(7)
    stock.settle()
    assert not paid
    stock.take(1)
    stock.settle()
    assert len(paid) == 2


@pytest.mark.parametrize(
    "pieces",
    [
        [(1, 4, b"abc")],  # does not begin at its beginning
        [(0, 2, b"abc")],  # more than was said
        [(0, 4, b"ab"), (3, 4, b"d")],  # leaves something out
        [(0, 4, b"ab"), (1, 4, b"bcd")],  # says something twice
        [(0, 4, b"ab"), (2, 5, b"cd")],  # another size
        [(0, 4, b"ab"), (2, 4, b"cde")],
        [(0, -1, b"a")],
    ],
)
def test_a_piece_that_is_not_the_next_is_refused(pieces: List[Any]) -> None:
    parcels: Parcels[int] = Parcels()
    stock = Stock()
    for receive in (parcels.land, stock.add):
        first, last = ((1,), lambda: lambda: None) if receive == parcels.land else ((), lambda: None)  # type: Any, Any
        with pytest.raises(SessionError, match="not the next"):
            for at, total, body in pieces:
                receive(*first, at, total, memoryview(body), last)


def free() -> Callable[[], None]:
    """Owes nothing."""
    return lambda: None


def test_pieces_are_answered_together() -> None:
    parcels: Parcels[str] = Parcels()
    owed = answered = 0

    def owe() -> Callable[[], None]:
        nonlocal owed
        owed += 1
        return pay

    def pay() -> None:
        nonlocal answered
        answered += 1

    total = TOGETHER + 3
    for at in range(total):
        assert answered == (TOGETHER if at >= TOGETHER else 0)
        assert parcels.land("a", at, total, memoryview(b"a"), owe) == (at == total - 1)
    assert owed == answered == total - 1  # the last is answered at once, like what comes in one piece


def test_parcels_are_whole_or_not_there() -> None:
    parcels: Parcels[str] = Parcels()
    assert not parcels.land("a", 0, 3, memoryview(b"ab"), free)
    assert "a" not in parcels
    assert parcels.nbytes == 3
    assert parcels.land("a", 2, 3, memoryview(b"c"), free)
    with pytest.raises(SessionError, match="twice"):
        parcels.land("a", 0, 3, memoryview(b"abc"), free)
    assert parcels.take("a").tobytes() == b"abc"
    assert parcels.nbytes == 0
    assert parcels.land("b", 0, 0, memoryview(b""), free)
    with pytest.raises(Refused, match="nothing"):
        Stock().add(0, 0, memoryview(b""), lambda: None)


# Turns.


def pauses(machine: Party, gates: List[Gate]) -> List[Any]:
    return [event for event in machine.run(gates) if isinstance(event, Pause)]


def party() -> Party:
    machine = Party(0, 2, new_seeds(2)[0])
    machine.pauses = True
    return machine


def test_many_small_gates_pause_now_and_then() -> None:
    count = 2 * running.WEIGHT // running.LEAST + 2
    gates = [Gate("public", number, (), (np.ones(1, np.uint64),)) for number in range(count)]
    assert pauses(party(), gates) == [Pause(False)] * 2
    quiet = party()
    quiet.pauses = False
    assert pauses(quiet, gates) == []


def test_a_large_product_of_matrices_is_for_a_thread() -> None:
    side = 330  # a little more than is quick
    ones = np.ones((side, side), np.uint64)
    assert side**3 > running.LONG * running.STEPS
    gates = [Gate("public", 1, (), (ones,)), Gate("matmul_public", 2, (1, 1), ())]
    machine = party()
    assert Pause(True) in pauses(machine, gates)
    assert (machine.values[2].array == side).all()
    gates = [Gate("public", 1, (), (ones[:9],)), Gate("neg", 2, (1,), ())]
    assert pauses(party(), gates) == []


def test_what_is_forgotten_goes_behind_its_last_reader() -> None:
    machine = party()
    one = np.ones(3, np.uint64)
    gates = [Gate("public", 1, (), (one,)), Gate("neg", 2, (1,), (), (1,)), Gate("neg", 3, (2,), ())]
    assert list(machine.run(gates)) == []
    assert set(machine.values) == {2, 3}
    with pytest.raises(SessionError, match="reads value 1"):
        list(machine.run([Gate("neg", 4, (1,), ())]))
