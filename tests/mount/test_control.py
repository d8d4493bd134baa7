"""Tests of `gcsmux` with a real mount: what it shows, and what programs see after a command."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from gcsmux_fs.metrics.transfer import decode_metrics
from tests.support.emulator_process import COMMANDS
from tests.support.harness import END_SECONDS, wait_until
from tests.support.sizes import KIB, MIB

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.harness import EmulatorProcess, MountProcess, NewMount

pytestmark = pytest.mark.mount

FOR_EVER = ("--metadata-ttl", "indefinite", "--negative-ttl", "indefinite")


@pytest.fixture(autouse=True)
def runtime_directory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use a runtime directory of this test, because other tests mount at the same time."""
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(folder / "run"))


def gcsmux(mounted: MountProcess, *arguments: str) -> str:
    """Run a subcommand of `gcsmux` that succeeds, and return its output."""
    done = mounted.run_beside(COMMANDS / "gcsmux", *arguments, timeout=END_SECONDS)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode()


def refused(mounted: MountProcess, *arguments: str) -> str:
    """Run a subcommand of `gcsmux` that fails, and return its message."""
    done = mounted.run_beside(COMMANDS / "gcsmux", *arguments, timeout=END_SECONDS)
    assert (done.returncode, done.stdout) == (1, b"")
    return done.stderr.decode()


def own_line(mounted: MountProcess) -> str:
    (line,) = [line for line in gcsmux(mounted, "list").splitlines() if f" {mounted.path} " in line]
    return line


def size_of(mounted: MountProcess, name: str) -> int | None:
    """Return the size that `stat` shows; None if the name is absent."""
    done = mounted.run("stat", "-c", "%s", name)
    return int(done.stdout) if done.returncode == 0 else None


