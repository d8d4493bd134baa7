from __future__ import annotations

from gcsmux_fs.namespace.forgotten_inodes import ForgottenInodes


def test_the_oldest_are_dropped_one_kind_beside_the_other() -> None:
    forgotten = ForgottenInodes(most=2)
    forgotten.note_directory(9, "a/")
    for number, name in enumerate("xyz"):
        forgotten.note_file(number, name)
    assert [forgotten.file(number) for number in range(3)] == [None, "y", "z"]
    assert forgotten.directory(9) == "a/"


def test_what_is_forgotten_again_is_the_newest() -> None:
    forgotten = ForgottenInodes(most=2)
    for number in (1, 2, 1, 3):
        forgotten.note_file(number, str(number))
    assert [forgotten.file(number) for number in (1, 2, 3)] == ["1", None, "3"]
