"""docs/RELIABILITY.md, written from what rows have come to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.reliability.rows import RIGHT, Reader, described

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tests.reliability.rows import Group, Row
    from tests.reliability.stage import Outcome

__all__ = ["DOCUMENT", "RENEWAL", "check", "document"]

DOCUMENT = Path(__file__).parents[2] / "docs" / "RELIABILITY.md"
RENEWAL = "make reliability"
_INTRODUCTION = Path(__file__).with_name("introduction.md")

_COLUMNS = ("fault", "what was ordered", "what the reader saw", "requests", "what was counted")
_DEFECTS = """\
## What is not survived as it should be

These rows are played as well, and have to come out wrong: who mends one is told so.
"""


def check(row: Row, outcome: Outcome) -> None:
    """Fail unless a row came out as it has to."""
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
        counted = outcome.counted[name]
        assert counted >= least if least else counted == 0, f"{name} has grown by {counted}"


def document(groups: Sequence[Group], limits: Sequence[str]) -> str:
    """Return the document; `limits` are what no reader can be protected from."""
    parts = [_INTRODUCTION.read_text()]
    for group in groups:
        rows = [row for row in group.rows if not row.defect]
        parts.append(f"## {group.title}\n")
        parts.append(_table(_COLUMNS, [_cells(row) for row in rows]))
    if defects := [row for group in groups for row in group.rows if row.defect]:
        parts.append(_DEFECTS)
        cells = [(row.fault, _ordered(row), row.defect) for row in defects]
        parts.append(_table(("fault", "what was ordered", "what happens"), cells))
    if limits:
        parts.append("## What nothing here can tell\n")
        parts.append("".join(f"- {limit}\n" for limit in limits))
    return "\n".join(parts)


def _cells(row: Row) -> tuple[str, ...]:
    mark = " †" if row.mount.hasty else " ‡" if row.mount.lasting else ""
    fault = row.fault + mark
    return (fault, _ordered(row), _saw(row), f"at most {row.requests}", _counted(row.counters))


def _ordered(row: Row) -> str:
    return "; ".join(described(rule) for rule in row.rules)


def _saw(row: Row) -> str:
    errors = " or ".join(f"`{name}`" for name in row.errors)
    answer = errors or row.sees
    if errors and row.reader is Reader.RANDOM:
        answer = f"{errors} for some reads, the right bytes for the others"
    return answer if row.reader is Reader.SEQUENTIAL else f"{answer} ({row.reader})"


def _counted(counters: Mapping[str, int]) -> str:
    return ", ".join(f"`{name}` {least}" for name, least in counters.items())


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
