"""Tests of which names are invalidated for a path in the mount."""

from __future__ import annotations

import pytest

from gcsmux_fs.namespace.entry import NoSuchEntry
from gcsmux_fs.namespace.path_names import names_of_path

# A file name that only a directory for a part of a long name has.
PART = b"%part~" + b"x" * 249


@pytest.mark.parametrize(
    ("root", "path", "names"),
    [
        ("", "", [""]),
        ("data/", "", ["data/"]),
        ("", "a", ["a", "a/"]),
        ("", "/a//b/", ["a/b", "a/b/"]),
        ("data/", "a/b", ["data/a/b", "data/a/b/"]),
        ("", "a/%file~b", ["a/b"]),
        ("", "a/%content~", ["a/"]),
        ("", "%~/b", ["/b", "/b/"]),
        ("", "é", ["é", "é/"]),
        ("", f"a/{PART.decode()}", ["a/"]),
        ("", f"a/{PART.decode()}/{PART.decode()}", ["a/"]),
    ],
)
def test_both_names_of_a_path_are_dropped(root: str, path: str, names: list[str]) -> None:
    assert names_of_path(root, path) == names


@pytest.mark.parametrize("path", ["\udcff", "%file~/x/%file~", "x" * 256])
def test_a_path_that_no_entry_can_have_is_an_error(path: str) -> None:
    with pytest.raises(NoSuchEntry):
        names_of_path("", path)
