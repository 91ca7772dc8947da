"""What ops compute: numpy 2 as the oracle where it has the name, and the standard's own words where it differs."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from asyncsyft.ops import OPS, infer, run, spec_of
from tests.ops.op_samples import DTYPES, SAMPLES, inputs

# Ops whose name or call numpy 2 has not, or which it defines otherwise; they have tests of their own.
DIFFER = [
    "arange",
    "argsort",
    "astype",
    "clip",
    "concat",
    "diff",
    "empty",
    "empty_like",
    "eye",
    "full",
    "full_like",
    "linalg.matrix_rank",
    "linalg.pinv",
    "linalg.svdvals",
    "logical_not",
    "meshgrid",
    "repeat",
    "searchsorted",
    "sign",
    "sort",
    "stack",
    "tile",
    "unique_all",
    "unique_counts",
    "unique_inverse",
    "unique_values",
    "vecdot",
    "getitem",
    "setitem",
    "bitwise_invert",
]
NUMPY_2 = pytest.mark.skipif(not hasattr(np, "unstack"), reason="numpy before 2.1 has other names")


def numpys(name):
    """numpy's function of this name, None if there is none."""
    found = np
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


@NUMPY_2
@pytest.mark.parametrize("name", [name for name in sorted(SAMPLES) if name not in DIFFER and numpys(name)])
def test_numpy_2_agrees(name):
    kinds, calls = SAMPLES[name]
    # Of integers numpy makes other floats than we do; where there are no floats, integers and bools are compared.
    if set(kinds) & set("fc"):
        kinds = kinds.strip("biu")
    compared = 0
    for dtype in (dtype for dtype in DTYPES if dtype.kind in kinds):
        for call in calls:
            compared += agrees(name, inputs(call, dtype), call[1])
    assert compared


def agrees(name, arrays, params):
    """Whether numpy could be asked; its answer is then ours."""
    given = {key: tuple(v) if type(v) is list and name != "tensordot" else v for key, v in params.items()}
    results = run(name, arrays, params)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            expected = numpys(name)(*arrays, **given)
        except (TypeError, ValueError, OverflowError):
            return 0
    expected = expected if isinstance(expected, (tuple, list)) else (expected,)
    for got, wanted in zip(results, expected):
        assert np.allclose(got, wanted, equal_nan=True, rtol=1e-3), (name, arrays, params)
    return 1


def value(name, *arrays, **params):
    results = run(name, [np.asarray(array) for array in arrays], params)
    return results[0].tolist() if len(results) == 1 else [result.tolist() for result in results]


NAN, INF = float("nan"), float("inf")


def test_integers():
    assert value("divide", [7, -7], [2, 0]) == [3.5, -INF]
    assert value("floor_divide", [7, -7, 1], [2, 2, 0]) == [3, -4, 0]
    assert value("remainder", [7, -7, 1], [2, 2, 0]) == [1, 1, 0]
    assert value("floor_divide", [-7.0], [2.0]) == [-4.0]
    assert value("floor_divide", np.array([-128], "i1"), np.array([-1], "i1")) == [-128]
    assert value("bitwise_left_shift", np.array([1], "i1"), np.array([9], "i1")) == [0]
    assert value("pow", [2, 3], [3, 2]) == [8, 9]
    assert value("mean", [1, 2]) == 1.5
    assert value("sum", np.array([100, 100], "i1")) == 200
    assert value("sqrt", np.array(4, "i1")) == 2.0
    assert value("floor", np.array([1, 2])) == [1, 2]
    with pytest.raises(ValueError, match="negative"):
        value("pow", [2], [-1])


def test_bools_are_no_numbers_but_can_be_counted():
    yes = np.array([True, True, False])
    for name in ("add", "subtract", "divide", "multiply", "less", "maximum"):
        with pytest.raises(TypeError, match=f"{name}: "):
            infer(name, (spec_of(yes), spec_of(yes)), {})
    assert value("sum", yes) == 2
    assert value("count_nonzero", yes) == 2
    assert value("mean", yes) == pytest.approx(2 / 3)
    assert value("add", yes, np.array([1, 2, 3], "i1")) == [2, 3, 3]


def test_rounding_and_signs():
    assert value("round", [0.5, 1.5, -0.5]) == [0.0, 2.0, -0.0]
    assert value("round", 2.5 + 3.5j) == 2 + 4j
    assert value("sign", [-2.0, 0.0, 3.0]) == [-1.0, 0.0, 1.0]
    assert value("sign", np.array([3 + 4j, 0j])) == pytest.approx([0.6 + 0.8j, 0j])
    assert value("abs", 3 + 4j) == 5.0
    assert value("signbit", [-0.0, 1.0]) == [True, False]


