"""Tests that a chunk store serves right bytes after a power cut at any moment."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.support.sizes import KIB, MIB

from .choices import NoLoss, RandomChoices, every_choice
from .disk_history import Losses
from .objects import CachedObject, check_reads, read_everything, write_everything
from .stores import MountedStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .choices import Choices
    from .disk_history import Disk, DiskHistory

OBJECTS = (CachedObject("a", 20_000), CachedObject("a", 20_000, generation=2))


def examine(disk: Disk, root: Path, choices: Choices, losses: Losses, wanted: tuple[CachedObject, ...]) -> int:
    """Cut the power, start again, and read and write; return the number of bytes that survived."""
    root.mkdir(mode=0o700)
    disk.materialize(root, choices, losses)
    with MountedStore(root) as mounted:
        served = sum(check_reads(mounted.store, each) for each in wanted)
        for each in wanted:
            write_everything(mounted.store, each)
        for each in wanted:
            read_everything(mounted.store, each)
    shutil.rmtree(root)
    return served
