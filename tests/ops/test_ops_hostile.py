"""Hostile calls raise TypeError, ValueError, IndexError or OverflowError and nothing else, and allocate nothing."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncsyft.ops import OPS, Spec, infer, run, spec_of
from tests.ops.op_samples import DTYPES, SAMPLES, inputs

REFUSALS = (TypeError, ValueError, IndexError, OverflowError)
F4 = np.dtype("f4")
HUGE = 1 << 40

numbers = st.one_of(
    st.integers(-4, 4),
    st.sampled_from([1 << 31, -(1 << 31), 1 << 62, 1 << 63, -(1 << 63), (1 << 64) - 1, 1 << 80]),
    st.floats(allow_nan=True),
)
WORDS = ["", "...", "<f4", "|O", "a", "s", "fro", "max", "__class__"]
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, st.sampled_from(WORDS)),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=8,
)


def attempt(name, arrays, params):
    """Infer, and run only what is inferred small; nothing but a refusal may come out."""
    try:
        specs = infer(name, tuple(map(spec_of, arrays)), params)
    except REFUSALS as refusal:
        assert name in str(refusal)
        specs = None
    if specs is not None and sum(spec.nbytes or 0 for spec in specs) > 1 << 20:
        return
    if specs is None and OPS[name].expands:
        return
    try:
        results = run(name, arrays, params)
    except REFUSALS:
        return
    assert specs is not None, (name, params, "ran what infer had refused")
    for spec, result in zip(specs, results):
        assert result.dtype == spec.dtype
        assert all(a is None or a == b for a, b in zip(spec.shape, result.shape))
        assert len(spec.shape) == result.ndim


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_any_plain_value_for_any_parameter(name):
    params = OPS[name].params
    calls = SAMPLES[name][1]
    dtype = next(d for d in reversed(DTYPES) if d.kind in SAMPLES[name][0])

    @settings(max_examples=max(settings().max_examples // 4, 1))
    @given(st.sampled_from(calls), st.fixed_dictionaries({}, optional=dict.fromkeys((*params, "extra"), values)))
    def check(call, hostile):
        attempt(name, inputs(call, dtype), {**call[1], **hostile})

    check()


@given(
    st.sampled_from(sorted(OPS)),
    st.lists(st.tuples(st.sampled_from(DTYPES), st.lists(st.integers(0, 3), max_size=3)), max_size=4),
)
def test_any_arrays_for_any_op(name, descriptions):
    calls = SAMPLES[name][1]
    for call in calls[:3]:
        attempt(name, [np.ones(shape, dtype) for dtype, shape in descriptions], call[1])


def named(value):
    return value if isinstance(value, str) else None


BOMBS = [
    ("zeros", [], {"shape": [HUGE, HUGE]}),
    ("zeros", [], {"shape": [1 << 62, 1 << 62, 0]}),
    ("ones", [], {"shape": [1] * 33}),
    ("full", [()], {"shape": [-1]}),
    ("eye", [], {"n_rows": 1 << 62}),
    ("linspace", [], {"start": 0, "stop": 1, "num": 1 << 61}),
    ("linspace", [], {"start": 0, "stop": float("inf"), "num": 3}),
    ("arange", [], {"start": 0, "stop": 1 << 62}),
    ("arange", [], {"start": 0, "stop": 1, "step": 0}),
    ("arange", [], {"start": 0.0, "stop": 1e308, "step": 1e-308}),
    ("broadcast_to", [()], {"shape": [1 << 61]}),
    ("tile", [(3,)], {"repetitions": [1 << 61]}),
    ("tile", [(3,)], {"repetitions": [-1]}),
    ("repeat", [(3,)], {"repeats": 1 << 61}),
    ("repeat", [(3,)], {"repeats": -1}),
    ("expand_dims", [(3,)], {"axis": list(range(32))}),
    ("getitem", [(3,)], {"key": [None] * 32}),
    ("reshape", [(3,)], {"shape": [-1, -1]}),
    ("reshape", [(0,)], {"shape": [0, -1]}),
    ("fft.fft", [(3,)], {"n": 1 << 61}),
    ("fft.fftn", [(3, 3)], {"s": [1 << 40, 1 << 40]}),
    ("matmul", [(HUGE, 0), (0, HUGE)], {}),
    ("linalg.outer", [(HUGE,), (HUGE,)], {}),
    ("sum", [(0, 1 << 62)], {"axis": 0}),
    ("meshgrid", [(HUGE,), (HUGE,)], {}),
    ("unstack", [(HUGE,)], {}),
]


@pytest.mark.parametrize(("name", "shapes", "params"), BOMBS, ids=named)
def test_what_is_too_large_or_absurd_is_refused_by_inference(name, shapes, params):
    specs = tuple(Spec(F4, tuple(shape)) for shape in shapes)
    tracemalloc.start()
    try:
        with pytest.raises(REFUSALS):
            infer(name, specs, params)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


EXACT = [
    ("zeros", [], {"shape": [1 << 20, 1 << 10]}, (1 << 33)),
    ("broadcast_to", [()], {"shape": [1 << 30]}, 1 << 32),
    ("linalg.outer", [(1 << 20,), (1 << 20,)], {}, 1 << 42),
    ("matmul", [(1 << 20, 1), (1, 1 << 20)], {}, 1 << 42),
    ("sum", [(0, 1 << 40)], {"axis": 0}, 1 << 42),
    ("linalg.det", [(1 << 40, 0, 0)], {}, 1 << 42),
    ("linalg.svd", [(1 << 20, 0)], {}, 1 << 42),
    ("fft.fft", [(1,)], {"n": 1 << 40}, 1 << 43),
]


@pytest.mark.parametrize(("name", "shapes", "params", "nbytes"), EXACT, ids=named)
def test_what_could_be_a_bomb_expands_and_is_measured_exactly(name, shapes, params, nbytes):
    assert OPS[name].expands
    params = {**params, **({"dtype": "<f8"} if name == "zeros" else {})}
    specs = infer(name, tuple(Spec(F4, tuple(shape)) for shape in shapes), params)
    assert specs[0].nbytes == nbytes


def test_small_results_of_large_detours_take_no_detour():
    """numpy would grow one axis by far before it cut or dropped another."""
    tracemalloc.start()
    try:
        assert run("tile", [np.ones((2, 2))], {"repetitions": [1 << 40, 0]})[0].size == 0
        assert run("fft.fftn", [np.ones((1 << 10, 1))], {"s": [1, 1 << 14]})[0].shape == (1, 1 << 14)
        assert run("vecdot", [np.ones((1 << 7, 1, 1 << 7)), np.ones((1 << 7, 1 << 7))], {})[0].shape == (1 << 7, 1 << 7)
        assert run("diff", [np.ones(3)], {"n": 1 << 60})[0].shape == (0,)
        assert run("linalg.matrix_power", [np.eye(2)], {"n": 1 << 60})[0].shape == (2, 2)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("counts", "dtype"),
    [
        ([1 << 62] * 3, "i8"),
        ([(1 << 64) - 1] * 3, "u8"),
        ([-1, 1, 1], "i8"),
        ([1 << 40, 0, 0], "i8"),
        ([1 << 40], "i8"),
    ],
)
def test_counts_are_summed_before_anything_is_repeated(counts, dtype):
    with pytest.raises(ValueError):  # noqa: PT011
        run("repeat", [np.ones(3), np.array(counts, dtype)], {})


def test_indices_out_of_range_in_data_are_an_error_at_the_worker():
    far = np.array([1 << 40])
    for name, params in [("getitem", {"key": [["a", 0]]}), ("take", {}), ("take_along_axis", {})]:
        with pytest.raises(IndexError):
            run(name, [np.ones(3), far], params)
    with pytest.raises(IndexError):
        run("searchsorted", [np.ones(1), np.ones(1), far], {})


def test_a_bool_is_no_int_even_where_the_answer_is_remembered():
    spec = (Spec(F4, (2, 3)),)
    assert infer("sum", spec, {"axis": 1})[0].shape == (2,)
    for axis in (True, 1.0, "1"):
        with pytest.raises(TypeError):
            infer("sum", spec, {"axis": axis})


def test_unknown_ops_and_parameters_name_what_there_is():
    with pytest.raises(TypeError, match="no such op"):
        infer("__class__", (), {})
    with pytest.raises(TypeError, match=r"sum\(x, axis=None, dtype=None, keepdims=False\) has no parameter 'out'"):
        infer("sum", (Spec(F4, ()),), {"out": 1})
    with pytest.raises(TypeError, match="does not take 1 arrays"):
        infer("add", (Spec(F4, ()),), {})
    with pytest.raises(TypeError, match="needs the parameter 'shape'"):
        infer("zeros", (), {})
    with pytest.raises(TypeError, match="plain"):
        infer("zeros", (), {"shape": object()})


def test_the_memory_of_inference_is_bounded():
    from asyncsyft.ops import table

    for size in range(table.MAX_CACHED + 10):
        infer("zeros", (), {"shape": [size]})
    assert len(table._inferred) <= table.MAX_CACHED
    infer("getitem", (Spec(F4, (3,)),), {"key": [["s", None, None, 1 << 40]]})
    before = len(table._inferred)
    with pytest.raises(REFUSALS):
        infer("getitem", (Spec(F4, (3,)),), {"key": [0] * 100_000})
    assert len(table._inferred) == before
