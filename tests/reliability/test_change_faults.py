"""Tests of the faults of the feed of changes: no name is older than the last change applied."""

from __future__ import annotations

import errno
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.reliability.change_rows import CHANGE_ROWS, Show
from tests.reliability.change_stage import (
    HISTORIES,
    is_in_order,
    play_told,
    play_untold,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.reliability.change_rows import ChangeRow
    from tests.reliability.change_stage import ChangeOutcome

pytestmark = pytest.mark.mount


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest,
) -> Iterator[Callable[[ChangeRow], ChangeOutcome]]:
    """Start all rows that this run tests; return a function that waits for the outcome of a row."""
    chosen = [
        item.callspec.params.get("row")
        for item in request.session.items
        if isinstance(item, pytest.Function) and hasattr(item, "callspec")
    ]
    rows = [row for row in CHANGE_ROWS if row in chosen]
    told = [row for row in rows if row.show is not Show.AFTER_TTL]
    untold = [row for row in rows if row.show is Show.AFTER_TTL]
    with _new_folder() as folder, ThreadPoolExecutor(2) as threads:
        (folder / "told").mkdir()
        (folder / "untold").mkdir()
        told_outcomes = threads.submit(play_told, told, folder / "told")
        untold_outcomes = threads.submit(play_untold, untold, folder / "untold")
        yield lambda row: (told_outcomes if row in told else untold_outcomes).result()[row.fault]


@contextmanager
def _new_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="gcsmux-changes-") as name:
        yield Path(name)


@pytest.mark.parametrize("row", [pytest.param(row, id=row.fault) for row in CHANGE_ROWS])
def test_names_are_never_older_than_the_last_change_that_was_applied(
    row: ChangeRow, outcomes: Callable[[ChangeRow], ChangeOutcome]
) -> None:
    outcome = outcomes(row)
    followed = outcome.followed
    assert followed.is_final, followed
    assert not outcome.early
    for name, sizes in followed.sizes.items():
        assert not row.is_ordered or is_in_order(HISTORIES[name], sizes), f"{name}: {sizes}"
    # A program gets ESTALE if a file is overwritten again while the program opens it.
    assert {*followed.errors} <= {os.strerror(errno.ESTALE)}
    assert outcome.state == row.state
    names = {f"{row.fault} {number}" for number in range(len(row.rules))}
    assert names == {name for name in names if outcome.fired.get(name)}, outcome.fired
    for name, least in row.metrics.items():
        increase = outcome.increases[name]
        assert increase >= least if least else increase == 0, f"{name} has increased by {increase}"


def test_the_order_of_sizes_is_checked() -> None:
    assert is_in_order([1, 2, -1, 3], [1, -1, 3])
    assert not is_in_order([1, 2, -1, 3], [2, 1, 3])
    assert not is_in_order([1, 2, -1, 3], [-1, 2])
