"""The decoders meet their seeds, what once broke them, and each of these a little changed; no fuzzer is needed."""

from __future__ import annotations

import os
import random
from typing import Dict, List

import pytest

from tests.fuzz.seeds import SAVED, seeds
from tests.fuzz.targets import TARGETS

SEEDS: Dict[str, List[bytes]] = seeds()
#: Changed inputs for each target; those that cost more get fewer.
CHANGED = 20_000 if os.environ.get("HYPOTHESIS_PROFILE") == "verify" else 2_000
NUMBERS = [0, 1, 7, 0x7F, 0x80, 0x91, 0xC0, 0xC1, 0xDC, 0xDD, 0xDF, 0xFF]


def changed(rng: random.Random, seed: bytes) -> bytes:
    data = bytearray(seed)
    for _ in range(rng.choice([1, 1, 2, 4])):
        at = rng.randrange(len(data) + 1)
        choice = rng.randrange(4)
        if choice < 2 and at < len(data):
            data[at] = rng.choice([*NUMBERS, rng.randrange(256)])
        elif choice == 2:
            data[at:at] = rng.choice([b"\xff" * 4, bytes(8), bytes(data[at : at + 9])])
        else:
            del data[at : at + rng.choice([1, 4, 16])]
    return bytes(data)


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_and_their_neighbours(name: str) -> None:
    target, rng = TARGETS[name], random.Random(name)
    for seed in SEEDS[name]:
        target.read(seed)
    for _ in range(CHANGED * min(target.share, 8) // 8):
        target.read(changed(rng, rng.choice(SEEDS[name])))


def test_each_target_has_seeds_of_its_own() -> None:
    assert {name for name, inputs in SEEDS.items() if len(inputs) < 3} == set()


def test_what_is_saved_belongs_to_a_target() -> None:
    assert {folder.name for folder in SAVED.iterdir()} <= set(TARGETS)
