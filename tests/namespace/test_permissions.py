"""Tests of callers with limited permissions: a refusal hides nothing that another request shows."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from gcsmux_fs.model.errors import GenerationGone, PermissionDenied, Unauthenticated
from gcsmux_fs.namespace.tree import ROOT_INODE, NoSuchEntry, Tree

from .fake_store import FakeStore, object_info
from .mounted import follow, mounted, read_names

OBJECTS = ("both", "both/inside", "other/y", "plain", "team/", "team/a", "team/deep/x", "teams")
PATHS = (
    "absent",
    "both",
    "both/inside",
    "%file~both",
    "other",
    "other/y",
    "other/absent",
    "plain",
    "%file~plain",
    "team",
    "team/%content~",
    "team/a",
    "team/absent",
    "team/deep",
    "team/deep/x",
    "teams",
)
TTL = 60.0
DIRECTORY = "a directory"
MARKED_DIRECTORY = "a directory with a placeholder object"
DIRECTORIES = (DIRECTORY, MARKED_DIRECTORY)


def readable_below(*prefixes: str) -> FakeStore:
    """Return a store whose caller may get only the objects below some prefixes."""
    store = FakeStore()
    store.put(*OBJECTS)
    store.may_get = lambda name: name.startswith(prefixes)
    return store


async def seen(tree: Tree, path: str) -> str:
    """Return in words what a program sees at a path."""
    above = path.rpartition("/")[0]
    if above and (parent := await seen(tree, above)) not in DIRECTORIES:
        return f"below what is {parent}"
    try:
        entry = await follow(tree, path)
    except NoSuchEntry:
        return "absent"
    except PermissionDenied:
        return "refused"
    info = tree.object_of(entry.inode)
    tree.forget(entry.inode, 1)
    if entry.is_directory:
        return DIRECTORY if info is None else MARKED_DIRECTORY
    assert info is not None
    return f"{info.name} of {entry.size}"


async def list_all(tree: Tree, inode: int = ROOT_INODE, location: str = "") -> None:
    """List all directories as `find` does, except the directories that may not be listed."""
    try:
        names = await read_names(tree, inode)
    except PermissionDenied:
        return
    for name in names:
        entry = await tree.lookup(inode, name)
        if entry.is_directory:
            await list_all(tree, entry.inode, f"{location}{name.decode()}/")
        tree.forget(entry.inode, 1)


async def test_a_directory_is_found_though_its_object_is_refused() -> None:
    store = readable_below("team/")
    async with mounted(store) as tree:
        assert await seen(tree, "team/a") == "team/a of 3"
        assert await seen(tree, "team/deep/x") == "team/deep/x of 3"


async def test_a_refused_object_has_the_attributes_of_its_listing() -> None:
    store = readable_below("team/")
    async with mounted(store) as tree:
        assert await seen(tree, "plain") == "plain of 3"
        assert await seen(tree, "other/y") == "other/y of 3"
        assert await seen(tree, "absent") == "absent"


async def test_a_readable_object_is_a_file_though_listings_are_refused() -> None:
    for get_takes_list in (False, True):
        store = readable_below("")
        store.may_list = lambda prefix: False
        store.get_takes_list = get_takes_list
        async with mounted(store, assume_directories=get_takes_list) as tree:
            assert await seen(tree, "plain") == "plain of 3"
            assert await seen(tree, "team/deep/x") == "team/deep/x of 3"
            assert await seen(tree, "both") == "both of 3"
            entry = await follow(tree, "team")
            with pytest.raises(PermissionDenied):
                await tree.confirm_directory(entry.inode)
            with pytest.raises(PermissionDenied):
                await read_names(tree, entry.inode)


async def test_an_assumed_directory_is_valid_for_the_negative_ttl() -> None:
    store = readable_below("")
    store.may_list = lambda prefix: False
    async with mounted(store, negative_ttl_seconds=5) as tree:
        absent = await follow(tree, "absent")
        team = await follow(tree, "team")
        assert absent.is_directory
        assert absent.name_valid_seconds == 5
        store.may_list = lambda prefix: True
        await tree.confirm_directory(team.inode)
        with pytest.raises(GenerationGone):
            await tree.confirm_directory(absent.inode)
        # After the failed confirmation, the name is no longer assumed to be a directory.
        assert await seen(tree, "absent") == "absent"
        assert (await follow(tree, "team")).name_valid_seconds == 60
        store.take_requests()
        await tree.confirm_directory(team.inode)
        assert store.take_requests() == []


@pytest.mark.parametrize("get_takes_list", [False, True])
async def test_a_new_object_is_found_where_a_directory_was_assumed(
    get_takes_list: bool,
) -> None:
    store = readable_below("")
    store.may_list = lambda prefix: False
    store.get_takes_list = get_takes_list
    async with mounted(store, assume_directories=get_takes_list) as tree:
        assumed = await follow(tree, "later")
        assert assumed.is_directory
        store.put("later")
        with pytest.raises(GenerationGone):
            await tree.confirm_directory(assumed.inode)
        assert await seen(tree, "later") == "later of 3"


async def test_the_ttl_of_an_answer_begins_at_the_earlier_of_its_two_requests() -> None:
    store = readable_below("")
    store.may_list = lambda prefix: False
    # With `assume_directories`, a name is asked for by two requests.
    async with mounted(
        store, ttl_seconds=60, negative_ttl_seconds=5, assume_directories=True
    ) as tree:
        assumed = await follow(tree, "team")
        await trio.sleep(5)
        store.may_list = lambda prefix: True
        store.delay_seconds = 2
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tree.confirm_directory, assumed.inode)
            await trio.sleep(1)
            # This lookup does not send a listing but joins the one that `confirm_directory` has
            # sent.
            entry = await follow(tree, "team")
        assert entry.name_valid_seconds == 60 - 3


async def test_a_name_is_assumed_a_directory_only_for_a_caller_who_may_not_list() -> None:
    store = readable_below("nothing")
    store.may_list = lambda prefix: False
    async with mounted(store) as tree:
        assert await seen(tree, "team") == "refused"
    async with mounted(store, assume_directories=True) as tree:
        assert await seen(tree, "team") == DIRECTORY


async def test_a_permission_to_list_may_begin_at_the_slash() -> None:
    store = readable_below("team/")
    store.may_list = lambda prefix: prefix.startswith("team/")
    store.get_takes_list = True
    async with mounted(store) as tree:
        entry = await follow(tree, "team")
        assert tree.object_of(entry.inode) == store["team/"]
        assert await read_names(tree, entry.inode) == [b"%content~", b"a", b"deep"]
        assert await seen(tree, "team/a") == "team/a of 3"
        assert await seen(tree, "team/absent") == "absent"
        assert await seen(tree, "other") == "refused"


async def test_a_part_directory_is_found_though_listings_are_refused() -> None:
    store = FakeStore()
    name = "x" * 300 + "/y"
    store.put(name)
    store.may_list = lambda prefix: False
    async with mounted(store) as tree:
        long = "%part~" + "x" * 249
        assert await seen(tree, f"{long}/{'x' * 51}/y") == f"{name} of 3"


async def test_a_refused_object_that_grows_keeps_the_attributes_of_its_inode() -> None:
    store = readable_below("team/")
    info = object_info("plain", 7)
    store.replace_info(type(info)("plain", 7, 3, 0, finalized=False))
    async with mounted(store, ttl_seconds=10) as tree:
        entry = await follow(tree, "plain")
        store.replace_info(type(info)("plain", 7, 9, 0, finalized=False))
        await trio.sleep(20)
        assert (tree.get(entry.inode)).size in (3, 9)


async def test_rejected_credentials_fail_every_lookup() -> None:
    store = readable_below("")
    for request in ("get", "list"):
        error = Unauthenticated("who are you?")
        store.failures = [(f"{request} team", error)]
        async with mounted(store, assume_directories=True) as tree:
            with pytest.raises(Unauthenticated):
                await follow(tree, "team")


async def test_a_refusal_is_not_cached() -> None:
    store = readable_below("team/")
    store.may_list = lambda prefix: prefix.startswith("team/")
    async with mounted(store) as tree:
        for path in ("plain", "%file~team"):
            assert await seen(tree, path) == "refused"
        store.may_get = store.may_list = lambda name: True
        assert await seen(tree, "plain") == "plain of 3"
        assert await seen(tree, "%file~team") == "absent"


@dataclass(frozen=True)
class Permissions:
    """The prefixes that a caller may get objects below, and may list; None: no permission."""

    get: str | None
    list: str | None
    get_takes_list: bool


PREFIXES = st.sampled_from([None, "", "t", "team/", "team/deep/", "both/", "plain"])


@given(st.builds(Permissions, PREFIXES, PREFIXES, st.booleans()), st.booleans())
def test_the_answer_about_a_path_does_not_depend_on_earlier_questions(
    permissions: Permissions, assume: bool
) -> None:
    def new_store() -> FakeStore:
        store = FakeStore()
        store.put(*OBJECTS)
        get, listed = permissions.get, permissions.list
        store.may_get = lambda name: get is not None and name.startswith(get)
        store.may_list = lambda prefix: listed is not None and prefix.startswith(listed)
        store.get_takes_list = permissions.get_takes_list
        return store

    answers: dict[str, str] = {}

    async def run() -> None:
        for path in PATHS:
            async with mounted(new_store(), ttl_seconds=TTL, assume_directories=assume) as tree:
                cold = await seen(tree, path)
                assert await seen(tree, path) == cold
                await list_all(tree)
                assert await seen(tree, path) == cold
                await trio.sleep(TTL)
                assert await seen(tree, path) == cold
            answers[path] = cold
        # In this tree the lookups begin to list the directories. A page of a directory may show its
        # placeholder object.
        async with mounted(new_store(), ttl_seconds=TTL, assume_directories=assume) as tree:
            for path in (*PATHS, *reversed(PATHS)):
                unmarked = {MARKED_DIRECTORY: DIRECTORY}
                answer = await seen(tree, path)
                assert unmarked.get(answer, answer) == unmarked.get(answers[path], answers[path])
                await trio.testing.wait_all_tasks_blocked()

    trio.run(run, clock=MockClock(autojump_threshold=0))
