"""Fixtures that run the rows of the fault table, and the option that writes docs/RELIABILITY.md."""

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
    # pytest accepts the option only if the command line names this folder, as the Makefile does.
    parser.addoption(
        "--write-reliability",
        action="store_true",
        help="write docs/RELIABILITY.md from this run, instead of comparing it with this run",
    )


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """Return the stage with the emulator and the mounts that all rows except long rows share."""
    with _new_stage() as shared_stage:
        yield shared_stage


@pytest.fixture(scope="module")
def long_rows(request: pytest.FixtureRequest) -> Iterator[Callable[[Row], Outcome]]:
    """Start all long rows, each on its own stage; return a function that waits for a row."""
    parameters = [
        item.callspec.params.get("row")
        for item in request.session.items
        if isinstance(item, pytest.Function) and hasattr(item, "callspec")
    ]
    rows = [row for row in parameters if isinstance(row, Row) and row.mount.long]
    with ThreadPoolExecutor(len(rows) + 1) as threads:
        outcomes = {row.fault: threads.submit(_play_on_own_stage, row) for row in rows}
        yield lambda row: outcomes[row.fault].result()


def _play_on_own_stage(row: Row) -> Outcome:
    with _new_stage() as own_stage:
        return own_stage.play(row)


@contextmanager
def _new_stage() -> Iterator[Stage]:
    with (
        tempfile.TemporaryDirectory(prefix="gcsmux-reliability-") as name,
        Stage(Path(name)) as new_stage,
    ):
        yield new_stage
