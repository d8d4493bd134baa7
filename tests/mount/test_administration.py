"""Tests that inspect, remount or bind a mount, or mount an image from it, as administrators do."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.support import programs
from tests.support.harness import END_SECONDS, wait_until
from tests.support.sizes import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.support.harness import EmulatorProcess, MountProcess, NewMount

pytestmark = pytest.mark.mount

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mount(8) needs root")

# Limit in seconds for commands that must not wait for the stopped emulator. A command that waits
# ends only after --read-timeout, which is 120 s.
AT_ONCE_SECONDS = 20


@contextmanager
def mounted_on(mounted: MountProcess, target: Path, *arguments: str | Path) -> Iterator[None]:
    """Run mount(8) with the new directory `target` as mount point; unmount it after the block."""
    target.mkdir()
    done = mounted.run_beside("mount", *arguments, target)
    assert (done.returncode, done.stderr) == (0, b"")
    try:
        yield
    finally:
        assert mounted.run_beside("umount", target).returncode == 0


@pytest.mark.parametrize("ttl", ["0", "60s"])
def test_the_mount_point_answers_while_the_service_is_stopped(
    emulator: EmulatorProcess, mount: NewMount, ttl: str
) -> None:
    with mount("--metadata-ttl", ttl) as mounted, emulator.stopped():
        for command in ("df mnt", "df -i mnt", "stat mnt", "stat -f mnt", "ls -ld mnt"):
            done = mounted.run_beside(*command.split(), timeout=AT_ONCE_SECONDS)
            assert (done.returncode, done.stderr) == (0, b""), command


@needs_root
def test_a_mount_remounted_read_write_still_refuses_writes(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    emulator.place("file", b"content")
    emulator.place("folder/file", b"content")
    with mount() as mounted, mounted.program() as program:
        done = mounted.run_beside("mount", "-i", "-o", "remount,rw", mounted.path)
        assert (done.returncode, done.stderr) == (0, b"")
        # The remount succeeds, and from now on the kernel passes writes to the mount process.
        options = mounted.run_beside("findmnt", "-no", "OPTIONS", mounted.path).stdout.decode()
        assert options.split(",")[0] == "rw"
        for name in ("file", "folder/file"):
            errors = program.call(
                programs.refusals,
                f"{mounted.path}/{name}",
                f"{mounted.path}/folder",
                f"{mounted.path}/absent",
            )
            assert errors == dict.fromkeys(errors, "EROFS")
            assert program.call(programs.read_whole, f"{mounted.path}/{name}") == b"content"


@needs_root
def test_a_bind_mount_stays_usable_after_the_unmount_and_beside_a_new_mount(
    emulator: EmulatorProcess, mount: NewMount, folder: Path
) -> None:
    emulator.place("file", b"content")
    bound = folder / "bound"
    with mount() as first:
        with mounted_on(first, bound, "--bind", first.path):
            assert first.unmount().returncode == 0
            assert first.process.poll() is None
            with replace(first) as second, second.program() as program:
                for path in (bound, second.path):
                    assert program.call(programs.read_whole, f"{path}/file") == b"content"
                emulator.place("new", b"more")
                for path in (second.path, bound):
                    assert program.call(programs.read_whole, f"{path}/new") == b"more"
        assert first.process.wait(END_SECONDS) == 0


@needs_root
def test_a_squashfs_image_in_an_object_can_be_mounted(
    emulator: EmulatorProcess, mount: NewMount, folder: Path
) -> None:
    source, image = folder / "source", emulator.bucket / "image.squashfs"
    for number in range(200):
        path = source / f"folder {number % 7}" / f"file-{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(number * 50))
    (source / "large").write_bytes(os.urandom(5 * MIB))
    subprocess.run(
        ["mksquashfs", source, image, "-quiet", "-no-progress", "-processors", "1"],
        stdout=subprocess.DEVNULL,
        timeout=END_SECONDS,
        check=True,
    )
    options = ("-t", "squashfs", "-o", "loop,ro")
    skip_unless_images_can_be_mounted(image, folder / "probe", options)
    inner = folder / "inner"
    with mount("--memory", "32MiB") as mounted, mounted.program() as program:
        with mounted_on(mounted, inner, *options, mounted.path / image.name):
            assert without_times(program.call(programs.tree, str(inner))) == without_times(
                programs.tree(str(source))
            )
        # Wait, because the loop device keeps the file open for a short time after umount.
        wait_until(lambda: mounted.statistics()["open_files"] == 0, "the object is closed")


def skip_unless_images_can_be_mounted(image: Path, target: Path, options: Sequence[str]) -> None:
    """Skip the test if this machine cannot mount the image from its local disk."""
    target.mkdir()
    probe = subprocess.run(
        ["mount", *options, image, target], capture_output=True, text=True, check=False
    )
    if probe.returncode != 0:
        pytest.skip(f"this machine mounts no squashfs from a loop device: {probe.stderr.strip()}")
    subprocess.run(["umount", target], timeout=END_SECONDS, check=True)


def without_times(tree: dict[bytes, programs.Entry]) -> dict[bytes, programs.Entry]:
    """Return the tree without its times, because squashfs stores whole seconds only."""
    return {path: replace(entry, mtime_ns=0) for path, entry in tree.items()}
