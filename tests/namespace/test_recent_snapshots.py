from __future__ import annotations

from gcsmux_fs.namespace.recent_snapshots import SAME_CALL_SECONDS, RecentSnapshots

PARENT, NAME, INODE = 1, b"name", 77
THREAD, OTHER = 4001, 4002


def after_lookup() -> RecentSnapshots:
    recent = RecentSnapshots()
    recent.note(THREAD, PARENT, NAME, INODE, 10.0)
    return recent


def test_the_next_lookup_of_the_same_thread_leads_to_the_same_snapshot() -> None:
    assert after_lookup().recall(THREAD, PARENT, NAME, 10.0 + SAME_CALL_SECONDS / 2) == INODE


def test_another_thread_another_name_or_a_later_lookup_leads_to_the_newest_size() -> None:
    assert after_lookup().recall(OTHER, PARENT, NAME, 10.0) is None
    assert after_lookup().recall(THREAD, PARENT, b"other", 10.0) is None
    assert after_lookup().recall(THREAD, PARENT + 1, NAME, 10.0) is None
    assert after_lookup().recall(THREAD, PARENT, NAME, 10.1) is None


def test_a_thread_that_has_opened_a_file_is_led_to_the_newest_size() -> None:
    recent = after_lookup()
    recent.opened(THREAD)
    assert recent.recall(THREAD, PARENT, NAME, 10.0) is None


def test_an_unknown_thread_is_led_to_the_newest_size() -> None:
    recent = RecentSnapshots()
    recent.note(0, PARENT, NAME, INODE, 10.0)
    assert recent.recall(0, PARENT, NAME, 10.0) is None