def test_clip_keeps_the_dtype_of_x():
    x = np.array([-5, 0, 5], "i1")
    (result,) = run("clip", [x, np.array(-1.5), np.array(2)], {})
    assert result.dtype == np.dtype("i1")
    assert result.tolist() == [-1, 0, 2]
    assert value("clip", x, 2, only="max") == [-5, 0, 2]
    assert value("clip", x, 2, only="min") == [2, 2, 5]
    assert value("clip", x) == [-5, 0, 5]


def test_statistics():
    assert value("var", [1.0, 2.0, 3.0], correction=1) == 1.0
    assert value("std", [1.0, 3.0]) == 1.0
    assert np.isnan(value("mean", np.zeros(0)))
    assert np.isnan(value("var", np.zeros(0)))
    assert value("cumulative_sum", [1, 2, 3], include_initial=True) == [0, 1, 3, 6]
    assert value("cumulative_prod", [[1, 2], [3, 4]], axis=1, include_initial=True) == [[1, 1, 2], [1, 3, 12]]
    assert value("max", [1.0, NAN]) is not None
    assert np.isnan(value("max", [1.0, NAN]))
    with pytest.raises(ValueError, match="axis"):
        value("cumulative_sum", np.ones((2, 2)))
    for name in ("max", "min", "argmax", "argmin"):
        with pytest.raises(ValueError, match="nothing to choose"):
            infer(name, (spec_of(np.zeros((0, 3))),), {"axis": 0})


def test_order():
    assert value("sort", [2, 1, 3], descending=True) == [3, 2, 1]
    assert value("argsort", [1, 0, 1, 0]) == [1, 3, 0, 2]
    assert value("argsort", [1, 0, 1, 0], descending=True) == [0, 2, 1, 3]
    assert value("searchsorted", [3, 1, 2], [2, 9], [1, 2, 0]) == [1, 3]
    assert value("searchsorted", [1, 2, 2], 2.0, side="right") == 3


def test_every_nan_is_a_value_of_its_own():
    x = np.array([NAN, 1.0, NAN, 1.0, -0.0, 0.0])
    values, indices, inverse, counts = run("unique_all", [x], {})
    assert np.array_equal(values, [0.0, 1.0, NAN, NAN], equal_nan=True)
    assert counts.tolist() == [2, 2, 1, 1]
    assert np.array_equal(values[inverse], x, equal_nan=True)
    assert np.array_equal(x[indices], values, equal_nan=True)
    assert value("unique_values", [[3, 1], [1, 3]]) == [1, 3]
    assert value("unique_counts", [[3, 1], [1, 1]]) == [[1, 3], [3, 1]]
    assert value("unique_inverse", [[3, 1], [1, 3]]) == [[1, 3], [[1, 0], [0, 1]]]


def test_creation():
    assert value("arange", start=5) == [0, 1, 2, 3, 4]
    assert value("arange", start=5, stop=-2, step=-3) == [5, 2, -1]
    assert value("arange", start=(1 << 63) - 3, stop=(1 << 63) - 1) == [(1 << 63) - 3, (1 << 63) - 2]
    assert value("arange", start=0, stop=1, step=0.25) == [0, 0.25, 0.5, 0.75]
    assert value("eye", n_rows=2, n_cols=3, k=1) == [[0, 1, 0], [0, 0, 1]]
    assert value("full", 7, shape=[2]) == [7, 7]
    assert value("tril", [[1, 2], [3, 4]], k=-(1 << 60)) == [[0, 0], [0, 0]]
    with pytest.raises(OverflowError):
        value("arange", start=250, stop=260, dtype="|u1")


def test_products():
    a, b = np.arange(6.0).reshape(2, 3), np.arange(12.0).reshape(3, 4)
    assert np.array_equal(run("matmul", [a, b], {})[0], a @ b)
    assert value("vecdot", [1j, 2], [1j, 2]) == 5
    assert value("vecdot", [[1, 2], [3, 4]], [5, 6], axis=-1) == [17, 39]
    assert value("tensordot", a, b, axes=[[1], [0]]) == (a @ b).tolist()
    assert value("linalg.cross", [1, 0, 0], [0, 1, 0]) == [0, 0, 1]
    assert value("linalg.outer", [1, 2], [3, 4]) == [[3, 4], [6, 8]]


def test_linear_algebra():
    stack, vector = np.array([[[2.0, 0], [0, 4]], [[1, 0], [0, 1]]]), np.array([2.0, 4.0])
    assert value("linalg.solve", stack, vector) == [[1, 1], [2, 4]]
    # Two matrices of right sides, where numpy 1 takes a stack of two vectors.
    assert value("linalg.solve", stack, np.array([[2.0, 4.0], [4.0, 8.0]])) == [[[1, 2], [1, 2]], [[2, 4], [4, 8]]]
    upper = run("linalg.cholesky", [np.array([[4, 2j], [-2j, 5]])], {"upper": True})[0]
    assert np.allclose(upper.conj().T @ upper, [[4, 2j], [-2j, 5]])
    assert value("linalg.matrix_rank", [[1.0, 2.0], [2.0, 4.0]]) == 1
    assert value("linalg.matrix_rank", [[1.0, 0], [0, 0.01]], rtol=0.1) == 1
    assert value("linalg.vector_norm", [3.0, -4.0]) == 5.0
    assert value("linalg.vector_norm", [3.0, -4.0], ord=INF) == 4.0
    assert value("linalg.vector_norm", [3.0, 0.0], ord=0) == 1.0
    assert value("linalg.matrix_power", [[1, 1], [0, 1]], n=5) == [[1, 5], [0, 1]]
    assert value("linalg.trace", np.array([[100, 0], [0, 100]], "i1")) == 200
    for name in ("inv", "cholesky"):
        with pytest.raises(ValueError, match=f"linalg.{name}"):
            value(f"linalg.{name}", np.zeros((2, 2)) - np.eye(2) * (name == "cholesky"))


