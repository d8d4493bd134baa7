from __future__ import annotations

from gcsmux_fs.namespace.forgotten_inodes import ForgottenInodes


def test_the_oldest_file_is_dropped_and_no_directory() -> None:
    forgotten = ForgottenInodes(limit=2)
    forgotten.note_directory(9, "a/")
    for number, name in enumerate("xyz"):
        forgotten.note_file(number, name)
    places = [forgotten.places_of(number) for number in range(3)]
    assert places == [[], [("", b"y"), ("", b"%file~y")], [("", b"z"), ("", b"%file~z")]]
    assert forgotten.places_of(9) == [("", b"a")]


def test_a_file_that_is_forgotten_again_is_the_newest() -> None:
    forgotten = ForgottenInodes(limit=2)
    for number in (1, 2, 1, 3):
        forgotten.note_file(number, str(number))
    assert [bool(forgotten.places_of(number)) for number in (1, 2, 3)] == [True, False, True]
