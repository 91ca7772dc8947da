"""The neutral form of a plan, and what people see of one: the same on every Python, and nothing that could do harm."""

from __future__ import annotations

import hashlib
import re
import tracemalloc

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import asyncsyft
from asyncsyft import Plan, State, plan
from asyncsyft.errors import LocalProtocolError, RemoteProtocolError
from asyncsyft.ops import Spec

pytestmark = pytest.mark.anyio

F4 = np.dtype("f4")


def model():
    """A plan with all that there is: state, constants, literals, parameters, several results, an unknown dimension."""
    state = State("model", w=np.arange(3, dtype="f4"), b=np.zeros((), "f4"))

    @plan(state=state, name='say "it"', version=2)
    def forward(state, x, y=None, scale=0.5):
        logits = (x * state.w) * scale + state.b
        state.b = state.b + np.sum(logits) * np.float32(0.25)
        values, counts = x.__array_namespace__().unique_counts(logits)
        return {"logits": np.clip(logits, -1.0, None), "rest": [values, (counts,)], "none": None}

    return forward, state


def recorded():
    forward, _ = model()
    forward.record(Spec(F4, (2, 3)), scale=2.0)
    return forward


#: What ``recorded().to_bytes()`` gives, on every Python and with every numpy.
DIGEST = "e87792bed3b08241ff246a540293675b151a523e2e0707fc6a37952e20252ea0"


async def test_it_does_the_same_without_its_function():
    async with asyncsyft.local("alice") as driver:
        alice = driver["alice"]
        forward, state = model()
        x = await alice.send(np.array([[1, 2, 3], [3, 2, 1]], "f4"))
        ours = forward(x, scale=2.0)
        again = Plan.from_bytes(forward.to_bytes())
        theirs = again(x)
        for one, two in [(ours["logits"], theirs["logits"]), (ours["rest"][1][0], theirs["rest"][1][0])]:
            np.testing.assert_array_equal(await one.get(), await two.get())
        assert (theirs["none"], theirs["rest"][0].shape) == (None, (None,))
        assert (again.name, again.version, again.function) == ('say "it"', 2, None)
        assert (await again.state.get(alice))["b"] == (await state.get(alice))["b"] == 6
        assert again.state.arrays["b"] == 0  # the form has what it starts with
        assert again.to_bytes() == forward.to_bytes()
        with pytest.raises(TypeError, match="recorded for .*float32"):
            again(alice.ones((2, 3)))
        with pytest.raises(TypeError, match="by position"):
            again(x=x)


async def test_it_becomes_steps_of_another_plan():
    async with asyncsyft.local("alice") as driver:
        inner = plan(lambda x, y: (x + y * np.array([1.0, 2.0]), -y), name="inner")
        inner.record(np.zeros(2), np.zeros(2))
        again = Plan.from_bytes(inner.to_bytes())
        outer = plan(lambda x: again(x, x * 3.0))
        total, negative = outer(driver["alice"].ones(2))
        assert (await total.get()).tolist() == [4, 7]
        assert (await negative.get()).tolist() == [-3, -3]
        stateful = Plan.from_bytes(recorded().to_bytes())
        with pytest.raises(LocalProtocolError, match="must have the same to call it"):
            plan(lambda x: stateful(x)).record(Spec(F4, (2, 3)))


async def test_for_any_size_it_tells_shapes_and_mistakes_at_once():
    f = plan(lambda x, y: (x @ y, x > 0), name="f")
    f.record(Spec(F4, (None, 3)), Spec(F4, (None, None)))
    again = Plan.from_bytes(f.to_bytes())
    async with asyncsyft.local("alice") as driver:
        alice = driver["alice"]
        x, y = alice.ones((5, 3), "f4"), alice.ones((3, 2), "f4")
        product, positive = again(x, y)
        assert (product.shape, positive.shape) == ((5, 2), (5, 3))
        assert (await product.get()).tolist() == [[3, 3]] * 5
        with pytest.raises(ValueError, match="matmul"):
            again(x, x)
        outer = plan(lambda x, y: again(x, y)[0] + 1.0)
        assert outer.record(Spec(F4, (5, 3)), Spec(F4, (3, 2))).outputs == [Spec(F4, (5, 2))]
        assert (await outer(x, y).get()).tolist() == [[4, 4]] * 5