def test_single_precision_stays_single():
    x = np.ones((4, 4), "f4")
    assert run("fft.rfft", [x], {})[0].dtype == np.dtype("c8")
    assert run("fft.irfftn", [x], {})[0].dtype == np.dtype("f4")
    assert run("mean", [x], {})[0].dtype == np.dtype("f4")
    assert run("std", [x[0, 0]], {})[0].dtype == np.dtype("f4")
    assert np.allclose(run("fft.fft", [x[0]], {})[0], [4, 0, 0, 0])


def test_transposition_and_friends():
    x = np.arange(24).reshape(2, 3, 4)
    assert np.array_equal(run("permute_dims", [x], {"axes": [2, 0, 1]})[0], x.transpose(2, 0, 1))
    assert np.array_equal(
        run("moveaxis", [x], {"source": [0, 2], "destination": [-1, 0]})[0], np.moveaxis(x, [0, 2], [-1, 0])
    )
    assert np.array_equal(run("roll", [x], {"shift": [5, -1], "axis": [0, 2]})[0], np.roll(x, [5, -1], [0, 2]))
    assert np.array_equal(run("repeat", [x, np.array([2, 0, 1])], {"axis": 1})[0], np.repeat(x, [2, 0, 1], 1))
    assert value("diff", [1, 4, 9], [0]) == [1, 3, 5]
    assert value("diff", [1, 4, 9], [10], only="append") == [3, 5, 1]
    assert [part.tolist() for part in run("unstack", [x[:, 0, 0]], {})] == [0, 12]


MESSAGES = [
    ("matmul", [(3, 4), (5, 6)], {}, r"^matmul: shapes \(3, 4\) and \(5, 6\) do not match: 4 != 5$"),
    ("add", [(3,), (4,)], {}, r"^add: shapes \(3,\) and \(4,\) do not broadcast: 3 against 4$"),
    ("sum", [(3,)], {"axis": 1}, r"^sum: axis 1 is out of range for an array of 1 dimensions$"),
    ("reshape", [(2, 3)], {"shape": [4]}, r"^reshape: cannot reshape \(2, 3\) to \(4,\): 6 elements$"),
    ("linalg.inv", [(2, 3)], {}, r"^linalg.inv: needs square matrices, not shape \(2, 3\)$"),
    ("squeeze", [(2, 3)], {"axis": 0}, r"^squeeze: axis \[0\] of shape \(2, 3\) is not of size 1$"),
]


@pytest.mark.parametrize(("name", "shapes", "params", "message"), MESSAGES)
def test_messages_say_what_is_wrong(name, shapes, params, message):
    with pytest.raises((ValueError, IndexError), match=message):
        infer(name, tuple(spec_of(np.zeros(shape)) for shape in shapes), params)


def test_what_is_heavy_says_how_much():
    big = [np.broadcast_to(np.zeros(()), (512, 512))] * 2
    assert OPS["matmul"].heavy
    assert OPS["matmul"].cost(big, {}) == 512**3 // 8
    assert OPS["tensordot"].cost(big, {"axes": 1}) == 512**3 // 8
    assert OPS["linalg.solve"].cost(big, {}) >= 512**3
    stacks = [np.broadcast_to(np.zeros(()), shape) for shape in ((5, 1, 8, 8), (7, 8, 8))]
    assert OPS["matmul"].cost(stacks, {}) == 35 * 8**3 // 8
    assert OPS["linalg.solve"].cost(stacks, {}) == 35 * 2 * 8**3
    assert OPS["vecdot"].cost([big[0][:, None], big[1]], {}) == 512**3 // 8
    assert OPS["repeat"].cost([np.zeros(3), np.array([0, 1 << 20, 0])], {}) == 1 << 20
    assert OPS["diff"].cost([np.zeros(100)], {"n": 50}) == 5000
    assert OPS["diff"].cost([np.zeros(100)], {"n": -(1 << 60)}) == 100
    assert OPS["sort"].cost(big[:1], {}) > 512**2 * 10
    assert not OPS["add"].heavy
    assert OPS["add"].cost(big, {}) == 2 * 512**2
