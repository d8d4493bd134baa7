"""How `pytest -n 2` distributes tests: each test alone, the fault table as one unit."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

__all__ = ["Scheduler"]

_FAULT_TABLE = "tests/reliability/test_faults.py"


class Scheduler(LoadScopeScheduling):  # type: ignore[misc]
    """Gives the next test to the worker that is free.

    One worker plays the whole fault table: its rows share mounts, and the test of the document
    needs all outcomes. The table is the largest unit, so it starts first. (The marker
    `xdist_group` does nothing with pytest 9 and pytest-xdist 3.8.)
    """

    def _split_scope(self, nodeid: str) -> str:
        return _FAULT_TABLE if nodeid.startswith(_FAULT_TABLE) else nodeid