def test_the_form_is_the_same_everywhere():
    data = recorded().to_bytes()
    assert hashlib.sha256(data).hexdigest() == DIGEST
    fmt, version, name, plan_version, entries, state = msgpack.unpackb(data)
    assert (fmt, version, name, plan_version) == ("asyncsyft plan", 1, 'say "it"', 2)
    (entry,) = entries
    assert entry["inputs"] == [["<f4", [2, 3]]]
    assert entry["outputs"] == [["<f4", [2, 3]], ["<f4", [None]], ["<i8", [None]]]
    assert entry["form"] == {"logits": "*", "rest": ["[]", "*", ["()", "*"]], "none": None}
    assert sorted(state["arrays"]) == ["b", "w"]
    head, *steps = sequence(entry["plan"])
    assert head == {
        "name": 'say "it"',
        "version": 2,
        "inputs": 1,
        "state": ["w", "b"],
        "constants": 1,
        "steps": 8,
        "outputs": [12, 10, 11],
        "updates": {"b": 9},
    }
    assert steps[1] == ["multiply", [5], [4, ["<f4", 2.0]]]
    assert steps[6:] == [["unique_counts", [10, 11], [6]], ["clip", [12], [6, ["<f4", -1.0]]]]


def sequence(data):
    """What msgpack says, one after the other."""
    unpacker = msgpack.Unpacker()
    unpacker.feed(data)
    return list(unpacker)


@given(st.binary(max_size=300))
def test_any_bytes_are_no_plan(data):
    with pytest.raises(RemoteProtocolError):
        Plan.from_bytes(data)


VALID = recorded().to_bytes()


