"""Where a failing step was written: the line of the user's program, however the step was recorded."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import asyncsyft
from asyncsyft.errors import OpFailed

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def alice(anyio_backend):
    async with asyncsyft.local("alice") as driver:
        yield driver["alice"]


def here():
    """The line of the caller."""
    return sys._getframe(1).f_lineno


def ways(alice):
    """Each way to record a step, one that fails at the worker, and the line on which it is written."""
    zeros, x = alice.zeros((2, 2)), alice.arange(3)
    far, below = alice.asarray(np.array([5])), alice.asarray(-1)
    yield "operator", lambda: x**below, here()
    yield "scalar", lambda: x**-1, here()
    yield "reflected scalar", lambda: 2 ** (x - 5), here()
    yield "local array", lambda: x ** np.array([-1, -1, -1]), here()
    yield "reflected local array", lambda: np.array([2]) ** (x - 5), here()
    yield "numpy scalar", lambda: np.int64(2) ** (x - 5), here()
    yield "part", lambda: x[far], here()
    yield "part by a local array", lambda: x[x[:1] + 7], here()
    yield "method", lambda: x.reshape((3, 1))[far].sum(), here()
    yield "namespace", lambda: alice.xp.linalg.inv(zeros), here()
    yield "namespace of a tensor", lambda: x.__array_namespace__().linalg.inv(zeros), here()
    yield "several results", lambda: alice.xp.linalg.svd(zeros / zeros)[0], here()
    yield "call", lambda: alice.call("linalg.inv", zeros), here()
    yield "ufunc", lambda: np.power(x, below), here()
    yield "numpy function", lambda: np.take(x, far), here()
    yield "numpy.linalg", lambda: np.linalg.inv(zeros), here()
    yield "numpy function of several steps", lambda: np.take(x.reshape((3, 1)), far), here()
    yield "iteration", lambda: next(iter(x[far])), here()


async def test_every_way_to_record_a_step(alice):
    for way, record, line in ways(alice):
        failing = record()
        with pytest.raises(OpFailed) as caught:
            await failing.get()
        assert caught.value.origin == f"{__file__}:{line}, in <lambda>", way


async def test_a_part_that_is_replaced(alice):
    x = alice.arange(3)
    far = alice.asarray(np.array([5]))
    line = here() + 1
    x[far] = 1
    with pytest.raises(OpFailed) as caught:
        await x.get()
    assert f":{line}, in test_a_part_that_is_replaced" in caught.value.origin


async def test_a_function_of_the_user_s_own_is_the_origin(alice):
    def invert(x):
        return np.linalg.inv(x)

    line = here() - 2
    failing = invert(alice.zeros((2, 2)))
    with pytest.raises(OpFailed) as caught:
        await failing.get()
    assert caught.value.origin == f"{__file__}:{line}, in invert"


async def test_a_program_without_a_module_name(alice):
    failing = eval("inv(x)", {"inv": np.linalg.inv, "x": alice.zeros((2, 2))})
    with pytest.raises(OpFailed) as caught:
        await failing.get()
    assert caught.value.origin == "<string>:1, in <module>"
