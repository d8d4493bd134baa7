from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gcsmux_fs.namespace.names import (
    MAX_FILE_NAME_BYTES,
    Form,
    is_plain,
    locate,
    locate_directory,
    place,
    step_from,
)

from .object_names import buckets, names


def path_of_directory(location: str) -> tuple[bytes, ...]:
    components: list[bytes] = []
    while location:
        location, name = locate_directory(location)
        components.insert(0, name)
    return tuple(components)


def path_of(target: str, form: Form) -> tuple[bytes, ...]:
    location, name = locate(target, form)
    return (*path_of_directory(location), name)


def path(name: str, *, beside_folder: bool = False) -> bytes:
    form = Form.FILE if beside_folder else Form.CONTENT if name.endswith("/") else Form.PLAIN
    return b"/".join(path_of(name, form))


def walk(components: tuple[bytes, ...]) -> str:
    """Return the object that a path leads to if all directories on the path exist."""
    location = ""
    for component in components[:-1]:
        step = step_from(location, component)
        assert step is not None
        location = step.target if step.form is Form.PART else step.target + "/"
    last = step_from(location, components[-1])
    assert last is not None
    assert last.form is not Form.PART
    return last.target


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("photos/2024/cat.jpg", b"photos/2024/cat.jpg"),
        ("naïve\n file", "naïve\n file".encode()),
        ("100%/a%20b", b"100%/a%20b"),
        ("a//b", b"a/%~/b"),
        ("/a", b"%~/a"),
        ("a/./b", b"a/%~./b"),
        ("a/../b", b"a/%~../b"),
        ("nul\0", b"%~nul%00"),
        ("%~100%", b"%~%25~100%25"),
        ("%file~x", b"%~%25file~x"),
        ("%anything~x", b"%~%25anything~x"),
        ("a/", b"a/%content~"),
        ("/", b"%~/%content~"),
        ("x" * 300, b"%part~" + b"x" * 249 + b"/" + b"x" * 51),
        ("x" * 249 + "." * 7, b"%part~" + b"x" * 249 + b"/" + b"." * 7),
        ("x" * 249 + "." * 2, b"x" * 249 + b".."),
        ("x" * 254 + "/y", b"x" * 254 + b"/y"),
    ],
)
def test_an_object_name_is_spelled_as_documented(name: str, expected: bytes) -> None:
    assert expected == path(name)


@given(text=names | st.text())
@example(text="x" * 255)
@example(text="x" * 256)
@example(text="é" * 128)
@example(text="\n")
def test_a_name_is_plain_exactly_if_it_is_spelled_as_itself(text: str) -> None:
    component = text.replace("/", "")
    placed = place("d/", component, Form.PLAIN)
    assert placed is not None
    as_itself = placed.part is None and placed.name == component.encode()
    assert is_plain("d/" + component, 2) == as_itself


def test_an_object_beside_a_folder_of_its_name_is_marked() -> None:
    assert path("dir/50%", beside_folder=True) == b"dir/%file~50%25"


def test_a_name_that_is_too_long_with_its_marker_is_in_a_part_directory() -> None:
    name = "x" * 250
    assert path(name) == b"x" * 250
    assert path(name, beside_folder=True) == b"%part~" + b"x" * 249 + b"/%file~x"


@pytest.mark.parametrize(
    "name",
    [
        b"",
        b".",
        b"..",
        b"a/b",
        b"\xff",
        b"\xed\xa0\x80",  # a lone surrogate
        b"%~plain",
        b"%~%41",
        b"%~100%",
        b"%other~x",
        b"%file~",
        b"%content~x",
        b"%part~short",
        b"%part~" + b"x" * 250,
        b"%part~%" + b"x" * 244,
        b"x" * 256,
    ],
)
def test_a_file_name_that_is_no_spelling_leads_nowhere(name: bytes) -> None:
    assert step_from("dir/", name) is None


def test_a_long_name_is_not_found_under_shorter_parts() -> None:
    assert step_from("x" * 248, b"xyz") is None
    assert step_from("x" * 249, b"123456") is None
    assert step_from("x" * 249, b"1234567") is not None


def test_the_root_of_a_bucket_has_no_content() -> None:
    assert step_from("", b"%content~") is None


@given(names, st.booleans())
@example("\0" * 1024, True)
@example("/" * 1024, False)
@example("é" * 512, True)
def test_a_path_leads_back_to_its_object(name: str, beside_folder: bool) -> None:
    form = Form.CONTENT if name.endswith("/") else Form.FILE if beside_folder else Form.PLAIN
    components = path_of(name, form)
    assert name == walk(components)
    for component in components:
        assert 1 <= len(component) <= MAX_FILE_NAME_BYTES
        assert component not in (b".", b"..")
        assert b"/" not in component
        assert b"\0" not in component
    assert len(b"/".join(components)) <= 3 * len(name.encode()) + 128


@given(buckets)
def test_no_two_objects_and_no_object_and_directory_share_a_path(bucket: dict[str, int]) -> None:
    directories = {
        name[: index + 1] for name in bucket for index, char in enumerate(name) if char == "/"
    }
    files = [
        path_of(
            name,
            Form.CONTENT
            if name.endswith("/")
            else Form.FILE
            if name + "/" in directories
            else Form.PLAIN,
        )
        for name in bucket
    ]
    paths = files + [path_of_directory(location) for location in directories]
    assert len(set(paths)) == len(paths)
    # The path of a file is never a directory on the path of another file.
    ancestors = {path[:depth] for path in paths for depth in range(1, len(path))}
    assert not ancestors & set(files)


@given(names, st.binary(min_size=1, max_size=12) | names.map(str.encode))
def test_a_file_name_is_accepted_only_if_a_listing_would_show_it(
    location: str, name: bytes
) -> None:
    location = location[: location.rfind("/") + 1]
    step = step_from(location, name)
    if step is not None and step.form in (Form.PLAIN, Form.FILE):
        shown = place(location, step.target[len(location) :], step.form)
        assert shown is not None
        assert name == shown.name
