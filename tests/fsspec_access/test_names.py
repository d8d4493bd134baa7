"""Names: listings, details and patterns, compared with fsspec's own local file system."""

from __future__ import annotations

import base64
import datetime as dt
from typing import TYPE_CHECKING

import pytest
from crc32c import crc32c
from fsspec.implementations.local import LocalFileSystem

if TYPE_CHECKING:
    from gcsmux_fs.fsspec_access.file_system import GcsmuxFileSystem
    from tests.support.emulator_process import EmulatorProcess

NAMES = (
    "a.csv",
    "b.csv",
    "data/1/x.bin",
    "data/1/y.bin",
    "data/2/x.bin",
    "data-2",
    "größe/ä b.txt",
)


@pytest.fixture
def tree(emulator: EmulatorProcess) -> EmulatorProcess:
    for name in NAMES:
        emulator.place(name, name.encode())
    return emulator


@pytest.mark.parametrize(
    ("method", "arguments", "options"),
    [
        ("ls", "", {"detail": False}),
        ("ls", "/data", {"detail": False}),
        ("ls", "/data/1/x.bin", {"detail": False}),
        ("find", "", {}),
        ("find", "/data", {"withdirs": True}),
        ("find", "", {"maxdepth": 1}),
        ("find", "", {"maxdepth": 2, "withdirs": True}),
        ("find", "/a.csv", {}),
        ("find", "/nothing", {}),
        ("glob", "/*.csv", {}),
        ("glob", "/data/*", {}),
        ("glob", "/data*", {}),
        ("glob", "/**/x.bin", {}),
        ("glob", "/data/[12]/?.bin", {}),
        ("glob", "/gr*/*", {}),
        ("glob", "/nothing*", {}),
        ("expand_path", "/data", {"recursive": True}),
    ],
)
def test_names_are_those_of_the_local_file_system(
    tree: EmulatorProcess,
    fs: GcsmuxFileSystem,
    root: str,
    method: str,
    arguments: str,
    options: dict[str, object],
) -> None:
    local = str(tree.bucket)
    expected = getattr(LocalFileSystem(), method)(local + arguments, **options)
    expected_names = {name.removeprefix(local) for name in expected}
    names = {name.removeprefix(root) for name in getattr(fs, method)(root + arguments, **options)}
    assert names == expected_names


def test_walk_yields_each_folder_once(
    tree: EmulatorProcess, fs: GcsmuxFileSystem, root: str
) -> None:
    local = str(tree.bucket)
    expected = {
        (top.removeprefix(local), tuple(sorted(folders)), tuple(sorted(files)))
        for top, folders, files in LocalFileSystem().walk(local)
    }
    walked = [
        (top.removeprefix(root), tuple(sorted(folders)), tuple(sorted(files)))
        for top, folders, files in fs.walk(root)
    ]
    assert set(walked) == expected
    assert len(walked) == len(expected)


def test_details_have_the_names_of_gcsfs(
    emulator: EmulatorProcess, fs: GcsmuxFileSystem, root: str
) -> None:
    content = b"some content"
    generation = emulator.write(
        "file.txt", content, content_type="text/plain", metadata={"color": "red"}
    )
    details = fs.info(f"gcsmux://{root}/file.txt")
    assert details | {"mtime": None} == {
        "name": f"{root}/file.txt",
        "bucket": root,
        "size": len(content),
        "type": "file",
        "generation": str(generation),
        "metageneration": "1",
        "mtime": None,
        "contentType": "text/plain",
        "storageClass": "STANDARD",
        "crc32c": base64.b64encode(crc32c(content).to_bytes(4, "big")).decode(),
        "metadata": {"color": "red"},
    }
    age = dt.datetime.now(dt.UTC) - details["mtime"]
    assert abs(age) < dt.timedelta(hours=1)
    assert fs.modified(f"{root}/file.txt") == details["mtime"]
    assert fs.ls(root) == [details]
    assert fs.size(f"{root}/file.txt") == len(content)


def test_an_object_hides_a_folder_of_the_same_name(
    emulator: EmulatorProcess, fs: GcsmuxFileSystem, root: str
) -> None:
    emulator.write("both", b"the object")
    emulator.write("both/below", b"below")
    assert fs.isfile(f"{root}/both")
    assert fs.cat_file(f"{root}/both") == b"the object"
    assert fs.cat_file(f"{root}/both/below") == b"below"
    assert {(each["name"], each["type"]) for each in fs.ls(root)} == {
        (f"{root}/both", "file"),
        (f"{root}/both", "directory"),
    }
    assert fs.find(root) == [f"{root}/both", f"{root}/both/below"]


