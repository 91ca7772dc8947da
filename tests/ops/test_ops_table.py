"""Every op of the table, run on every dtype, gives exactly what was inferred, or refuses in both places."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from asyncsyft.ops import OPS, Spec, infer, run, spec_of
from tests.ops.op_samples import DTYPES, MISSING, SAMPLES, inputs


def test_every_op_has_samples():
    assert MISSING == []


def fits(spec: Spec, array: np.ndarray) -> bool:
    same = all(want is None or want == got for want, got in zip(spec.shape, array.shape))
    return same and len(spec.shape) == array.ndim and spec.dtype == array.dtype


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_what_is_inferred_is_what_comes(name):
    kinds, calls = SAMPLES[name]
    for call in calls:
        for dtype in DTYPES if call[0] else DTYPES[:1]:
            arrays = inputs(call, dtype)
            specs = tuple(map(spec_of, arrays))
            if dtype.kind not in kinds and call[0]:
                with pytest.raises(TypeError):
                    infer(name, specs, call[1])
                with pytest.raises(TypeError):
                    run(name, arrays, call[1])
                continue
            expected = infer(name, specs, call[1])
            before = [array.copy() for array in arrays]
            results = run(name, arrays, call[1])
            assert len(results) == len(expected), (call, dtype)
            for spec, result in zip(expected, results):
                assert fits(spec, result), (call, dtype, spec, result.dtype, result.shape)
            if OPS[name].outputs is not None:
                assert len(results) == OPS[name].outputs
            assert all(map(np.array_equal, before, arrays)), "an input was written to"


def some_dtype(name):
    return next(dtype for dtype in reversed(DTYPES) if dtype.kind in SAMPLES[name][0])


def elements(arrays):
    """The most that an op may give without being said to expand."""
    total = sum(array.size for array in arrays)
    try:
        return max(total, np.prod(np.broadcast_shapes(*(array.shape for array in arrays)), dtype=int))
    except ValueError:
        return total


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_what_expands_says_so_and_costs_need_only_shapes(name):
    op = OPS[name]
    for call in SAMPLES[name][1]:
        arrays = inputs(call, some_dtype(name))
        cost = op.cost(arrays, call[1])
        assert cost >= 0
        if name != "repeat":
            assert op.cost(tuple(map(spec_of, arrays)), call[1]) == cost
        if not op.expands:
            assert all(out.size <= elements(arrays) for out in run(name, arrays, call[1])), call


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_unknown_dimensions_are_carried_through(name):
    """A shape with None infers to something that the same call with known shapes does not contradict."""
    for call in SAMPLES[name][1]:
        arrays = inputs(call, some_dtype(name))
        known = infer(name, tuple(map(spec_of, arrays)), call[1])
        for at, array in enumerate(arrays):
            if not array.ndim:
                continue
            specs = [spec_of(a) for a in arrays]
            specs[at] = Spec(array.dtype, (None, *array.shape[1:]))
            if name in ("unstack", "nonzero"):
                continue
            found = infer(name, tuple(specs), call[1])
            for a, b in zip(known, found):
                assert a.dtype == b.dtype
                assert len(a.shape) == len(b.shape)
                assert all(y is None or x is None or x == y for x, y in zip(a.shape, b.shape)), (call, a, b)


def test_programs_on_small_arrays_warn_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        zero = np.zeros(3, "i8")
        for name in ("divide", "floor_divide", "remainder"):
            run(name, [zero, zero], {})
        run("mean", [np.zeros(0, "f4")], {})
        run("var", [np.zeros(0, "f4")], {})
        run("log", [np.zeros(3, "f4")], {})


@pytest.mark.parametrize(
    ("name", "signature", "fewest"),
    [
        ("add", "add(x1, x2)", 2),
        ("getitem", "getitem(x, *indices, key)", 1),
        ("setitem", "setitem(x, value, *indices, key)", 2),
        ("concat", "concat(*arrays, axis=0)", 1),
        ("clip", "clip(x, low=None, high=None, only='min')", 1),
        ("sum", "sum(x, axis=None, dtype=None, keepdims=False)", 1),
        ("eye", "eye(n_rows, n_cols=None, k=0, dtype=None)", 0),
    ],
)
def test_an_op_says_how_it_is_called(name, signature, fewest):
    assert repr(OPS[name]) == signature
    assert OPS[name].min_arrays == fewest
    if fewest:
        with pytest.raises(TypeError, match=f"does not take {fewest - 1} arrays"):
            run(name, [np.ones(2)] * (fewest - 1), {"key": [0]} if name.endswith("item") else {})
