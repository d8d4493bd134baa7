"""Tests of files as objects: listings, generations, recorded attributes, and restarts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcsmux_fs.emulator.buckets.listing_pages import ListedName
from gcsmux_fs.emulator.buckets.object_attributes import ObjectAttributes
from gcsmux_fs.emulator.buckets.store import BucketStore
from gcsmux_fs.emulator.rpc_error import RpcError
from gcsmux_fs.model.errors import StatusCode

if TYPE_CHECKING:
    from gcsmux_fs.emulator.buckets.bucket import Bucket
    from gcsmux_fs.emulator.buckets.objects import StoredObject

ATTRIBUTES = ObjectAttributes(content_type="x/y", storage_class="COLD", metadata={"k": "v"})


def started(served: Path) -> Bucket:
    """Read the served folder as a newly started emulator does; return the bucket `b`."""
    return BucketStore(served).bucket("b")


def put(
    bucket: Bucket, name: str, content: bytes, attributes: ObjectAttributes = ATTRIBUTES
) -> StoredObject:
    incoming = bucket.incoming()
    incoming.write_bytes(content)
    return bucket.publish(name, incoming, attributes)


def content(bucket: Bucket, name: str) -> bytes:
    with bucket.open(name) as opened:
        buffer = bytearray(opened.object.size)
        opened.read_into(memoryview(buffer), 0)
    return bytes(buffer)


def names(bucket: Bucket, start: str = "") -> list[str]:
    return [entry.name for entry in bucket.names_from(start)]


def generation(bucket: Bucket, name: str) -> int:
    stored = bucket.find(name)
    assert stored is not None
    return stored.generation


def test_a_generation_survives_a_restart(served: Path, bucket: Path) -> None:
    (bucket / "f").write_bytes(b"x")
    assert generation(started(served), "f") == generation(started(served), "f")


def test_every_change_of_a_file_makes_a_later_generation(served: Path, bucket: Path) -> None:
    running = started(served)
    path = bucket / "f"
    path.write_bytes(b"1")
    seen = [generation(running, "f")]
    for number in range(50):
        if number % 2:
            path.write_bytes(b"%d" % (number % 10))
        else:
            (bucket / "new").write_bytes(b"x")
            (bucket / "new").replace(path)
        seen.append(generation(running, "f"))
    assert sorted(set(seen)) == seen
    assert seen[-1] == generation(started(served), "f")


def test_a_change_with_the_old_mtime_makes_a_new_generation(served: Path, bucket: Path) -> None:
    running = started(served)
    path = bucket / "f"
    path.write_bytes(b"old")
    before = path.stat()
    first = generation(running, "f")
    path.write_bytes(b"new")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert generation(running, "f") > first


def test_a_deleted_and_recreated_object_has_a_later_generation(served: Path, bucket: Path) -> None:
    running = started(served)
    for name in ("f", "a//f"):
        first = put(running, name, b"x").generation
        running.delete(name)
        assert running.find(name) is None
        assert put(running, name, b"x").generation > first


@pytest.mark.parametrize("name", ["/a", "a//b", "a/", ".", "a/../b", "a/./b", "é" * 200, "//"])
def test_objects_with_impossible_file_names_are_kept_in_the_metadata_store(
    served: Path, bucket: Path, name: str
) -> None:
    written = put(started(served), name, b"content")
    restarted = started(served)
    assert written == restarted.find(name)
    assert content(restarted, name) == b"content"
    assert written.attributes == ATTRIBUTES
    assert [name] == names(restarted)
    assert list(bucket.iterdir()) == []
    put(restarted, name, b"again")
    restarted.delete(name)
    assert list((served / ".gcsmux-emulator" / "b").iterdir()) == []
    assert names(restarted) == []


def test_an_object_may_have_the_name_of_a_folder(served: Path, bucket: Path) -> None:
    running = started(served)
    put(running, "foo/bar", b"inner")
    put(running, "foo", b"outer")
    put(running, "top", b"outer")
    put(running, "top/x", b"inner")
    for seen in (running, started(served)):
        assert names(seen) == ["foo", "foo/bar", "top", "top/x"]
        assert [content(seen, "foo"), content(seen, "foo/bar")] == [b"outer", b"inner"]
        assert [content(seen, "top"), content(seen, "top/x")] == [b"outer", b"inner"]


def test_attributes_of_a_file_are_valid_until_the_file_changes(served: Path, bucket: Path) -> None:
    written = put(started(served), "f.html", b"x")
    assert (bucket / "f.html").read_bytes() == b"x"
    restarted = started(served)
    assert written == restarted.find("f.html")
    (bucket / "f.html").write_bytes(b"changed")
    stored = restarted.find("f.html")
    assert stored is not None
    assert ObjectAttributes("text/html", storage_class="STANDARD") == stored.attributes
    assert stored.generation > written.generation


def test_a_plain_file_leaves_no_record(served: Path) -> None:
    put(started(served), "f.txt", b"x", ObjectAttributes("text/plain", storage_class="STANDARD"))
    assert list((served / ".gcsmux-emulator" / "b").iterdir()) == []


def test_a_new_file_replaces_an_object_in_the_metadata_store(served: Path, bucket: Path) -> None:
    running = started(served)
    put(running, "foo/bar", b"x")
    old = put(running, "foo", b"old")
    running.delete("foo/bar")
    (bucket / "foo").rmdir()
    (bucket / "foo").write_bytes(b"file")
    assert content(running, "foo") == b"file"
    assert names(running) == ["foo"]
    assert generation(running, "foo") > old.generation


def test_only_links_to_files_in_the_served_folder_are_followed(
    served: Path, bucket: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (bucket / "folder").mkdir()
    (bucket / "folder" / "f").write_bytes(b"inside")
    (bucket / "good").symlink_to("folder/f")
    (bucket / "out").symlink_to(tmp_path / "secret")
    (bucket / "loop").symlink_to(".")
    (bucket / "dangling").symlink_to("nothing")
    (bucket / "up").symlink_to(tmp_path)
    running = started(served)
    assert names(running) == ["folder/f", "good"]
    assert content(running, "good") == b"inside"
    for name in ("out", "loop/good", "dangling", "up/secret", "loop"):
        assert running.find(name) is None, name
    put(running, "up/x/new", b"x")
    assert not (tmp_path / "x").exists()
    assert content(running, "up/x/new") == b"x"


def test_only_regular_files_are_objects(served: Path, bucket: Path) -> None:
    os.mkfifo(bucket / "fifo")
    (bucket / "f").touch()
    running = started(served)
    assert names(running) == ["f"]
    assert running.find("fifo") is None


def test_files_whose_names_are_not_utf8_are_ignored(served: Path, bucket: Path) -> None:
    (bucket / os.fsdecode(b"bad\xff")).touch()
    (bucket / "f").touch()
    assert names(started(served)) == ["f"]


def test_a_folder_is_read_again_if_it_has_changed_or_changed_just_before(
    served: Path, bucket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = started(served)
    readings = 0
    real_scandir = os.scandir

    def scandir(path: str) -> object:
        nonlocal readings
        readings += 1
        return real_scandir(path)

    monkeypatch.setattr("gcsmux_fs.emulator.buckets.file_tree.os.scandir", scandir)
    (bucket / "f").touch()
    now_ns = bucket.stat().st_ctime_ns + 1_000_000
    monkeypatch.setattr("gcsmux_fs.emulator.buckets.file_tree.time.time_ns", lambda: now_ns)
    for _ in range(2):
        assert names(running) == ["f"]
    # Each listing has read the folder. The bucket does not cache a folder that has just changed,
    # because a further change could leave the modification time unchanged.
    assert readings == 2
    now_ns += 1_000_000_000
    for _ in range(3):
        assert names(running) == ["f"]
    assert readings == 3
    (bucket / "g").touch()
    assert names(running) == ["f", "g"]


def test_a_file_replaced_between_stat_and_open_is_the_new_generation(
    served: Path, bucket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = started(served)
    (bucket / "f").write_bytes(b"old")
    (bucket / "new").write_bytes(b"newer")
    real_open = os.open

    def replacing_open(path: str, flags: int) -> int:
        if (bucket / "new").exists():
            (bucket / "new").replace(bucket / "f")
        return real_open(path, flags)

    monkeypatch.setattr("gcsmux_fs.emulator.buckets.bucket.os.open", replacing_open)
    with running.open("f") as opened:
        monkeypatch.undo()
        assert opened.object == running.find("f")
        buffer = bytearray(opened.object.size)
        opened.read_into(memoryview(buffer), 0)
    assert buffer == b"newer"


def test_a_damaged_record_is_ignored(served: Path) -> None:
    put(started(served), "a//b", b"x")
    (record,) = (served / ".gcsmux-emulator" / "b").glob("*.json")
    record.write_text("{")
    assert names(started(served)) == []


def test_a_start_removes_the_temporary_files_of_a_crash(served: Path) -> None:
    metadata_folder = served / ".gcsmux-emulator" / "b"
    put(started(served), "a//b", b"x")
    before = sorted(metadata_folder.iterdir())
    (metadata_folder / "incoming-0123").write_bytes(b"half")
    (metadata_folder / "0123.5.data").write_bytes(b"of no record")
    assert content(started(served), "a//b") == b"x"
    assert before == sorted(metadata_folder.iterdir())


@pytest.mark.parametrize("name", ["f", "a//f"])
def test_truncated_content_is_never_read_short(served: Path, name: str) -> None:
    running = started(served)
    path = Path(put(running, name, bytes(100)).path)
    with running.open(name) as opened:
        path.write_bytes(bytes(50))
        with pytest.raises(RpcError) as raised:
            opened.read_into(memoryview(bytearray(100)), 0)
    assert raised.value.code == StatusCode.NOT_FOUND


components = st.sampled_from(["a", "b", "a-", "a0", "ü", "..", "", "🪣"])
object_names = st.lists(components, min_size=1, max_size=3).map("/".join).filter(bool)


@given(st.sets(object_names, max_size=12), object_names)
def test_names_from_starts_at_any_name(
    tmp_path_factory: pytest.TempPathFactory, present: set[str], start: str
) -> None:
    served = tmp_path_factory.mktemp("served")
    (served / "b").mkdir()
    running = started(served)
    for name in present:
        put(running, name, b"")
    for seen in (running, started(served)):
        assert sorted(present) == names(seen)
        assert sorted(name for name in present if name >= start) == names(seen, start)
        assert all(seen.find(name, listed=True) == seen.find(name) for name in present)


def test_folders_are_listed_before_the_entries_in_them(served: Path, bucket: Path) -> None:
    (bucket / "a" / "b").mkdir(parents=True)
    (bucket / "a" / "c").touch()
    entries = list(started(served).names_from("", folders=True))
    assert [
        ListedName("a/", folder=True),
        ListedName("a/b/", folder=True),
        ListedName("a/c"),
    ] == entries
    assert [ListedName("a/b/", folder=True), ListedName("a/c")] == list(
        started(served).names_from("a/b/", folders=True)
    )
