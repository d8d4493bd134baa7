"""Tests of all rows of the fault table, and of docs/RELIABILITY.md, which lists the rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.reliability import report
from tests.reliability.change_rows import CHANGE_ROWS
from tests.reliability.disk_rows import DISK_ROWS
from tests.reliability.table import GROUPS, LIMITS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.reliability.rows import Row
    from tests.reliability.stage import Outcome, Stage

pytestmark = pytest.mark.mount

# All rows, the long rows last. The long rows start together with the first row, so most long rows
# have ended when the test waits for them.
_ROWS = sorted((row for group in GROUPS for row in group.rows), key=lambda row: row.mount.long)
_played: set[str] = set()


def _parameter(row: Row) -> object:
    marks = [pytest.mark.xfail(reason=row.defect, strict=True)] if row.defect else []
    return pytest.param(row, id=row.fault, marks=marks)


@pytest.mark.parametrize("row", [_parameter(row) for row in _ROWS])
def test_a_fault_causes_a_pause_or_an_errno(
    row: Row, stage: Stage, long_rows: Callable[[Row], Outcome]
) -> None:
    _played.add(row.fault)
    report.check(row, long_rows(row) if row.mount.long else stage.play(row))


def test_no_two_rows_have_the_same_name() -> None:
    assert len(_ROWS) == len({row.fault for row in _ROWS})


def test_the_document_lists_the_outcomes_of_the_rows(request: pytest.FixtureRequest) -> None:
    if _played != {row.fault for row in _ROWS} or request.session.testsfailed:
        pytest.skip("not all rows have run and passed")
    document = report.document(GROUPS, DISK_ROWS, CHANGE_ROWS, LIMITS)
    if request.config.getoption("--write-reliability", default=False):
        report.DOCUMENT.write_text(document)
    assert report.DOCUMENT.read_text() == document, (
        f"docs/RELIABILITY.md differs from what this run would write: run `{report.RENEWAL}`"
    )
