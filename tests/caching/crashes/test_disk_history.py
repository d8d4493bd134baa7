"""Tests of the model of a disk: which states a power cut can leave, and that it finds defects."""

from __future__ import annotations

import zlib
from random import Random
from typing import TYPE_CHECKING

import pytest

from .choices import NoLoss, RandomChoices, every_choice
from .disk_history import ROOT, DiskHistory, Losses, Operation

if TYPE_CHECKING:
    from pathlib import Path

SECTOR = 512


def history(*operations: Operation) -> DiskHistory:
    made = DiskHistory()
    made.operations += operations
    return made


def file_states(made: DiskHistory, folder: Path, losses: Losses) -> set[bytes | None]:
    """Return all contents of the file `f` after all operations; None: no file."""
    disk = made.disk(len(made.operations), sector_bytes=losses.sector_bytes)
    found: set[bytes | None] = set()
    for number, choices in enumerate(every_choice()):
        root = folder / str(number)
        root.mkdir()
        disk.cut_power(choices, losses).write(root)
        file = root / "f"
        found.add(file.read_bytes() if file.exists() else None)
    return found


CREATED = (Operation("create", 1, 0o600), Operation("name", ROOT, 1, name="f"))
ONE = Operation("write", 1, 0, b"a" * SECTOR + b"b" * SECTOR)


def test_name_size_and_sectors_are_lost_independently(tmp_path: Path) -> None:
    a, b, hole = b"a" * SECTOR, b"b" * SECTOR, bytes(SECTOR)
    states = file_states(history(*CREATED, ONE), tmp_path, Losses(sector_bytes=SECTOR))
    assert states == {None, b"", a + b, a + hole, hole + b, hole + hole}


def test_a_write_is_lost_as_a_whole_without_tears(tmp_path: Path) -> None:
    losses = Losses(sector_bytes=SECTOR, tears=False, metadata=False)
    states = file_states(history(*CREATED, ONE), tmp_path, losses)
    assert states == {ONE.content, bytes(2 * SECTOR)}


def test_bytes_of_a_removed_file_appear_in_a_new_one(tmp_path: Path) -> None:
    made = history(
        Operation("create", 2, 0o600),
        Operation("name", ROOT, 2, name="old"),
        Operation("write", 2, 0, b"x" * SECTOR),
        Operation("unname", ROOT, name="old"),
        *CREATED,
        Operation("write", 1, 0, b"y" * SECTOR),
    )
    losses = Losses(sector_bytes=SECTOR, foreign=True, metadata=False)
    states = file_states(made, tmp_path, losses)
    assert states == {bytes([each]) * SECTOR for each in b"xy\xa5\0"}


def test_half_a_rename(tmp_path: Path) -> None:
    made = history(
        *CREATED, Operation("unname", ROOT, name="f"), Operation("name", ROOT, 1, name="g")
    )
    disk = made.disk(4)
    found = set()
    for number, choices in enumerate(every_choice()):
        root = tmp_path / str(number)
        root.mkdir()
        disk.cut_power(choices, Losses()).write(root)
        found.add(frozenset(file.name for file in root.iterdir()))
    assert found == {frozenset(names) for names in ("", "f", "g", "fg")}


def test_nothing_is_lost_without_losses(tmp_path: Path) -> None:
    made = history(*CREATED, ONE, Operation("truncate", 1, 700))
    made.disk(4).cut_power(NoLoss(), Losses()).write(tmp_path)
    assert (tmp_path / "f").read_bytes() == ONE.content[:700]


def test_few_losses_are_enumerated_completely() -> None:
    made = [tuple(choices.pick(3) for _ in range(3)) for choices in every_choice(max_losses=1)]
    assert sorted(made) == sorted(
        [(0, 0, 0)]
        + [tuple(n if i == p else 0 for i in range(3)) for p in range(3) for n in (1, 2)]
    )
    assert len(made) == len(set(made))
    random = RandomChoices(Random(1), 0.5)
    assert {random.pick(3) for _ in range(100)} == {0, 1, 2}


@pytest.mark.parametrize("is_checked", [True, False])
def test_a_format_without_a_checksum_is_found_out(tmp_path: Path, is_checked: bool) -> None:
    content = b"c" * SECTOR
    entry = (zlib.crc32(content) if is_checked else 1).to_bytes(4, "little")
    made = history(
        *CREATED, Operation("write", 1, SECTOR, content), Operation("write", 1, 0, entry)
    )
    served = set()
    for state in file_states(made, tmp_path, Losses(sector_bytes=SECTOR)):
        if state and (stored := int.from_bytes(state[:4], "little")):
            body = state[SECTOR:]
            served.add(body if not is_checked or zlib.crc32(body) == stored else content)
    assert (served == {content}) == is_checked
