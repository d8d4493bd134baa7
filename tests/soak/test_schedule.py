"""Tests of the schedule: it depends only on the seed, and the emulator accepts every trouble."""

from __future__ import annotations

import itertools
import random

import pytest

from gcsmux_fs.emulator.injection.rules import Faults

from .catalogue import KINDS, Deed
from .schedule import phases


def test_the_same_seed_brings_the_same_troubles() -> None:
    assert list(phases(5, 600)) == list(phases(5, 600))
    assert list(phases(5, 600)) != list(phases(6, 600))


def test_a_longer_soak_starts_with_the_troubles_of_a_shorter_one() -> None:
    shorter = list(phases(7, 60))
    assert shorter == list(itertools.islice(phases(7, 3600), len(shorter)))


def test_phases_do_not_overlap_and_end_in_time() -> None:
    found = list(phases(8, 300))
    assert len(found) > 50
    for phase, following in itertools.pairwise(found):
        assert phase.begin < phase.end < following.begin
    assert found[-1].end <= 300


@pytest.mark.parametrize("kind", [kind for kind, _ in KINDS])
def test_the_emulator_accepts_every_trouble(kind: object) -> None:
    assert callable(kind)
    for seed in range(300):
        trouble = kind(random.Random(seed))
        faults = Faults(trouble.rules, seed)
        assert Faults.parse(faults.to_json()) == faults
        assert trouble.rules or trouble.deed or trouble.disk or trouble.disk_bytes


def test_an_hour_contains_every_kind_of_trouble() -> None:
    kinds = {type(rule.fault) for phase in phases(1, 3600) for rule in phase.rules}
    deeds = {trouble.deed for phase in phases(1, 3600) for trouble in phase.troubles}
    possible = {
        type(rule.fault)
        for make, _ in KINDS
        for seed in range(300)
        for rule in make(random.Random(seed)).rules
    }
    assert possible == kinds
    assert set(Deed) <= deeds


def test_two_troubles_of_one_group_never_overlap() -> None:
    for phase in phases(9, 3600):
        for group in ("chunks", "disk"):
            assert sum(trouble.group == group for trouble in phase.troubles) <= 1