def test_unusual_object_names_are_used_as_they_are(
    emulator: EmulatorProcess, fs: GcsmuxFileSystem, root: str
) -> None:
    names = ["%file~x", "a//b", "dots/...", "long/" + "n" * 700]
    for name in names:
        emulator.write(name, name.encode())
    assert fs.find(root) == sorted(f"{root}/{name}" for name in names)
    assert fs.ls(f"{root}/long", detail=False) == [f"{root}/{names[3]}"]
    for name in names:
        assert fs.cat_file(f"{root}/{name}") == name.encode()
        assert fs.info(f"{root}/{name}")["size"] == len(name.encode())


def test_a_placeholder_object_is_an_empty_folder(
    emulator: EmulatorProcess, fs: GcsmuxFileSystem, root: str
) -> None:
    emulator.write("empty/", b"")
    assert fs.isdir(f"{root}/empty")
    assert fs.ls(f"{root}/empty") == []
    assert fs.find(root) == []
    assert fs.find(root, withdirs=True) == [root, f"{root}/empty"]


def test_absent_names(fs: GcsmuxFileSystem, emulator: EmulatorProcess, root: str) -> None:
    for path in (
        f"{root}/absent",
        f"{root}/absent/below",
        "no-such-bucket-1",
        "no-such-bucket-1/x",
    ):
        assert not fs.exists(path)
        assert not fs.isfile(path)
        for method in (fs.info, fs.ls, fs.cat_file, fs.open):
            if path != "no-such-bucket-1" or method in (fs.info, fs.ls):
                with pytest.raises(FileNotFoundError):
                    method(path)
    assert fs.ls(root) == []
    with pytest.raises(NotImplementedError, match="cannot list buckets"):
        fs.ls("")


def test_an_invalidated_name_is_looked_up_again(
    emulator: EmulatorProcess, fs: GcsmuxFileSystem, root: str
) -> None:
    emulator.write("a", b"old")
    assert fs.info(f"{root}/a")["size"] == 3
    assert fs.ls(root, detail=False) == [f"{root}/a"]
    before = fs.checksum(f"{root}/a"), fs.ukey(f"{root}/a")
    generation = emulator.write("a", b"newer")
    emulator.write("b", b"new")
    assert fs.info(f"{root}/a")["size"] == 3, "the answer is cached for --metadata-ttl"
    assert fs.ls(root, refresh=True, detail=False) == [f"{root}/a", f"{root}/b"]
    emulator.write("c", b"new")
    fs.invalidate_cache()
    assert fs.ls(root, detail=False) == [f"{root}/a", f"{root}/b", f"{root}/c"]
    assert fs.info(f"{root}/a")["size"] == 5
    after = fs.checksum(f"{root}/a"), fs.ukey(f"{root}/a")
    assert after == (generation, f"{root}/a#{generation}")
    assert before[0] != after[0]
    assert before[1] != after[1]


def test_a_listing_answers_later_questions(
    emulator: EmulatorProcess, fs: GcsmuxFileSystem, root: str
) -> None:
    for number in range(30):
        emulator.write(f"folder/{number}", b"x")
    paths = fs.find(root)
    emulator.statistics(reset=True)
    contents = fs.cat(paths)
    assert set(contents.values()) == {b"x"}
    requests = emulator.statistics().requests
    assert requests.get("GetObject", 0) + requests.get("ListObjects", 0) == 0
    fs.ls(f"{root}/folder")
    emulator.statistics(reset=True)
    assert all(fs.isfile(path) for path in paths)
    assert emulator.statistics().requests == {}


def test_a_flat_listing_has_every_page(
    emulator: EmulatorProcess, fs: GcsmuxFileSystem, root: str
) -> None:
    names = [f"d{number % 7}/{number:05}" for number in range(2500)]
    for name in names:
        path = emulator.bucket / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert fs.find(root) == sorted(f"{root}/{name}" for name in names)
    assert len(fs.glob(f"{root}/d1/0*")) == len([name for name in names if name[:4] == "d1/0"])