def test_gcsmux_shows_a_mount_and_changes_its_log_level(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    emulator.place("file", bytes(3 * MIB))
    with mount() as mounted, mounted.program() as program:
        path = str(mounted.path)
        descriptor = program.call(os.open, f"{path}/file", os.O_RDONLY)
        program.call(os.pread, descriptor, 4 * KIB, MIB)
        answer: dict[str, Any] = json.loads(gcsmux(mounted, "stats", path, "--json"))
        assert (answer["pid"], answer["healthy"]) == (mounted.process.pid, True)
        assert answer["mountpoint"] == path
        values: dict[str, Any] = {
            metric.name: value[()]
            for metric, value in decode_metrics(answer["metrics"])
            if () in value
        }
        assert values["open_files"] == 1
        assert values["bytes_received"] >= values["bytes_served"] == 4 * KIB
        (stream,) = json.loads(gcsmux(mounted, "streams", path, "--json"))["streams"]
        assert (stream["object"], stream["state"], stream["reopens"]) == ("file", "open", 0)
        assert f"file#{stream['generation']}" in gcsmux(mounted, "streams", f"{path}/any/path")
        assert "bytes_received" in gcsmux(mounted, "stats", path)
        assert f"process {mounted.process.pid}," in own_line(mounted)
        assert own_line(mounted).endswith(": healthy")
        assert gcsmux(mounted, "log-level", path, "warning") == "warning\n"
        assert gcsmux(mounted, "log-level", path) == "warning\n"
        # The harness waits for the metrics, which are logged at the level info.
        gcsmux(mounted, "log-level", path, "info")
        program.call(os.close, descriptor)


@pytest.mark.parametrize("command", ["reload", "forget"])
def test_programs_see_changed_objects_at_once(
    emulator: EmulatorProcess, mount: NewMount, command: str
) -> None:
    emulator.place("folder/changed", b"old")
    emulator.place("folder/deleted", b"old")
    emulator.place("steady", b"steady")
    names = ["folder/changed", "folder/deleted", "folder/new", "steady"]
    with mount(*FOR_EVER) as mounted, mounted.program() as program:
        assert [size_of(mounted, name) for name in names] == [3, 3, None, 6]
        mounted.run("ls", "folder")
        opened = program.call(os.open, f"{mounted.path}/folder/changed", os.O_RDONLY)
        emulator.place("folder/changed", b"changed")
        (emulator.bucket / "folder/deleted").unlink()
        emulator.place("folder/new", b"new")
        emulator.place("steady", b"steady too")
        assert [size_of(mounted, name) for name in names] == [3, 3, None, 6]
        arguments = [str(mounted.path)] if command == "reload" else [f"{mounted.path}/folder"]
        gcsmux(mounted, command, *arguments)
        steady = 10 if command == "reload" else 6
        assert [size_of(mounted, name) for name in names] == [7, None, 3, steady]
        assert mounted.run("ls", "folder").stdout == b"changed\nnew\n"
        assert mounted.run("cat", "folder/changed").stdout == b"changed"
        # A file that was open stays at its generation.
        assert program.call(os.pread, opened, 10, 0) == b"old"
        program.call(os.close, opened)


def test_reading_warmed_files_sends_no_request(emulator: EmulatorProcess, mount: NewMount) -> None:
    contents = {f"tree/{number % 3}/{number}": os.urandom(30_000) for number in range(30)}
    contents["tree/large"] = os.urandom(5 * MIB)
    for name, content in contents.items():
        emulator.place(name, content)
    with mount(*FOR_EVER) as mounted:
        assert "31 of 31 files cached" in gcsmux(mounted, "warm", f"{mounted.path}/tree")
        mounted.run("find", "tree", "-name", "none")
        before = emulator.statistics()
        for name, content in contents.items():
            assert mounted.run("cat", name).stdout == content
        assert emulator.statistics() == before
        # Forgotten bytes and pages are requested again.
        gcsmux(mounted, "forget", f"{mounted.path}/tree/large")
        assert mounted.run("cat", "tree/large").stdout == contents["tree/large"]
        asked = emulator.statistics().bytes_asked - before.bytes_asked
        assert asked == len(contents["tree/large"])


def test_files_that_do_not_fit_are_refused_before_a_byte_is_fetched(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    emulator.place("large", bytes(20 * MIB))
    with mount("--memory", "16MiB", "--read-ahead", "0") as mounted:
        message = refused(mounted, "warm", f"{mounted.path}/large")
        assert "too small for 1 file with 20.0 MiB" in message
        assert emulator.statistics().bytes_asked == 0
        gcsmux(mounted, "warm", "--partial", f"{mounted.path}/large")
        assert 0 < emulator.statistics().bytes_asked < 16 * MIB


def test_a_stopped_mount_is_reported_at_once(emulator: EmulatorProcess, mount: NewMount) -> None:
    emulator.place("file", b"content")
    with mount() as mounted:
        mounted.process.send_signal(signal.SIGSTOP)
        try:
            message = f"kill -CONT {mounted.process.pid}"
            assert message in refused(mounted, "stats", str(mounted.path))
            assert message in refused(mounted, "forget", f"{mounted.path}/file")
            assert "not answering" in own_line(mounted)
        finally:
            mounted.process.send_signal(signal.SIGCONT)
        wait_until(lambda: own_line(mounted).endswith(": healthy"), "the mount is healthy")


def test_mounts_below_a_mount_survive_reload(emulator: EmulatorProcess, mount: NewMount) -> None:
    if os.geteuid():
        pytest.skip("only root may mount")
    emulator.place("folder/file", b"below")
    with mount(*FOR_EVER) as mounted:
        assert mounted.run("mount", "-t", "tmpfs", "nested", "folder").returncode == 0
        try:
            assert "stay absent" in gcsmux(mounted, "reload", str(mounted.path))
            assert mounted.run("ls", "folder").stdout == b""
            assert mounted.run("mountpoint", "-q", "folder").returncode == 0
        finally:
            assert mounted.run("umount", "folder").returncode == 0
        assert "asks the service" in gcsmux(mounted, "reload", str(mounted.path))
        assert mounted.run("ls", "folder").stdout == b"file\n"


def test_a_killed_mount_is_reported_and_its_socket_replaced(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    emulator.place("file", b"content")
    mounted = mount()
    mounted.__enter__()
    assert mounted.process.stderr is not None
    mounted.process.stderr.close()
    mounted.process.kill()
    mounted.process.wait(END_SECONDS)
    try:
        assert "has ended: unmount it by" in refused(mounted, "stats", str(mounted.path))
        assert "not answering" in own_line(mounted)
    finally:
        mounted.unmount("-l")
    with mount() as following:
        gcsmux(following, "stats", str(following.path))


def test_a_container_reads_metrics_from_the_control_directory(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    emulator.place("file", b"content")
    with mount("--control-directory") as mounted:
        assert mounted.run("ls", "-A").stdout == b"file\n"
        for _ in range(2):
            answer = json.loads(mounted.run("cat", ".gcsmux/stats.json").stdout)
            assert answer["pid"] == mounted.process.pid
        assert b"bytes_received" in mounted.run("cat", "file", ".gcsmux/stats").stdout
        assert mounted.run("cat", ".gcsmux/log-level").stdout == b"debug\n"
    with mount() as mounted:
        assert mounted.run("ls", ".gcsmux").returncode != 0
