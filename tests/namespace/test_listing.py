from __future__ import annotations

import pytest

from gcsmux_fs.model.errors import StorageError
from gcsmux_fs.model.object_table import Row
from gcsmux_fs.model.values import ListingPage, ObjectInfo
from gcsmux_fs.namespace.child import Directory
from gcsmux_fs.namespace.listing import Listing

from .fake_store import object_info


def page(*keys: str, token: str = "", size: int = 3) -> ListingPage:
    """Make a page of objects and prefixes; the key of a prefix ends with `>`."""
    return ListingPage(
        tuple(object_info(key, size=size) for key in keys if not key.endswith(">")),
        tuple(key[:-1] for key in keys if key.endswith(">")),
        token,
    )


def names(listing: Listing) -> list[bytes]:
    return [name for name, _ in listing.entries_from(0)]


def child(listing: Listing, name: bytes) -> ObjectInfo | Directory | None:
    entry = listing.find(name)
    return entry.info if isinstance(entry, Row) else entry


def test_entries_are_shown_page_by_page() -> None:
    listing = Listing("d/")
    listing.add_page(page("d/a", "d/b/>", "d/c", token="1"))
    assert names(listing) == [b"a", b"b"]
    listing.add_page(page("d/e", token="2"))
    assert names(listing) == [b"a", b"b", b"c"]
    listing.add_page(page())
    assert names(listing) == [b"a", b"b", b"c", b"e"]
    assert listing.complete
    assert Directory("d/b/") == child(listing, b"b")
    assert object_info("d/c") == child(listing, b"c")


def test_only_objects_whose_folder_may_still_follow_are_held_back() -> None:
    listing = Listing("")
    listing.add_page(page("a", "a-", "a-b", "a-b-c", token="1"))
    assert names(listing) == [b"a-"]
    listing.add_page(page("a-b/>", "a-c", token="2"))
    assert names(listing)[1:] == [b"%file~a-b", b"a-b-c", b"a-b"]
    listing.add_page(page("a/>", "b", token="3"))
    assert names(listing)[4:] == [b"%file~a", b"a-c", b"a"]


def test_an_object_is_shown_when_a_later_name_sorts_after_its_folder() -> None:
    listing = Listing("")
    listing.add_page(page("foo", "foo.txt", token="1"))
    assert names(listing) == []
    listing.add_page(page("foo0", token="2"))
    assert names(listing) == [b"foo", b"foo.txt"]


def test_an_entry_keeps_its_position_when_an_earlier_name_is_shown_later() -> None:
    listing = Listing("")
    listing.add_page(page("a", "a!", "a!!x", "a-/>", token="1"))
    first = list(names(listing))
    listing.add_page(page("a/>"))
    assert first == names(listing)[: len(first)]


def test_the_placeholder_of_the_directory_is_an_entry_only_if_it_has_content() -> None:
    empty, full = Listing("d/"), Listing("d/")
    empty.add_page(page("d/", "d/a", size=0))
    full.add_page(page("d/", "d/a"))
    assert names(empty) == [b"a"]
    assert names(full) == [b"%content~", b"a"]
    assert object_info("d/", size=0) == empty.placeholder
    assert object_info("d/") == full.placeholder


@pytest.mark.parametrize(
    "pages",
    [
        [page("a/", "a/>", "b")],
        [page("a/", token="1"), page("a/>", "b")],
        [page("a/>", token="1"), page("a/", "b")],
        [page("a", "a/", token="1"), page("a/>", "b")],
    ],
)
def test_a_placeholder_that_is_listed_beside_its_prefix_belongs_to_the_directory(
    pages: list[ListingPage],
) -> None:
    listing = Listing("")
    for each in pages:
        listing.add_page(each)
    assert Directory("a/", object_info("a/")) == child(listing, b"a")
    assert {b"a", b"b"} == set(names(listing)) - {b"%file~a"}


