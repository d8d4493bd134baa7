"""Tests of `gcsmux cache`: the size of a cache, its damage, and how it is emptied."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.caching.cache_directory import open_cache_directory
from gcsmux_fs.caching.chunk_format import HEADER_BYTES, ChunkId
from gcsmux_fs.caching.chunk_store import ChunkStore
from gcsmux_fs.caching.space_account import SpaceAccount
from gcsmux_fs.commands import gcsmux
from tests.support.sizes import GIB, KIB

if TYPE_CHECKING:
    from pathlib import Path

IDENTITY = bytes(range(16))
CONTENT = memoryview(bytes(range(256)) * 256)
GRANULE = 16 * KIB
CHUNK = f"gcsmux-cache-v1/{ChunkId(IDENTITY, 0).path}"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A directory with a cache of one object of 64 KiB, and a file of the user."""
    (tmp_path / "thesis.txt").write_text("text")
    with open_cache_directory(str(tmp_path)) as directory:
        store = ChunkStore(directory.files)
        store.write(IDENTITY, len(CONTENT), 0, CONTENT)
        store.close()
    return tmp_path


def answer(capsys: pytest.CaptureFixture[str], *words: str | Path, code: int = 0) -> str:
    assert gcsmux.run(["cache", *map(str, words)]) == code
    return capsys.readouterr().out


def test_a_healthy_cache_is_counted_and_verified(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = json.loads(answer(capsys, "stats", "--json", cache))
    assert (shown["directory"], shown["files"]) == (str(cache), 1)
    assert shown["bytes"] >= len(CONTENT)
    assert shown["free_bytes"] > 0
    assert " in 1 file, used by no mount now\n" in answer(capsys, "stats", cache)
    assert "64.0 KiB are correct; no damage\n" in answer(capsys, "verify", cache)


def test_the_mounts_of_a_cache_are_counted(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open_cache_directory(str(cache)) as directory:
        accounts = [
            SpaceAccount(directory.files, size_bytes=size, min_free_bytes=0, clock=lambda: 0.0)
            for size in (GIB, 2 * GIB)
        ]
        for account in accounts:
            account.flush()
        shown = json.loads(answer(capsys, "stats", "--json", cache))
        assert (shown["mounts"], shown["limit_bytes"]) == (2, GIB)
        assert "used by 2 mounts with --cache-size 1.0 GiB\n" in answer(capsys, "stats", cache)
        for account in accounts:
            account.close()
    shown = json.loads(answer(capsys, "stats", "--json", cache))
    assert (shown["mounts"], shown["limit_bytes"]) == (0, None)


def test_damage_is_named_and_dropped_once(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (cache / CHUNK).open("r+b") as file:
        file.seek(HEADER_BYTES + 2 * GRANULE)
        file.write(b"!")
    (cache / CHUNK).with_name("stranger").write_text("text")
    shown = json.loads(answer(capsys, "verify", "--json", cache, code=1))
    assert shown["verified_bytes"] == 3 * GRANULE
    assert sorted(damage["removed"] for damage in shown["damages"]) == [False, True]
    assert "48.0 KiB are correct; no damage" in answer(capsys, "verify", cache)


def test_clear_removes_the_content_and_nothing_else(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "removed 68.0 KiB in 1 file\n" in answer(capsys, "clear", cache)
    assert "0 bytes in 0 files" in answer(capsys, "stats", cache)
    assert (cache / "thesis.txt").read_text() == "text"


@pytest.mark.parametrize("command", ["stats", "verify", "clear"])
def test_a_directory_without_a_cache_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    (tmp_path / "thesis.txt").write_text("text")
    assert gcsmux.run(["cache", command, str(tmp_path)]) == 2
    assert f"{tmp_path} contains no cache" in capsys.readouterr().err
    assert gcsmux.run(["cache", command, str(tmp_path / "absent")]) == 2
    assert "does not exist: write the path that mounts have" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
