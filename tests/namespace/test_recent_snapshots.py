from __future__ import annotations

from gcsmux_fs.namespace.recent_snapshots import SAME_CALL_SECONDS, RecentSnapshots

PARENT, NAME, INODE = 1, b"name", 77
THREAD, OTHER = 4001, 4002


def told() -> RecentSnapshots:
    recent = RecentSnapshots()
    recent.note(THREAD, PARENT, NAME, INODE, 10.0)
    return recent


def test_the_next_lookup_of_the_same_thread_leads_to_the_same_snapshot() -> None:
    assert told().recall(THREAD, PARENT, NAME, 10.0 + SAME_CALL_SECONDS / 2) == INODE


def test_another_thread_another_name_or_a_later_lookup_sees_the_newest() -> None:
    assert told().recall(OTHER, PARENT, NAME, 10.0) is None
    assert told().recall(THREAD, PARENT, b"other", 10.0) is None
    assert told().recall(THREAD, PARENT + 1, NAME, 10.0) is None
    assert told().recall(THREAD, PARENT, NAME, 10.1) is None


def test_who_has_opened_the_snapshot_sees_the_newest() -> None:
    recent = told()
    recent.opened(THREAD)
    assert recent.recall(THREAD, PARENT, NAME, 10.0) is None


def test_a_thread_without_a_name_sees_the_newest() -> None:
    recent = RecentSnapshots()
    recent.note(0, PARENT, NAME, INODE, 10.0)
    assert recent.recall(0, PARENT, NAME, 10.0) is None