def test_long_names_of_several_pages_are_in_one_part_directory() -> None:
    long = "x" * 249
    listing = Listing("d/")
    listing.add_page(page(f"d/{long}1234567", token="1"))
    listing.add_page(page(f"d/{long}{'y' * 300}/>", f"d/{long}z", f"d/{long}zzzzzzz"))
    assert [f"%part~{long}".encode(), f"{long}z".encode()] == names(listing)
    part = listing.find(names(listing)[0])
    assert Directory(f"d/{long}") == part


def test_a_part_directory_has_only_names_too_long_for_the_directory_above() -> None:
    long = "x" * 249
    listing = Listing(f"d/{long}")
    listing.add_page(page(f"d/{long}", f"d/{long}1", f"d/{long}1234567", f"d/{long}/>"))
    assert names(listing) == [b"1234567"]


def test_an_entry_that_is_repeated_where_pages_meet_is_shown_once() -> None:
    listing = Listing("")
    listing.add_page(page("a", "a", "b/>", "b/>", token="1"))
    listing.add_page(page("b/>", "c", token="2"))
    listing.add_page(page("c", "d"))
    assert names(listing) == [b"a", b"b", b"c", b"d"]


def test_a_repeated_page_token_ends_the_listing_with_an_error() -> None:
    listing = Listing("")
    listing.add_page(page("a", token="1"))
    listing.add_page(page("b", token="2"))
    with pytest.raises(StorageError, match="repeats a page token"):
        listing.add_page(page("c", token="1"))


@pytest.mark.parametrize("late", ["a", "b/>"])
def test_a_name_that_sorts_before_its_page_is_an_error(late: str) -> None:
    listing = Listing("")
    listing.add_page(page("b", "c", token="1"))
    with pytest.raises(StorageError, match="after 'c'"):
        listing.add_page(page(late))
    assert not listing.complete


@pytest.mark.parametrize(
    "stray", ["e/a", "d", "e/>", "d/x>", "d/>", "d/b/c", "d/b/c~", "d/b/c/>", "d/b//>"]
)
def test_a_name_that_cannot_be_below_the_directory_is_an_error(stray: str) -> None:
    with pytest.raises(StorageError, match="the server lists"):
        Listing("d/").add_page(page(stray))


@pytest.mark.parametrize("pages", [1, 7, 500])
def test_every_entry_is_found_by_name_and_by_position(pages: int) -> None:
    keys = [f"d/{number}{'-x' * (number % 3)}" for number in range(500)]
    keys += [f"d/{number}/>" for number in range(100, 500, 50)] + ["d/%~", "d/é", "d/😀"]
    # The placeholder object `d/` has a row but is no entry, so positions are smaller than row
    # numbers.
    keys = sorted([*keys, "d/"], key=lambda key: key.removesuffix(">"))
    step = len(keys) // pages + 1
    listing = Listing("d/")
    for start in range(0, len(keys), step):
        end = start + step
        token = str(end) if end < len(keys) else ""
        listing.add_page(page(*keys[start:end], token=token, size=0))
    shown = list(listing.entries_from(0))
    assert len(shown) == len(listing) == len(keys) - 1
    assert len({name for name, _ in shown}) == len(shown)
    for position, (name, entry) in enumerate(shown):
        assert listing.find(name) == entry
        assert listing.position_of(name) == position
        assert next(listing.entries_from(position)) == (name, entry)


@pytest.mark.parametrize("name", [b"", b"absent", b"b/", b"zz", b"%file~a", b"\xff"])
def test_a_name_that_is_no_entry_is_not_found(name: bytes) -> None:
    listing = Listing("d/")
    listing.add_page(page("d/", "d/a", "d/b/>", "d/c", size=0))
    assert listing.find(name) is None
    assert listing.position_of(name) is None


def test_a_page_in_any_order_is_sorted() -> None:
    listing = Listing("")
    listing.add_page(page("c", "a", "b/>", "a!"))
    assert names(listing) == [b"a", b"a!", b"b", b"c"]
    assert child(listing, b"a!") == object_info("a!")


def test_an_object_is_found_by_position_and_a_folder_is_not() -> None:
    listing = Listing("d/")
    listing.add_page(page("d/a", "d/b/>"))
    assert listing.file_at(0) == object_info("d/a", size=3)
    assert listing.file_at(1) is None
    assert listing.file_at(2) is None
