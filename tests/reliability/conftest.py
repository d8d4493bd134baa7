"""The stage on which all rows are played, and the option that writes the document."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.reliability.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator


def pytest_addoption(parser: pytest.Parser) -> None:
    # Known only where this folder is named on the command line: see the Makefile.
    parser.addoption(
        "--write-reliability",
        action="store_true",
        help="write docs/RELIABILITY.md from this run, instead of comparing it",
    )


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """One emulator for all rows, with the mounts that they share."""
    with (
        tempfile.TemporaryDirectory(prefix="gcsmux-reliability-") as name,
        Stage(Path(name)) as one,
    ):
        yield one
