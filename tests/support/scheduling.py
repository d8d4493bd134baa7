"""The order in which `pytest -n 2` gives the tests to its workers."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

__all__ = ["Scheduler"]

# The beginnings of the names of tests that one worker runs.
_TOGETHER = (
    "tests/reliability/test_faults.py",
    "tests/reliability/test_disk_faults.py::test_readers_do_not_notice_a_fault_of_the_disk",
    "tests/reliability/test_change_faults.py",
)


class Scheduler(LoadScopeScheduling):  # type: ignore[misc]
    """Gives the next test to the worker that is free.

    One worker runs all tests of a fault table, because the rows of a table share mounts and the
    test of the document needs the results of all rows. The tests of the fault tables start first,
    because no other group has so many tests. (The marker `xdist_group` does nothing with
    pytest 9 and pytest-xdist 3.8.)
    """

    def _split_scope(self, nodeid: str) -> str:
        return next((name for name in _TOGETHER if nodeid.startswith(name)), nodeid)