@given(st.data())
def test_a_plan_with_bytes_changed_is_a_plan_or_none(data):
    changed = bytearray(VALID)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(changed) - 1))
        changed[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    tracemalloc.start()
    try:
        Plan.from_bytes(bytes(changed))
    except RemoteProtocolError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 4 << 20


def _change(value, path, new):
    if not path:
        return new
    value = value.copy()
    value[path[0]] = _change(value[path[0]], path[1:], new)
    return value


@pytest.mark.parametrize(
    ("path", "new"),
    [
        ([0], "other plan"),
        ([1], 2),
        ([2], 5),
        ([3], "1"),
        ([4], None),
        ([4, 0, "inputs"], []),
        ([4, 0, "inputs"], [["<f4", [2, 4]]]),
        ([4, 0, "inputs"], [["<f2", [2, 3]]]),
        ([4, 0, "inputs"], [["<f4", [-1, 3]]]),
        ([4, 0, "inputs"], [["<f4", [1 << 62, 3]]]),
        ([4, 0, "inputs"], [["<f4", [1] * 40]]),
        ([4, 0, "outputs", 0], ["<f8", [2, 3]]),
        ([4, 0, "outputs"], []),
        ([4, 0, "constants"], []),
        ([4, 0, "constants", 0], b"no npy"),
        ([4, 0, "form"], "*"),
        ([4, 0, "form"], {"logits": "*"}),
        ([4, 0, "form"], ["{}", "*", "*", "*"]),
        ([4, 0, "form"], []),
        ([4, 0, "form"], 5),
        ([4, 0, "plan"], b""),
        ([4, 0, "plan"], "text"),
        ([5], None),
        ([5, "name"], 3),
        ([5, "arrays"], []),
        ([5, "arrays", "w"], b""),
        ([5, "arrays"], {"w": VALID}),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_plan_that_does_not_agree_with_itself(path, new):
    changed = _change(msgpack.unpackb(VALID), path, new)
    with pytest.raises(RemoteProtocolError):
        Plan.from_bytes(msgpack.packb(changed))


def test_a_form_without_end():
    form = "*"
    for _ in range(400):
        form = ["()", form]
    entry = msgpack.unpackb(VALID)
    entry[4][0]["form"] = form
    with pytest.raises(RemoteProtocolError, match="too many levels"):
        Plan.from_bytes(msgpack.packb(entry))


def test_it_is_readable():
    assert (
        str(recorded())
        == """\
plan say "it" version 2 (%0: float32[2, 3], %1: float32[3] state.w, %2: float32[] state.b, %3: float32[] constant)
  %4: float32[2, 3] = multiply(%0, %1)
  %5: float32[2, 3] = multiply(%4, 2.0)
  %6: float32[2, 3] = add(%5, %2)
  %7: float32[] = sum(%6)
  %8: float32[] = multiply(%7, %3)
  %9: float32[] = add(%2, %8)
  %10: float32[?], %11: int64[?] = unique_counts(%6)
  %12: float32[2, 3] = clip(%6, -1.0)
  state.b = %9
  return {'logits': %12, 'rest': [%10, (%11,)], 'none': None}"""
    )


def tokens(text):
    """Graphviz's language as words: identifiers, quoted texts, signs. Raises: ValueError for anything else."""
    found, at = [], 0
    word = re.compile(r'\s*(->|[{}\[\];=,]|[A-Za-z_][A-Za-z0-9_]*|"(?:[^"\\]|\\.)*")')
    while text[at:].strip():
        match = word.match(text, at)
        if match is None:
            raise ValueError(f"no word: {text[at : at + 40]!r}")
        found.append(match.group(1))
        at = match.end()
    return found


def parse(text):
    """The nodes with their labels, and the edges, of a drawing: a parser of as much of the language as there is."""
    words = tokens(text)
    assert (words[0], words[2], words[-1]) == ("digraph", "{", "}")
    nodes, edges = {}, []
    statement = []
    for word in words[3:-1]:
        if word != ";":
            statement.append(word)
            continue
        if len(statement) == 3 and statement[1] == "->":
            edges.append((statement[0], statement[2]))
        else:
            name, opened, *attributes, closed = statement
            assert (opened, closed) == ("[", "]")
            pairs = [attributes[at : at + 3] for at in range(0, len(attributes), 4)]
            assert all(equal == "=" for _, equal, _ in pairs)
            assert attributes[3::4] == [","] * (len(pairs) - 1)
            nodes[name] = {key: value for key, _, value in pairs}
        statement = []
    assert not statement
    return nodes, edges


def test_it_is_drawable():
    nodes, edges = parse(recorded().graph())
    labels = {name: attributes["label"] for name, attributes in nodes.items() if name != "node"}
    assert labels["g0"] == r'"input 0\nfloat32[2, 3]"'
    assert labels["g1"] == r'"state.w\nfloat32[3]"'
    assert labels["g3"] == r'"constant\nfloat32[]"'
    assert labels["s1"] == r'"multiply 2.0\nfloat32[2, 3]"'
    assert labels["s6"] == r'"unique_counts\nfloat32[?], int64[?]"'
    assert {end for edge in edges for end in edge} <= set(labels)
    assert ("s7", "o0") in edges
    assert ("s6", "o2") in edges
    assert labels["u0"] == '"state.b ="'


@pytest.mark.parametrize("name", ['"', "\\", 'a"; }', "\\n\n{}", "ü", ""])
def test_any_name_can_be_drawn(name):
    f = plan(lambda x: x + 1, name=name)
    f.record(np.zeros(3))
    parse(f.graph())
    with pytest.raises(LocalProtocolError, match="not recorded yet"):
        plan(lambda x: x, name=name).graph()
