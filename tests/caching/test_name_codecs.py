"""Tests of the pure parts of kept names: packing, ages, invalidations and the queue."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcsmux_fs.caching.bucket_facts import BucketFacts, pack_facts, unpack_facts
from gcsmux_fs.caching.name_ages import UNKNOWN_AGE_SECONDS, Moment, RequestMoments, age_seconds
from gcsmux_fs.caching.name_answers import KeptAnswer, join_answers, pack_answers, unpack_answers
from gcsmux_fs.caching.name_marks import Mark, is_marked, pack_mark, unpack_marks
from gcsmux_fs.caching.name_queue import KeptListing, NameQueue
from gcsmux_fs.caching.name_records import (
    FileId,
    RecordKind,
    body_of,
    pack_listing,
    record,
    unpack_listing,
    view_of,
)
from gcsmux_fs.kept_bucket import known_identity
from gcsmux_fs.model.object_table import ObjectTable
from gcsmux_fs.model.values import BucketInfo, ListingPage, ObjectInfo
from gcsmux_fs.namespace.resolution import Resolution
from gcsmux_fs.settings.service_address import service_of
from gcsmux_fs.storage.credentials import MACHINE_IDENTITY

_S = 10**9
_NOW = Moment(b"b" * 16, 1000 * _S, 10**18)

_numbers = st.integers(0, 2**62)
_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), max_size=8)
_infos = st.builds(
    ObjectInfo,
    _texts.map("dir/".__add__),
    _numbers,
    _numbers,
    _numbers,
    metageneration=_numbers,
    crc32c=st.none() | st.integers(0, 2**32 - 1),
    content_type=_texts,
    content_encoding=_texts,
    storage_class=_texts,
    metadata=st.dictionaries(_texts, _texts, max_size=2),
    finalized=st.booleans(),
)
_pages = st.builds(
    ListingPage,
    st.lists(_infos, max_size=5).map(ObjectTable.of),
    st.lists(_texts.map("dir/{}/".format), max_size=3).map(tuple),
    st.just(""),
)


@given(st.lists(_pages, min_size=1, max_size=3))
def test_a_listing_is_the_same_after_packing(pages: list[ListingPage]) -> None:
    body = pack_listing("dir/", pages)
    assert body is not None
    page = unpack_listing("dir/", memoryview(b"".join(body)))
    assert list(page.objects) == [info for each in pages for info in each.objects]
    assert page.prefixes == tuple(prefix for each in pages for prefix in each.prefixes)


def test_a_name_with_a_line_feed_is_not_kept() -> None:
    page = ListingPage((ObjectInfo("a\nb", 1, 1, 1),), (), "")
    assert pack_listing("", [page]) is None
    assert pack_listing("", [ListingPage((), ("a\n/",), "")]) is None


@given(st.binary(max_size=200))
def test_malformed_bodies_are_refused(body: bytes) -> None:
    for unpack in (lambda data: unpack_listing("", data), unpack_answers, unpack_facts):
        with pytest.raises(ValueError, match=r"."):
            unpack(memoryview(body + b"?"))


def test_a_file_of_another_view_kind_or_directory_is_foreign() -> None:
    file = FileId(view_of("bucket"), RecordKind.LISTING, "dir/")
    data = memoryview(b"".join(record(file, _NOW, [b"body"])))
    parts = body_of(data, file)
    assert parts is not None
    assert bytes(parts[0]) == b"body"
    for other in (
        replace(file, view=view_of("other bucket")),
        replace(file, kind=RecordKind.ANSWERS),
        replace(file, location="dir/a/"),
    ):
        assert other.name != file.name
        assert body_of(data, other) is None


def test_facts_are_the_same_after_packing() -> None:
    facts = BucketFacts(BucketInfo("b", "zone", hierarchical=True, listable=False), "user a@b")
    assert unpack_facts(memoryview(pack_facts(facts))) == facts


# -- ages


@pytest.mark.parametrize(
    ("asked", "age"),
    [
        (_NOW.before(5 * _S), 5),
        # The clock for the time of day was set back by 100 s, or ahead.
        (_NOW.before(5 * _S)._replace(day_ns=_NOW.day_ns + 100 * _S), 5),
        (_NOW.before(5 * _S)._replace(day_ns=_NOW.day_ns - 100 * _S), 100),
        # Another process wrote the answer after this one has read its clocks.
        (_NOW.before(-_S), 0),
        (_NOW.before(-11 * _S), UNKNOWN_AGE_SECONDS),
        # Another boot: at least as old as this boot, which was 1,000 s ago.
        (_NOW.before(5 * _S)._replace(boot=b"other"), 1000),
        (_NOW.before(5000 * _S)._replace(boot=b"other"), 5000),
        (_NOW._replace(boot=b"other", day_ns=_NOW.day_ns + 1), UNKNOWN_AGE_SECONDS),
        (_NOW._replace(boot=b"other", is_synchronised=False), UNKNOWN_AGE_SECONDS),
    ],
)
def test_an_answer_never_counts_as_younger_than_it_is(asked: Moment, age: float) -> None:
    assert age_seconds(asked, _NOW) == age


def test_a_request_before_a_sleep_of_the_machine_keeps_the_time_of_the_sleep() -> None:
    moments = RequestMoments(100.0, _NOW)
    awake = _NOW.before(-10 * _S)
    assert age_seconds(moments.moment(105.0, 110.0, awake), awake) == 5
    # The machine sleeps for an hour; the mount's clock stands still.
    later = _NOW.before(-3620 * _S)
    asked = moments.moment(115.0, 120.0, later)
    assert age_seconds(asked, later) >= 3605
    end = later.before(-2 * _S)
    assert age_seconds(moments.moment(121.0, 122.0, end), end) == 1


# -- invalidations


def test_a_torn_line_hides_no_other_line() -> None:
    marks = [Mark(f"dir{number}/", _NOW.before(number)) for number in range(3)]
    lines = [pack_mark(mark) for mark in marks]
    assert unpack_marks(b"".join(lines)) == (marks, True)
    assert unpack_marks(lines[0] + lines[1][:-9] + lines[2]) == ([marks[0], marks[2]], False)
    assert unpack_marks(lines[0][:20]) == ([], False)


def test_a_mark_outdates_what_is_below_and_earlier() -> None:
    marks = [Mark("a/", _NOW.before(10))]
    for name in ("a/", "a/b", "a"):
        assert is_marked(name, _NOW.before(11), marks, _NOW)
        assert not is_marked(name, _NOW.before(9), marks, _NOW)
    assert not is_marked("ab", _NOW.before(11), marks, _NOW)


def _answer(name: str, seconds_ago: int, *, invalidated: int | None = None) -> KeptAnswer:
    asked = _NOW.before(seconds_ago * _S)
    if invalidated == seconds_ago:
        return KeptAnswer(name, asked, invalidated=asked)
    moment = None if invalidated is None else _NOW.before(invalidated * _S)
    return KeptAnswer(name, asked, Resolution(0.0, None, None), moment)


@pytest.mark.parametrize(
    ("kept", "new", "joined"),
    [
        (_answer("a", 9), _answer("a", 5), _answer("a", 5)),
        (_answer("a", 5), _answer("a", 9), _answer("a", 5)),
        (_answer("a", 7, invalidated=7), _answer("a", 5), _answer("a", 5, invalidated=7)),
        (_answer("a", 5), _answer("a", 7, invalidated=7), _answer("a", 5, invalidated=7)),
        (_answer("a", 9), _answer("a", 7, invalidated=7), _answer("a", 7, invalidated=7)),
    ],
)
def test_the_newest_answer_stays(kept: KeptAnswer, new: KeptAnswer, joined: KeptAnswer) -> None:
    assert join_answers([kept], [new], _NOW) == ([joined], True)
    body = memoryview(pack_answers([joined]))
    assert unpack_answers(body) == [joined]


def test_an_invalidation_before_the_listing_is_not_needed() -> None:
    answers = [_answer("a", 5, invalidated=7), _answer("b", 7, invalidated=7)]
    joined, _ = join_answers(answers, [], _NOW, listed_seconds_ago=lambda _: 6.0)
    assert joined == [_answer("a", 5)]


# -- the queue


def test_a_full_queue_drops_answers_but_no_invalidation() -> None:
    queue = NameQueue(max_entries=3)
    pages = [ListingPage((), ("a/", "b/"), "")]
    assert queue.add_listing(KeptListing("", _NOW, pages))
    assert not queue.add_listing(KeptListing("", _NOW, pages))
    assert not queue.add_answer(_answer("a", 1))
    assert queue.add_answer(_answer("b", 2, invalidated=2))
    assert queue.take().marks == [Mark("", _NOW.before(2 * _S))]


def test_a_batch_that_was_not_written_keeps_its_invalidations() -> None:
    queue = NameQueue()
    queue.add_mark(Mark("dir/", _NOW))
    queue.add_answer(_answer("a", 9))
    queue.add_answer(_answer("b", 9, invalidated=9))
    batch = queue.take()
    assert batch.drop_answers() == 1
    queue.add_answer(_answer("b", 5))
    queue.put_back(batch)
    again = queue.take()
    assert again.marks == [Mark("dir/", _NOW)]
    assert again.answers == {"": {"b": _answer("b", 5, invalidated=9)}}


# -- whose names they are


@pytest.mark.parametrize(
    ("identity", "known"),
    [("user a@b", "user a@b"), ("user c@d", None), (MACHINE_IDENTITY, "user a@b")],
)
def test_names_of_other_credentials_are_not_shown(identity: str, known: str | None) -> None:
    assert known_identity(identity, BucketFacts(BucketInfo("b"), "user a@b")) == known


def test_all_endpoints_of_google_are_one_service() -> None:
    assert service_of("storage.googleapis.com:443") == service_of("x.Googleapis.com:443") == ""
    assert service_of("127.0.0.1:9000") == "127.0.0.1:9000"
    assert service_of("googleapis.com.example:443") == "googleapis.com.example:443"
