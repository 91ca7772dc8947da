"""A user's calls, as the standard writes them, become array inputs and plain parameters."""

from __future__ import annotations

import numpy as np
import pytest

from asyncsyft.ops import bind


class Remote:
    def __repr__(self):
        return "<remote>"


x, y, c = Remote(), Remote(), Remote()


def call(name, *args, **kwargs):
    return bind(name, args, kwargs, lambda value: isinstance(value, Remote))


GOOD = [
    (call("sum", x), ([x], {})),
    (call("sum", x, axis=0), ([x], {"axis": 0})),
    (call("sum", x, axis=(0, np.int64(1)), keepdims=np.bool_(True)), ([x], {"axis": [0, 1], "keepdims": True})),
    (call("sum", x, axis=None, keepdims=False), ([x], {})),
    (call("sum", x, dtype=np.float32), ([x], {"dtype": "<f4"})),
    (call("concat", [x, y], axis=1), ([x, y], {"axis": 1})),
    (call("concat", (x, y), 1), ([x, y], {"axis": 1})),
    (call("concat", [x], axis=None), ([x], {"axis": None})),
    (call("stack", [x, y]), ([x, y], {})),
    (call("meshgrid", x, y, indexing="ij"), ([x, y], {"indexing": "ij"})),
    (call("broadcast_arrays", x, y, c), ([x, y, c], {})),
    (call("add", x, 2), ([x, 2], {})),
    (call("add", 2, x), ([2, x], {})),
    (call("where", c, x, 0.0), ([c, x, 0.0], {})),
    (call("clip", x), ([x], {})),
    (call("clip", x, 0, 1), ([x, 0, 1], {})),
    (call("clip", x, 0), ([x, 0], {})),
    (call("clip", x, None, 1), ([x, 1], {"only": "max"})),
    (call("clip", x, max=y), ([x, y], {"only": "max"})),
    (call("clip", x, min=0, max=y), ([x, 0, y], {})),
    (call("zeros", (3, 4), dtype="float32"), ([], {"shape": [3, 4], "dtype": "<f4"})),
    (call("zeros", 3, dtype=bool), ([], {"shape": 3, "dtype": "|b1"})),
    (call("zeros", shape=[2], dtype=np.dtype(">i4")), ([], {"shape": [2], "dtype": "<i4"})),
    (call("full", (2,), 1 + 2j), ([1 + 2j], {"shape": [2]})),
    (call("full", (2,), fill_value=x, dtype="<f8"), ([x], {"shape": [2], "dtype": "<f8"})),
    (call("full_like", x, 3), ([x, 3], {})),
    (call("arange", 5), ([], {"start": 5})),
    (call("arange", 1, 5, 2), ([], {"start": 1, "stop": 5, "step": 2})),
    (call("arange", 0, 5), ([], {"start": 0, "stop": 5})),
    (call("linspace", 0, 1, 5, endpoint=False), ([], {"start": 0, "stop": 1, "num": 5, "endpoint": False})),
    (call("eye", 3, k=1), ([], {"n_rows": 3, "k": 1})),
    (call("reshape", x, (2, -1)), ([x], {"shape": [2, -1]})),
    (call("permute_dims", x, (1, 0)), ([x], {"axes": [1, 0]})),
    (call("astype", x, np.float64), ([x], {"dtype": "<f8"})),
    (call("repeat", x, 3), ([x], {"repeats": 3})),
    (call("repeat", x, y, axis=1), ([x, y], {"axis": 1})),
    (call("tensordot", x, y, axes=((0,), (1,))), ([x, y], {"axes": [[0], [1]]})),
    (call("tensordot", x, y, axes=2), ([x, y], {})),
    (call("searchsorted", x, y, side="right", sorter=c), ([x, y, c], {"side": "right"})),
    (call("searchsorted", x, y, sorter=None), ([x, y], {})),
    (call("diff", x, n=2), ([x], {"n": 2})),
    (call("diff", x, prepend=y), ([x, y], {"only": "prepend"})),
    (call("diff", x, append=y), ([x, y], {"only": "append"})),
    (call("diff", x, append=y, prepend=c, axis=0), ([x, c, y], {"axis": 0})),
    (call("take", x, y, axis=1), ([x, y], {"axis": 1})),
    (call("getitem", x, 3), ([x], {"key": [3]})),
    (call("getitem", x, (slice(1, None), y, ...)), ([x, y], {"key": [["s", 1, None, None], ["a", 0], "..."]})),
    (call("setitem", x, c, 0.5), ([x, 0.5, c], {"key": [["a", 0]]})),
    (call("var", x, correction=1.0), ([x], {"correction": 1.0})),
    (call("linalg.vector_norm", x, ord=float("inf")), ([x], {"ord": float("inf")})),
    (call("linalg.matrix_norm", x, ord="nuc"), ([x], {"ord": "nuc"})),
]


