"""Tests of the file of frozen names: damage, crashes, and the mount that it is of."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

import pytest
import trio

from gcsmux_fs.history.freeze_files import (
    FreezeFileBusy,
    WriterLock,
    read_freeze_file,
    write_freeze_file,
)
from gcsmux_fs.history.freeze_format import (
    BrokenFreezeFile,
    FreezeHeader,
    FrozenState,
    digest_of,
    lines_of,
    load_lines,
)
from gcsmux_fs.history.freeze_keeper import FreezeKeeper
from gcsmux_fs.history.frozen_names import FrozenNames
from gcsmux_fs.history.history_findings import as_of_warning, check_frozen_state
from gcsmux_fs.history.key_ranges import END, KeyRange
from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.model.object_versions import BucketRetention
from gcsmux_fs.model.values import ListingPage, ObjectInfo
from gcsmux_fs.settings.rfc3339 import parse_time, show_time

if TYPE_CHECKING:
    from pathlib import Path

HEADER = FreezeHeader("bucket", "a/", 1_500_000_000)
OBJECTS = (
    ObjectInfo("plain", 1, 2, 3, crc32c=4, content_type="text/plain", storage_class="STANDARD"),
    ObjectInfo('q"uote\t\u2028ü', 9_007_199_254_740_993, 0, -5, 7, metadata={"k": "v"}),
    ObjectInfo("\U0001faa3", 5, 6, 7, finalized=False, content_encoding="gzip"),
)


def frozen(*objects: ObjectInfo) -> FrozenNames:
    names = FrozenNames()
    names.pin("", KeyRange("", END), ListingPage(objects, ("dir/",), ""))
    return names


def content(names: FrozenNames, *, is_complete: bool = True) -> bytes:
    return b"".join(lines_of(HEADER, names, written_ns=0, is_complete=is_complete))


def load(data: bytes) -> FrozenState:
    return load_lines(data.splitlines(keepends=True))


def test_every_value_of_an_object_survives_the_file() -> None:
    state = load(content(frozen(*OBJECTS)))
    assert state.header == HEADER
    for info in OBJECTS:
        _, row = state.names.find(info.name)
        assert row is not None
        assert row.info == info


def test_two_orders_of_the_same_answers_have_the_same_digest() -> None:
    together, apart = frozen(*OBJECTS), FrozenNames()
    for info in OBJECTS:
        apart.pin("", KeyRange(info.name, info.name + "\0"), ListingPage((info,), (), ""))
    assert digest_of(together) == digest_of(apart)
    assert digest_of(frozen(*OBJECTS[1:])) != digest_of(together)


@pytest.mark.parametrize("step", range(23))
def test_a_damaged_file_is_refused(step: int) -> None:
    data = content(frozen(*OBJECTS))
    position = len(data) * step // 23
    for damaged in (
        data[:position],
        data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :],
    ):
        with pytest.raises(BrokenFreezeFile):
            load(damaged)
    with pytest.raises(BrokenFreezeFile):
        load(data + data)


def test_a_newer_version_is_refused_with_its_number() -> None:
    first, _, rest = content(frozen()).partition(b"\n")
    newer = json.dumps({**json.loads(first), "version": 2}).encode()
    with pytest.raises(BrokenFreezeFile, match="its version is 2"):
        load(newer + b"\n" + rest)


def test_a_replaced_file_keeps_its_permissions_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "names"
    assert read_freeze_file(path) is None
    write_freeze_file(path, HEADER, frozen(), written_ns=0, is_complete=False)
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    write_freeze_file(path, HEADER, frozen(*OBJECTS), written_ns=0, is_complete=True)
    assert path.stat().st_mode & 0o777 == 0o644
    state = read_freeze_file(path)
    assert state is not None
    assert (state.is_complete, state.names.objects) == (True, 3)
    assert list(tmp_path.iterdir()) == [path]


def test_no_second_mount_uses_a_file_before_its_last_names_are_written(tmp_path: Path) -> None:
    path = tmp_path / "names"
    first, second, third = WriterLock(), WriterLock(), WriterLock()
    assert read_freeze_file(path, first) is None
    for names in (frozen(), frozen(OBJECTS[0])):
        write_freeze_file(path, HEADER, names, written_ns=0, is_complete=False, lock=first)
        with pytest.raises(FreezeFileBusy):
            read_freeze_file(path, second)
    first.release()  # The mount was killed.
    assert read_freeze_file(path, second) is not None
    with pytest.raises(FreezeFileBusy):
        read_freeze_file(path, first)
    write_freeze_file(path, HEADER, frozen(*OBJECTS), written_ns=0, is_complete=True, lock=second)
    for lock in (first, second, third):  # Any number of mounts use a complete file.
        state = read_freeze_file(path, lock)
        assert state is not None
        assert state.is_complete


@pytest.mark.real_time
async def test_the_last_file_is_complete_and_has_the_last_names(tmp_path: Path) -> None:
    path = tmp_path / "names"
    names = frozen(OBJECTS[0])
    keeper = FreezeKeeper(names, HEADER, path, is_closed=False)
    async with trio.open_nursery() as tasks:
        tasks.start_soon(keeper.run)
        keeper.write_soon()
        with trio.fail_after(20):
            while not path.exists():  # noqa: ASYNC110
                await trio.sleep(0.01)
        first = read_freeze_file(path)
        assert first is not None
        assert (first.is_complete, first.names.objects) == (False, 1)
        names.pin(
            "dir/", KeyRange("dir/", "dir0"), ListingPage((ObjectInfo("dir/b", 1, 1, 1),), (), "")
        )
        assert not keeper.facts()["is_current"]
        await keeper.close()
        tasks.cancel_scope.cancel()
    last = read_freeze_file(path)
    assert last is not None
    assert (last.is_complete, last.names.objects) == (True, 2)
    assert keeper.facts()["digest"] == last.digest


@pytest.mark.real_time
async def test_a_file_that_cannot_be_written_is_shown_and_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keeper = FreezeKeeper(frozen(), HEADER, tmp_path / "absent" / "names", is_closed=False)
    with caplog.at_level(logging.ERROR):
        await keeper.close()
        await keeper.close()
    assert "cannot be written: No such file or directory" in keeper.facts()["problem"]
    (record,) = caplog.records
    assert record.getMessage() == keeper.facts()["problem"]
    caplog.clear()


@pytest.mark.parametrize(
    ("wanted", "is_complete", "message"),
    [
        (FreezeHeader("bucket", "a/b/", 1_500_000_000), False, ""),
        (FreezeHeader("bucket", "a/", None), True, ""),
        (FreezeHeader("bucket", "a/", None), False, "with --as-of 1970-01-01T00:00:01.5Z"),
        (FreezeHeader("bucket", "a/", 5), True, "write the same time"),
        (FreezeHeader("bucket", "", 1_500_000_000), True, "has the names of gs://bucket/a"),
        (FreezeHeader("other", "a/", 1_500_000_000), True, "has the names of gs://bucket/a"),
    ],
)
def test_a_file_of_another_mount_is_refused(
    tmp_path: Path, wanted: FreezeHeader, is_complete: bool, message: str
) -> None:
    state = load(content(frozen(), is_complete=is_complete))
    if not message:
        check_frozen_state(tmp_path, state, wanted)
        return
    with pytest.raises(ConfigError, match=message):
        check_frozen_state(tmp_path, state, wanted)


@pytest.mark.parametrize(
    ("retention", "lists_soft_deleted", "message"),
    [
        (BucketRetention(True, 0), False, ""),
        (None, True, "may not read whether gs://b keeps old generations"),
        (BucketRetention(False, 604800), True, "cannot be read before it is restored"),
        (BucketRetention(False, 604800), False, "is missing"),
        (BucketRetention(False, 0), True, "still exist"),
    ],
)
def test_one_sentence_says_what_a_bucket_cannot_show(
    retention: BucketRetention | None, lists_soft_deleted: bool, message: str
) -> None:
    warning = as_of_warning("b", retention, lists_soft_deleted=lists_soft_deleted)
    assert message in warning
    assert bool(warning) == bool(message)
    assert warning.count(". ") == 0


@pytest.mark.parametrize(
    ("text", "time_ns", "shown"),
    [
        ("1970-01-01T00:00:01.5Z", 1_500_000_000, "1970-01-01T00:00:01.5Z"),
        ("2026-11-30 13:00:00+01:00", 1_796_040_000 * 10**9, "2026-11-30T12:00:00Z"),
        ("1969-12-31T23:59:59.999999999z", -1, "1969-12-31T23:59:59.999999999Z"),
    ],
)
def test_a_time_is_read_and_shown(text: str, time_ns: int, shown: str) -> None:
    assert parse_time(text) == time_ns
    assert show_time(time_ns) == shown
    assert parse_time(shown) == time_ns


@pytest.mark.parametrize("text", ["2026-11-30T12:00:00", "yesterday", "2026-02-30T12:00:00Z", ""])
def test_an_ambiguous_time_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a time"):
        parse_time(text)
