"""The stage on which all rows are played, and the option that writes the document."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.reliability.rows import Row
from tests.reliability.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.reliability.stage import Outcome


def pytest_addoption(parser: pytest.Parser) -> None:
    # Known only where this folder is named on the command line: see the Makefile.
    parser.addoption(
        "--write-reliability",
        action="store_true",
        help="write docs/RELIABILITY.md from this run, instead of comparing it",
    )


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """One emulator for all rows but the lasting ones, with the mounts that they share."""
    with _new_stage() as one:
        yield one


@pytest.fixture(scope="module")
def lasting(request: pytest.FixtureRequest) -> Iterator[Callable[[Row], Outcome]]:
    """Begin all rows that take long, each on a stage of its own; wait for what one comes to."""
    wanted = [
        item.callspec.params.get("row")
        for item in request.session.items
        if isinstance(item, pytest.Function) and hasattr(item, "callspec")
    ]
    rows = [row for row in wanted if isinstance(row, Row) and row.mount.lasting]
    with ThreadPoolExecutor(len(rows) + 1) as threads:
        begun = {row.fault: threads.submit(_play_apart, row) for row in rows}
        yield lambda row: begun[row.fault].result()


def _play_apart(row: Row) -> Outcome:
    with _new_stage() as one:
        return one.play(row)


@contextmanager
def _new_stage() -> Iterator[Stage]:
    with (
        tempfile.TemporaryDirectory(prefix="gcsmux-reliability-") as name,
        Stage(Path(name)) as one,
    ):
        yield one
