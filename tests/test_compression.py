"""zstd where it pays, and hostile input refused before memory is spent."""

from __future__ import annotations

import contextlib
import struct
import tracemalloc
from typing import Optional

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from asyncsyft.compression import ALWAYS, AUTO, LONGEST_PAUSE, NEVER, SMALLEST, Policy, expand
from asyncsyft.errors import RemoteProtocolError

SLOW, FAST = 10e6, 5e9  # bytes per second
NOISE = memoryview(np.random.default_rng(0).bytes(1 << 18))
LABELS = memoryview(np.arange(1 << 15).__mod__(10).astype("<i8").tobytes())


def policy(mode: str = AUTO, bandwidth: float = SLOW) -> Policy:
    made = Policy(mode)
    made.bandwidth = bandwidth
    return made


def compress(made: Policy, data: memoryview) -> Optional[bytes]:
    return made.compress(data) if made.looks_at(len(data)) else None


def test_what_shrinks_is_compressed_on_a_slow_link_and_comes_back() -> None:
    packed = compress(policy(), LABELS)
    assert packed is not None
    assert len(packed) * 4 < len(LABELS)
    assert expand(memoryview(packed), len(LABELS)) == LABELS


def test_a_fast_link_is_faster_without() -> None:
    assert compress(policy(bandwidth=FAST), LABELS) is None


def test_a_link_whose_speed_is_unknown_counts_as_fast() -> None:
    assert compress(Policy(), LABELS) is None


@pytest.mark.parametrize("data", [NOISE, LABELS[: SMALLEST - 1]], ids=["noise", "small"])
def test_what_does_not_pay_goes_as_it_is(data: memoryview) -> None:
    assert compress(policy(), data) is None


def test_never_and_always() -> None:
    assert compress(policy(NEVER), LABELS) is None
    assert compress(policy(ALWAYS, FAST), LABELS) is not None
    assert compress(policy(ALWAYS), NOISE) is None  # larger than before


def test_misses_are_sampled_less_and_less_and_a_hit_ends_the_pause() -> None:
    made = policy()
    for _ in range(10 * LONGEST_PAUSE):
        assert compress(made, NOISE) is None
    waited = next(count for count in range(LONGEST_PAUSE + 2) if compress(made, LABELS) is not None)
    assert 0 < waited <= LONGEST_PAUSE
    assert compress(made, LABELS) is not None


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="sometimes"):
        Policy("sometimes")


def test_a_declared_size_that_lies_costs_nothing() -> None:
    bomb = zstandard.ZstdCompressor().compress(b"\0" * (64 << 20))
    forged = b"\x28\xb5\x2f\xfd\xc0" + b"\x58" + struct.pack("<Q", 1 << 40) + bomb[9:]
    tracemalloc.start()
    for data in (bomb, forged):
        with pytest.raises(RemoteProtocolError):
            expand(memoryview(data), 1 << 18)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_trailing_bytes_wrong_checksums_and_truncation_are_refused() -> None:
    data = bytes(LABELS)
    packed = zstandard.ZstdCompressor(write_checksum=True).compress(data)
    assert expand(memoryview(packed), len(data)) == data
    for hostile in (packed + b"x", packed + packed, packed[:-1], packed[:-1] + bytes([packed[-1] ^ 1]), packed[:20]):
        with pytest.raises(RemoteProtocolError):
            expand(memoryview(hostile), len(data))


@given(st.binary(max_size=300), st.integers(0, 1 << 20))
def test_any_bytes_expand_or_are_refused(data: bytes, size: int) -> None:
    with contextlib.suppress(RemoteProtocolError):
        assert len(expand(memoryview(data), size)) <= size


@given(st.binary(max_size=3000), st.integers(0, 4000), st.integers(1, 255))
def test_mutated_frames_expand_or_are_refused(data: bytes, at: int, flip: int) -> None:
    packed = bytearray(zstandard.ZstdCompressor(write_checksum=True).compress(data))
    packed[at % len(packed)] ^= flip
    with contextlib.suppress(RemoteProtocolError):
        # A flipped bit of the frame's own header may name another size and no checksum; never more than was allowed.
        assert len(expand(memoryview(packed), len(data))) <= len(data)
