"""Tests of the parsers of sizes and durations."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.settings.units import (
    parse_duration,
    parse_size,
    parse_ttl,
    show_duration,
    show_size,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("4096", 4096),
        ("512B", 512),
        ("64KiB", 65536),
        ("64k", 65536),
        ("64MiB", 67108864),
        ("64M", 67108864),
        ("64mib", 67108864),
        ("1.5GiB", 1610612736),
        ("2T", 2199023255552),
        ("100MB", 100_000_000),
        ("1kb", 1000),
        (" 1 GiB ", 1073741824),
        ("0.1KB", 100),
    ],
)
def test_a_size_may_have_binary_and_decimal_units(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "MiB", "-1", "+1", "1e6", "1,5GiB", "64 apples", "1.MiB", "٣", "0x10", "9" * 5000]
)
def test_an_invalid_size_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is not a size: write .* such as 64MiB"):
        parse_size(text)


@given(st.integers(min_value=0, max_value=2**63 - 1))
def test_a_shown_size_is_parsed_as_the_same_size(size: int) -> None:
    assert parse_size(show_size(size)) == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("0.0", 0.0),
        ("0s", 0.0),
        ("30s", 30.0),
        ("30S", 30.0),
        ("5ms", 0.005),
        ("250us", 0.00025),
        ("0.5s", 0.5),
        ("2h", 7200.0),
        ("1d", 86400.0),
        ("5min", 300.0),
        ("1m30s", 90.0),
        ("1h0m1s", 3601.0),
    ],
)
def test_a_duration_needs_units(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "1x", "-1s", "1m30", "1 m", "1s2", "٣s", "inf", "nan"])
def test_an_invalid_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is not a duration: write .* such as 1m30s"):
        parse_duration(text)


def test_a_duration_without_a_unit_is_refused_with_both_possible_meanings() -> None:
    with pytest.raises(ConfigError, match="'60' has no unit: write 60s or 60ms"):
        parse_duration("60")


@given(
    st.integers(min_value=0, max_value=1000),
    st.integers(min_value=0, max_value=59),
    st.integers(min_value=0, max_value=59),
)
def test_the_parts_of_a_duration_add_up(hours: int, minutes: int, seconds: int) -> None:
    assert parse_duration(f"{hours}h{minutes}m{seconds}s") == hours * 3600 + minutes * 60 + seconds


@pytest.mark.parametrize("seconds", [0.005, 5.0, 60.0, 3600.0])
def test_a_shown_duration_is_parsed_as_the_same_duration(seconds: float) -> None:
    assert parse_duration(show_duration(seconds)) == seconds


def test_a_time_to_live_is_a_duration_or_one_of_two_words() -> None:
    assert parse_ttl("90s") == 90.0
    assert parse_ttl("0") == 0.0
    assert parse_ttl("minimal") == 1.0
    assert parse_ttl("Indefinite") == math.inf


def test_an_invalid_time_to_live_is_refused_with_the_two_words() -> None:
    with pytest.raises(ConfigError, match=", or write minimal or indefinite"):
        parse_ttl("forever")
