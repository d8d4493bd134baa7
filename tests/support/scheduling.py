"""The order in which `pytest -n 2` gives the tests to its workers."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

__all__ = ["Scheduler"]

_FAULT_TABLE = "tests/reliability/test_faults.py"


class Scheduler(LoadScopeScheduling):  # type: ignore[misc]
    """Gives the next test to the worker that is free.

    One worker runs all tests of the fault table, because the rows of this table share mounts and
    the test of the document needs the results of all rows. The tests of the fault table start
    first, because no other group has so many tests. (The marker `xdist_group` does nothing with
    pytest 9 and pytest-xdist 3.8.)
    """

    def _split_scope(self, nodeid: str) -> str:
        return _FAULT_TABLE if nodeid.startswith(_FAULT_TABLE) else nodeid
