"""Tests of the choice of the kernel's readahead window for each opened file."""

from __future__ import annotations

import pytest

from gcsmux_fs.filesystem.window_policy import Window, WindowPolicy
from gcsmux_fs.metrics.registry import Registry
from gcsmux_fs.reading.burst_meter import Density
from tests.support.sizes import GIB, KIB, MIB

LONG, MOST, ISOLATED = Density.LONG_RUNS, Density.MOSTLY_READ, Density.ISOLATED


@pytest.mark.parametrize(
    ("name", "size", "window"),
    [
        ("models/model-00001-of-00008.safetensors", 4 * GIB, Window.LARGE),
        ("table.PARQUET", 100 * MIB, Window.LARGE),
        ("backup.tar.gz", 100 * MIB, Window.LARGE),
        ("data.mdb", 4 * GIB, Window.SMALL),
        ("app.sqlite3", 4 * GIB, Window.SMALL),
        # A suffix says nothing if files with this suffix are read in different ways.
        ("weights.bin", 4 * GIB, Window.MODERATE),
        ("folder.d/no-suffix", 4 * GIB, Window.MODERATE),
        (".npy", 4 * GIB, Window.LARGE),
        ("archive.a-very-long-suffix-of-a-name", 4 * GIB, Window.MODERATE),
        # A fault costs at most the whole object.
        ("small.bin", 4 * MIB, Window.LARGE),
        ("small.bin", 4 * MIB + 1, Window.MODERATE),
        # All windows have the same effect.
        ("tiny.safetensors", 128 * KIB, None),
    ],
)
def test_the_first_choice_follows_kind_and_size(
    name: str, size: int, window: Window | None
) -> None:
    assert WindowPolicy().choose(name, size) is window


def test_one_long_run_is_enough_for_an_unknown_object_and_its_directory() -> None:
    policy = WindowPolicy()
    policy.learn("a/x.bin", Window.MODERATE, LONG)
    assert policy.choose("a/x.bin", GIB) is Window.LARGE
    assert policy.choose("a/y.bin", GIB) is Window.LARGE
    assert policy.choose("a/y.dat", GIB) is Window.MODERATE
    assert policy.choose("b/y.bin", GIB) is Window.MODERATE
    # Two files are enough for all files with the suffix.
    policy.learn("c/x.bin", Window.MODERATE, LONG)
    assert policy.choose("b/y.bin", GIB) is Window.LARGE
    # Files without a suffix have nothing in common.
    policy.learn("a/x", Window.MODERATE, LONG)
    policy.learn("b/x", Window.MODERATE, LONG)
    assert policy.choose("c/x", GIB) is Window.MODERATE


def test_an_object_read_at_random_gets_the_next_smaller_window_at_its_next_open() -> None:
    policy = WindowPolicy()
    for expected in (Window.MODERATE, Window.SMALL, Window.SMALL):
        used = policy.choose("a/x.npy", GIB)
        assert used is not None
        policy.learn("a/x.npy", used, ISOLATED)
        assert policy.choose("a/x.npy", GIB) is expected


def test_one_file_does_not_reverse_what_is_known_about_a_kind() -> None:
    policy = WindowPolicy()
    policy.learn("a/1.npy", Window.LARGE, ISOLATED)
    assert policy.choose("a/2.npy", GIB) is Window.LARGE
    policy.learn("a/2.npy", Window.LARGE, LONG)
    policy.learn("a/3.npy", Window.LARGE, ISOLATED)
    assert policy.choose("a/4.npy", GIB) is Window.LARGE
    policy.learn("a/4.npy", Window.LARGE, ISOLATED)
    assert policy.choose("a/5.npy", GIB) is Window.MODERATE


def test_a_database_that_is_copied_once_keeps_its_small_window() -> None:
    policy = WindowPolicy()
    policy.learn("a/data.mdb", Window.SMALL, LONG)
    assert policy.choose("a/data.mdb", GIB) is Window.SMALL
    policy.learn("a/data.mdb", Window.SMALL, LONG)
    assert policy.choose("a/data.mdb", GIB) is Window.LARGE
    assert policy.choose("b/other.mdb", GIB) is Window.LARGE


def test_an_object_that_is_mostly_read_says_nothing_about_other_objects() -> None:
    policy = WindowPolicy()
    policy.learn("a/x.bin", Window.MODERATE, ISOLATED)
    policy.learn("a/x.bin", Window.MODERATE, MOST)
    assert policy.choose("a/x.bin", GIB) is Window.LARGE
    assert policy.choose("a/y.bin", GIB) is Window.SMALL


def test_short_runs_are_a_vote_for_the_moderate_window() -> None:
    policy = WindowPolicy()
    policy.learn("a/x.bin", Window.MODERATE, ISOLATED)
    assert policy.choose("a/x.bin", GIB) is Window.SMALL
    for _ in range(2):
        policy.learn("a/x.bin", Window.SMALL, Density.SHORT_RUNS)
    assert policy.choose("a/x.bin", GIB) is Window.MODERATE


def test_a_file_without_evidence_changes_nothing() -> None:
    policy = WindowPolicy()
    policy.learn("a/x.bin", Window.MODERATE, None)
    assert policy.choose("a/x.bin", GIB) is Window.MODERATE


def test_the_history_is_bounded_and_the_choices_are_counted() -> None:
    policy, registry = WindowPolicy(), Registry()
    policy.declare_metrics(registry)
    for number in range(5000):
        policy.learn(f"{number}/x.s{number}", Window.MODERATE, ISOLATED)
    assert policy.choose("4999/x.s4999", GIB) is Window.SMALL
    assert policy.choose("0/x.s0", GIB) is Window.MODERATE
    assert policy.choose("0/x.s0", 10) is None
    assert registry.value("kernel_windows", window="moderate") == 1
    assert registry.value("kernel_windows", window="small") == 1
    assert registry.value("kernel_windows", window="large") == 0
