from __future__ import annotations

import pytest

from gcsmux_fs.errors import StorageError
from gcsmux_fs.model import ListingPage
from gcsmux_fs.namespace.listing import Directory, Listing

from .fake_store import object_info


def page(*keys: str, token: str = "", size: int = 3) -> ListingPage:
    """Make a page out of objects and (ending with `>`) prefixes."""
    return ListingPage(
        tuple(object_info(key, size=size) for key in keys if not key.endswith(">")),
        tuple(key[:-1] for key in keys if key.endswith(">")),
        token,
    )


def test_entries_are_shown_page_by_page() -> None:
    listing = Listing("d/")
    listing.add_page(page("d/a", "d/b/>", "d/c", token="1"))
    assert listing.names == [b"a", b"b"]
    listing.add_page(page("d/e", token="2"))
    assert listing.names == [b"a", b"b", b"c"]
    listing.add_page(page())
    assert listing.names == [b"a", b"b", b"c", b"e"]
    assert listing.complete
    assert Directory("d/b/") == listing.children[b"b"]
    assert object_info("d/c") == listing.children[b"c"]


def test_only_objects_whose_folder_may_still_come_are_held_back() -> None:
    listing = Listing("")
    listing.add_page(page("a", "a-", "a-b", "a-b-c", token="1"))
    assert listing.names == [b"a-"]
    listing.add_page(page("a-b/>", "a-c", token="2"))
    assert listing.names[1:] == [b"%file~a-b", b"a-b-c", b"a-b"]
    listing.add_page(page("a/>", "b", token="3"))
    assert listing.names[4:] == [b"%file~a", b"a-c", b"a"]


def test_the_place_of_a_folder_is_passed_by_any_name_after_it() -> None:
    listing = Listing("")
    listing.add_page(page("foo", "foo.txt", token="1"))
    assert listing.names == []
    listing.add_page(page("foo0", token="2"))
    assert listing.names == [b"foo", b"foo.txt"]


def test_an_entry_keeps_its_position_when_earlier_ones_are_settled_late() -> None:
    listing = Listing("")
    listing.add_page(page("a", "a!", "a!!x", "a-/>", token="1"))
    first = list(listing.names)
    listing.add_page(page("a/>"))
    assert first == listing.names[: len(first)]


def test_the_placeholder_of_the_directory_itself_is_no_entry_unless_it_has_content() -> None:
    empty, full = Listing("d/"), Listing("d/")
    empty.add_page(page("d/", "d/a", size=0))
    full.add_page(page("d/", "d/a"))
    assert empty.names == [b"a"]
    assert full.names == [b"%content~", b"a"]
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
def test_a_placeholder_listed_beside_its_prefix_describes_the_directory(
    pages: list[ListingPage],
) -> None:
    listing = Listing("")
    for each in pages:
        listing.add_page(each)
    assert Directory("a/", object_info("a/")) == listing.children[b"a"]
    assert {b"a", b"b"} == set(listing.names) - {b"%file~a"}


def test_long_names_gather_in_one_directory_across_pages() -> None:
    long = "x" * 249
    listing = Listing("d/")
    listing.add_page(page(f"d/{long}1234567", token="1"))
    listing.add_page(page(f"d/{long}{'y' * 300}/>", f"d/{long}z", f"d/{long}zzzzzzz"))
    assert [f"%part~{long}".encode(), f"{long}z".encode()] == listing.names
    part = listing.children[listing.names[0]]
    assert Directory(f"d/{long}") == part


def test_a_part_directory_shows_only_names_too_long_for_the_directory_above() -> None:
    long = "x" * 249
    listing = Listing(f"d/{long}")
    listing.add_page(page(f"d/{long}", f"d/{long}1", f"d/{long}1234567", f"d/{long}/>"))
    assert listing.names == [b"1234567"]


def test_what_a_server_repeats_where_pages_meet_is_shown_once() -> None:
    listing = Listing("")
    listing.add_page(page("a", "a", "b/>", "b/>", token="1"))
    listing.add_page(page("b/>", "c", token="2"))
    listing.add_page(page("c", "d"))
    assert listing.names == [b"a", b"b", b"c", b"d"]


def test_a_repeated_page_token_ends_the_listing_with_an_error() -> None:
    listing = Listing("")
    listing.add_page(page("a", token="1"))
    listing.add_page(page("b", token="2"))
    with pytest.raises(StorageError, match="repeats a page token"):
        listing.add_page(page("c", token="1"))


@pytest.mark.parametrize("late", ["a", "b/>"])
def test_a_name_that_belongs_into_an_earlier_page_is_an_error(late: str) -> None:
    listing = Listing("")
    listing.add_page(page("b", "c", token="1"))
    with pytest.raises(StorageError, match="after 'c'"):
        listing.add_page(page(late))
    assert not listing.complete


@pytest.mark.parametrize("stray", ["e/a", "d", "e/>", "d/x>"])
def test_a_name_that_cannot_be_beneath_the_directory_is_an_error(stray: str) -> None:
    with pytest.raises(StorageError, match="the server lists"):
        Listing("d/").add_page(page(stray))


def test_the_position_of_an_entry_is_found_where_it_is_expected_or_where_it_sorts() -> None:
    listing = Listing("d/")
    listing.add_page(page(*(f"d/{number:03}" for number in range(500))))
    assert listing.position_of(b"007", 5) == 7
    assert listing.position_of(b"007", 400) == 7
    assert listing.position_of(b"499", 0) == 499
    assert listing.position_of(b"absent", 0) is None


def test_files_are_found_by_position_and_folders_are_none() -> None:
    listing = Listing("d/")
    listing.add_page(page("d/a", "d/b/>"))
    assert listing.file_at(0) == object_info("d/a", size=3)
    assert listing.file_at(1) is None
    assert listing.file_at(2) is None