@pytest.mark.parametrize(("found", "wanted"), GOOD)
def test_calls(found, wanted):
    default = {"clip": "min", "diff": "prepend"}
    arrays, params = wanted
    if params.get("only") in default.values():
        params = {key: value for key, value in params.items() if key != "only"}
    assert found[0] == arrays
    assert found[1] == params
    assert [type(value) for value in found[1].values()] == [type(value) for value in params.values()]


BAD = [
    ("add", (x,), {}, r"add\(x1, x2\) does not take 1 arrays"),
    ("add", (x, y, c), {}, "at most 2"),
    ("add", (x, "two"), {}, "str is neither"),
    ("add", (x, None), {}, "neither"),
    ("add", (x, y), {"out": c}, r"add\(x1, x2\) has no parameter 'out'"),
    ("sum", (x,), {"where": c}, r"sum\(x, axis=None, dtype=None, keepdims=False\) has no parameter 'where'"),
    ("sum", (x, 0), {"axis": 0}, "'axis' twice"),
    ("sum", (x,), {"axis": y}, "axis cannot be Remote"),
    ("sum", (x,), {"dtype": "float16"}, "float16"),
    ("sum", (x,), {"dtype": object}, "object"),
    ("concat", (x, y), {}, "list"),
    ("concat", ([],), {}, "does not take 0 arrays"),
    ("concat", ([x, y], 0, 1), {}, "list of arrays and an axis"),
    ("stack", ([x, y], 0), {"axis": 1}, "list of arrays and an axis"),
    ("zeros", (), {}, "needs the parameter 'shape'"),
    ("full", ((2,),), {}, "fill_value"),
    ("full_like", (x, 1, "<f4", 3), {}, "fill_value"),
    ("repeat", (), {}, "repeats"),
    ("clip", (x, 0), {"min": 1}, "'min' twice"),
    ("clip", (x, 0, 1, "min"), {}, "too many"),
    ("diff", (x, 0, 1, 2), {}, "too many"),
    ("getitem", (x,), {}, "key"),
    ("getitem", (x, 1.5), {}, "index"),
    ("setitem", (x, 0), {}, "value"),
    ("meshgrid", (x,), {"sparse": True}, "sparse"),
    ("nonsense", (x,), {}, "no such op"),
]


@pytest.mark.parametrize(("name", "args", "kwargs", "message"), BAD)
def test_calls_that_cannot_be(name, args, kwargs, message):
    with pytest.raises(TypeError, match=message):
        call(name, *args, **kwargs)


def test_numpy_values_are_arrays_and_not_scalars():
    arrays, _ = call("add", x, np.float32(2))
    assert isinstance(arrays[1], np.ndarray)
    assert (arrays[1].dtype, arrays[1].shape) == (np.dtype("f4"), ())
    given = np.ones(3)
    assert call("add", x, given)[0][1] is given
    arrays, params = call("repeat", x, [1, 2])
    assert arrays[1].tolist() == [1, 2]
    assert params == {}
