"""Tests of links, times, owners and modes in custom metadata, well-formed and ill-formed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gcsmux_fs.namespace.foreign_metadata import (
    MAX_TARGET_BYTES,
    NOTHING,
    ForeignMetadata,
    Link,
    is_target,
    read_foreign_metadata,
)

IS_LINK = "goog-reserved-file-is-symlink"
TARGET = "gcsfuse_symlink_target"
MTIME = "goog-reserved-file-mtime"
ATIME = "goog-reserved-file-atime"
PRECISE_MTIME = "gcsfuse_mtime"
UID = "goog-reserved-posix-uid"
GID = "goog-reserved-posix-gid"
MODE = "goog-reserved-posix-mode"
KEYS = [IS_LINK, TARGET, MTIME, ATIME, PRECISE_MTIME, UID, GID, MODE]
NS = 10**9
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def ill_formed(*keys: str) -> ForeignMetadata:
    return ForeignMetadata(ill_formed=keys)


def test_unknown_metadata_is_no_attribute() -> None:
    assert read_foreign_metadata({}, 5) is NOTHING
    assert read_foreign_metadata({"team": "blue", "mtime": "5"}, 5) is NOTHING


def test_the_target_of_a_link_is_its_content_or_its_metadata() -> None:
    assert read_foreign_metadata({IS_LINK: "true"}, 7).link == Link(None, 7)
    assert read_foreign_metadata({IS_LINK: "True"}, 7).link == Link(None, 7)
    assert read_foreign_metadata({TARGET: "../ü"}, 0).link == Link("../ü".encode(), 5)
    assert read_foreign_metadata({IS_LINK: "true", TARGET: "old"}, 7).link == Link(None, 7)
    assert read_foreign_metadata({IS_LINK: "false"}, 7) == ForeignMetadata()


@pytest.mark.parametrize("size", [0, MAX_TARGET_BYTES + 1, 2**62])
def test_an_object_whose_size_no_target_has_is_a_file(size: int) -> None:
    assert read_foreign_metadata({IS_LINK: "true"}, size) == ill_formed(IS_LINK)
    attributes = read_foreign_metadata({IS_LINK: "true", TARGET: "old"}, size)
    assert (attributes.link, attributes.ill_formed) == (Link(b"old", 3), (IS_LINK,))


@pytest.mark.parametrize("target", ["", "a\0b", "x" * (MAX_TARGET_BYTES + 1), "ü" * 2048])
def test_metadata_that_no_target_can_be_is_ignored(target: str) -> None:
    assert not is_target(target.encode())
    assert read_foreign_metadata({TARGET: target}, 0) == ill_formed(TARGET)


@pytest.mark.parametrize("size", [1, MAX_TARGET_BYTES])
def test_the_shortest_and_the_longest_target_make_a_link(size: int) -> None:
    assert read_foreign_metadata({IS_LINK: "true"}, size).link == Link(None, size)
    assert read_foreign_metadata({TARGET: "x" * size}, 0).link == Link(b"x" * size, size)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("1700000000", 1_700_000_000 * NS),
        ("1700000000.25", 1_700_000_000 * NS + 250_000_000),
        ("1.000000001", NS + 1),
        ("253402300799", 253_402_300_799 * NS),
    ],
)
def test_seconds_since_the_epoch_are_read(text: str, expected: int) -> None:
    assert read_foreign_metadata({MTIME: text}, 0).mtime_ns == expected
    assert read_foreign_metadata({ATIME: text}, 0).atime_ns == expected


@pytest.mark.parametrize(
    "text", ["", "-1", "+1", " 1", "1e9", "1_0", "0x1", "1.", ".5", "253402300800", "٣", "9" * 99]
)
def test_text_that_is_no_number_of_seconds_is_ignored(text: str) -> None:
    assert read_foreign_metadata({MTIME: text}, 0) == ill_formed(MTIME)
    assert read_foreign_metadata({ATIME: text}, 0) == ill_formed(ATIME)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01t00:00:01z", NS),
        ("2024-02-29T12:34:56.123456789Z", 1_709_210_096_123_456_789),
        ("2024-02-29T12:34:56.5+05:30", 1_709_190_296_500_000_000),
        ("2024-02-29T12:34:56-08:00", 1_709_238_896_000_000_000),
        ("1969-12-31T23:59:59.9Z", -100_000_000),
        # The value of an empty time.Time in Go.
        ("0001-01-01T00:00:00Z", -62_135_596_800 * NS),
        ("9999-12-31T23:59:59Z", 253_402_300_799 * NS),
    ],
)
def test_a_time_in_rfc_3339_is_read(text: str, expected: int) -> None:
    assert read_foreign_metadata({PRECISE_MTIME: text}, 0).mtime_ns == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1700000000",
        "2023-02-29T00:00:00Z",
        "2024-01-01T24:00:00Z",
        "2024-01-01T00:00:60Z",
        "2024-01-01T00:00:00",
        "2024-01-01T00:00:00.Z",
        "2024-01-01T00:00:00.1234567890Z",
        "2024-01-01T00:00:00+24:00",
        "2024-01-01T00:00:00+01:60",
        "2024-01-01 00:00:00Z",
        "0000-01-01T00:00:00Z",
        "2024-01-01T00:00:00Z\n",
    ],
)
def test_text_that_is_not_rfc_3339_is_ignored(text: str) -> None:
    assert read_foreign_metadata({PRECISE_MTIME: text}, 0) == ill_formed(PRECISE_MTIME)


def test_the_time_of_gcsfuse_is_used_if_it_is_well_formed() -> None:
    both = {MTIME: "5", PRECISE_MTIME: "1970-01-01T00:00:07.5Z"}
    assert read_foreign_metadata(both, 0).mtime_ns == 7_500_000_000
    attributes = read_foreign_metadata(both | {PRECISE_MTIME: "yesterday"}, 0)
    assert (attributes.mtime_ns, attributes.ill_formed) == (5 * NS, (PRECISE_MTIME,))


def test_owner_group_and_mode_are_read() -> None:
    attributes = read_foreign_metadata({UID: "0", GID: "4294967294", MODE: "755"}, 0)
    assert (attributes.uid, attributes.gid, attributes.mode) == (0, 2**32 - 2, 0o755)


@pytest.mark.parametrize("text", ["", "-1", "root", "4294967295", "1.0", "9" * 5000])
def test_text_that_is_no_user_number_is_ignored(text: str) -> None:
    assert read_foreign_metadata({UID: text}, 0) == ill_formed(UID)
    assert read_foreign_metadata({GID: text}, 0) == ill_formed(GID)


@pytest.mark.parametrize(
    ("text", "mode"), [("644", 0o644), ("0", 0), ("0755", 0o755), ("100644", 0o644)]
)
def test_a_mode_is_octal(text: str, mode: int) -> None:
    assert read_foreign_metadata({MODE: text}, 0).mode == mode


def test_set_user_id_and_set_group_id_are_left_out_of_a_mode() -> None:
    assert read_foreign_metadata({MODE: "7755"}, 0).mode == 0o755


@pytest.mark.parametrize("text", ["", "-644", "0o644", "888", "rwx", "1000000000"])
def test_text_that_is_no_mode_is_ignored(text: str) -> None:
    assert read_foreign_metadata({MODE: text}, 0) == ill_formed(MODE)


@given(
    st.dictionaries(st.sampled_from(KEYS) | st.text(), st.text() | st.from_regex(r"[-+.0-9TZ:]*")),
    st.integers(0, 2**63 - 1),
)
@example({TARGET: "\0"}, 0)
def test_any_metadata_is_read_or_ignored(metadata: dict[str, str], size: int) -> None:
    attributes = read_foreign_metadata(metadata, size)
    assert set(attributes.ill_formed) <= set(metadata) & set(KEYS)
    assert len(set(attributes.ill_formed)) == len(attributes.ill_formed)
    if attributes.link is not None:
        assert 0 < attributes.link.size <= MAX_TARGET_BYTES
        assert attributes.link.target is None or is_target(attributes.link.target)
    for time_ns in (attributes.mtime_ns, attributes.atime_ns):
        assert time_ns is None or abs(time_ns // NS) < 2**38
    for number in (attributes.uid, attributes.gid):
        assert number is None or 0 <= number < 2**32 - 1
    assert attributes.mode is None or 0 <= attributes.mode <= 0o777


@given(
    st.datetimes(datetime(1000, 1, 3), datetime(9999, 12, 29)),
    st.integers(0, 999),
    st.integers(-23 * 60, 23 * 60),
)
def test_every_time_of_rfc_3339_is_read(
    time: datetime, nanoseconds: int, offset_minutes: int
) -> None:
    zone = timezone(timedelta(minutes=offset_minutes))
    local = time.replace(tzinfo=UTC).astimezone(zone)
    sign = "-" if offset_minutes < 0 else "+"
    hours, minutes = divmod(abs(offset_minutes), 60)
    text = f"{local:%Y-%m-%dT%H:%M:%S}.{local.microsecond:06}{nanoseconds:03}"
    attributes = read_foreign_metadata({PRECISE_MTIME: f"{text}{sign}{hours:02}:{minutes:02}"}, 0)
    microseconds = (time.replace(tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
    assert attributes.mtime_ns == microseconds * 1000 + nanoseconds


@given(st.integers(0, 253_402_300_799), st.integers(0, 0o777), st.integers(0, 2**32 - 2))
def test_every_number_is_read(seconds: int, mode: int, number: int) -> None:
    attributes = read_foreign_metadata(
        {MTIME: f"{seconds}", MODE: f"{mode:03o}", UID: f"{number}"}, 0
    )
    assert attributes == ForeignMetadata(mtime_ns=seconds * NS, mode=mode, uid=number)
