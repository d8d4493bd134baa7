"""Compare the outcome of each row with the expected outcome; generate docs/RELIABILITY.md."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.reliability.change_rows import injected_into_feed
from tests.reliability.disk_rows import injected
from tests.reliability.rows import RIGHT, Reader, described

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tests.reliability.change_rows import ChangeRow
    from tests.reliability.disk_rows import DiskRow
    from tests.reliability.rows import Group, Row
    from tests.reliability.stage import Outcome

__all__ = ["DOCUMENT", "RENEWAL", "check", "document"]

DOCUMENT = Path(__file__).parents[2] / "docs" / "RELIABILITY.md"
RENEWAL = "make reliability"
_INTRODUCTION = Path(__file__).with_name("introduction.md")
_DISK_INTRODUCTION = Path(__file__).with_name("disk_introduction.md")

_COLUMNS = ("fault", "injected", "the reader sees", "requests", "metrics")
_CHANGE_INTRODUCTION = Path(__file__).with_name("change_introduction.md")
_CHANGE_COLUMNS = ("fault", "injected", "changes show", "feed", "metrics")
_DISK_COLUMNS = ("fault", "injected", "the mount", "metrics")
_DEFECTS = """\
## Known defects

These rows run too and must fail. If a row passes, the tests fail until its defect is removed here.
"""


def check(row: Row, outcome: Outcome) -> None:
    """Raise AssertionError if the outcome of a row is not the expected outcome."""
    seen = outcome.seen
    assert seen.wrong == 0, seen
    assert bool(seen.errors) == bool(row.errors), seen
    assert {*seen.errors} <= {*row.errors}, seen
    if row.sees == RIGHT or row.reader is Reader.RANDOM:
        assert seen.right > 0, seen
    names = {rule.counted_as for rule in row.rules}
    assert names == {name for name in names if outcome.fired.get(name)}, outcome.fired
    assert outcome.requests <= row.requests, outcome.requests
    for name, least in row.counters.items():
        increase = outcome.increases[name]
        assert increase >= least if least else increase == 0, f"{name} has increased by {increase}"


def document(
    groups: Sequence[Group],
    disk_rows: Sequence[DiskRow],
    change_rows: Sequence[ChangeRow],
    limits: Sequence[str],
) -> str:
    """Return the text of docs/RELIABILITY.md; `limits` are faults that the mount cannot detect."""
    parts = [_INTRODUCTION.read_text()]
    for group in groups:
        rows = [row for row in group.rows if not row.defect]
        parts.append(f"## {group.title}\n")
        parts.append(_table(_COLUMNS, [_cells(row) for row in rows]))
    parts.append(_DISK_INTRODUCTION.read_text())
    parts.append(_table(_DISK_COLUMNS, [_disk_cells(row) for row in disk_rows]))
    parts.append(_CHANGE_INTRODUCTION.read_text())
    parts.append(_table(_CHANGE_COLUMNS, [_change_cells(row) for row in change_rows]))
    if defects := [row for group in groups for row in group.rows if row.defect]:
        parts.append(_DEFECTS)
        cells = [(row.fault, _injected(row), row.defect) for row in defects]
        parts.append(_table(("fault", "injected", "outcome"), cells))
    if limits:
        parts.append("## Faults that the mount cannot detect\n")
        parts.append("".join(f"- {limit}\n" for limit in limits))
    return "\n".join(parts)


def _cells(row: Row) -> tuple[str, ...]:
    mark = " †" if row.mount.short else " ‡" if row.mount.long else ""
    fault = row.fault + mark
    return (fault, _injected(row), _sees(row), f"at most {row.requests}", _metrics(row.counters))


def _disk_cells(row: DiskRow) -> tuple[str, ...]:
    return (row.fault, injected(row), row.pauses.value, _metrics(row.metrics))


def _change_cells(row: ChangeRow) -> tuple[str, ...]:
    fault, show, metrics = injected_into_feed(row), row.show.value, _metrics(row.metrics)
    return (row.fault, fault, show, row.state, metrics)


def _injected(row: Row) -> str:
    return "; ".join(described(rule) for rule in row.rules)


def _sees(row: Row) -> str:
    errors = " or ".join(f"`{name}`" for name in row.errors)
    result = errors or row.sees
    if errors and row.reader is Reader.RANDOM:
        result = f"{errors} in some reads, the right bytes in the others"
    return result if row.reader is Reader.SEQUENTIAL else f"{result} ({row.reader})"


def _metrics(counters: Mapping[str, int]) -> str:
    return ", ".join(f"`{name}` {least}" for name, least in counters.items())


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
