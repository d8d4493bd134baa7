"""Tests of command-line options of a mount, and of two mounts of one bucket."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import programs
from tests.support.emulator_process import COMMANDS
from tests.support.harness import BUCKET, END_SECONDS, wait_until

if TYPE_CHECKING:
    from tests.support.harness import EmulatorProcess, MountProcess, NewMount

pytestmark = pytest.mark.mount

NOBODY = 65534
AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def test_two_mounts_of_one_bucket(emulator: EmulatorProcess, mount: NewMount) -> None:
    content = programs.tagged(1, 0, 5_000_000)
    emulator.place("folder/object", content)
    with mount() as one, mount() as other, one.program() as first, other.program() as second:
        for _ in range(3):
            assert first.call(programs.read_whole, f"{one.path}/folder/object") == content
            assert second.call(programs.read_whole, f"{other.path}/folder/object") == content
        one.unmount()
        assert one.process.wait(END_SECONDS) == 0
        assert second.call(os.listdir, f"{other.path}/folder") == ["object"]


def test_signals_of_a_mount_during_the_start_do_not_end_the_process(folder: Path) -> None:
    (folder / "mnt").mkdir()
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        subprocess.Popen(
            [COMMANDS / "gcsmux-mount", "-f", BUCKET, folder / "mnt"],
            env=os.environ | {"STORAGE_EMULATOR_HOST_GRPC": f"127.0.0.1:{silent.getsockname()[1]}"},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # no terminal, as in a service
        ) as process,
    ):
        signals = (signal.SIGUSR1, signal.SIGHUP)
        status = Path(f"/proc/{process.pid}/status")

        def ignores() -> bool:
            (mask,) = re.findall(r"SigIgn:\s*(\w+)", status.read_text())
            return all(int(mask, 16) & 1 << (number - 1) for number in signals)

        wait_until(ignores, "SIGUSR1 and SIGHUP are ignored")
        for number in signals:
            process.send_signal(number)
        # SIGINT ends the start at once. Without SIGINT, the process would retry for 6 s, because
        # the server does not answer.
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=END_SECONDS)
        assert (process.returncode, error) == (
            130,
            "gcsmux-mount: interrupted, nothing is mounted.\n",
        )


@pytest.mark.parametrize(
    ("options", "bucket"),
    [
        (["--only-dir", "a/b"], "{}"),
        (["--only-dir", "a/b/"], "{}"),
        ([], "gs://{}/a/b"),
        (["--only-dir", "b"], "gs://{}/a/"),
    ],
)
def test_a_folder_can_be_mounted(
    emulator: EmulatorProcess, mount: NewMount, options: list[str], bucket: str
) -> None:
    emulator.place("a/b/c/object", b"inside")
    emulator.place("a/bc", b"beside")
    emulator.place("object", b"above")
    with (
        mount(*options, bucket=bucket.format(emulator.bucket_name)) as mounted,
        mounted.program() as program,
    ):
        found = program.call(programs.tree, str(mounted.path))
        assert list(found) == [b"c", b"c/object"]
        assert program.call(programs.read_whole, f"{mounted.path}/c/object") == b"inside"
        with pytest.raises(FileNotFoundError):
            program.call(os.stat, f"{mounted.path}/object")


def test_owner_and_mode_options_are_applied(emulator: EmulatorProcess, mount: NewMount) -> None:
    emulator.place("folder/object", b"content")
    options = ["--uid", "1234", "--gid", "2345", "--file-mode", "440", "--dir-mode", "550"]
    with mount(*options) as mounted, mounted.program() as program:
        for path in ("", "/folder"):
            found = program.call(programs.modes, f"{mounted.path}{path}")
            assert found == ("dr-xr-x---", 1234, 2345)
        found = program.call(programs.modes, f"{mounted.path}/folder/object")
        assert found == ("-r--r-----", 1234, 2345)
    with mount() as mounted, mounted.program() as program:
        found = program.call(programs.modes, f"{mounted.path}/folder/object")
        assert found == ("-rw-r--r--", os.geteuid(), os.getegid())


def read_as_nobody(mounted: MountProcess) -> tuple[int, bytes, bytes]:
    result = mounted.run(*AS_NOBODY, "cat", mounted.path / "object")
    return result.returncode, result.stdout, result.stderr


@needs_root
def test_other_users_are_refused_unless_allow_other_is_set(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    emulator.place("object", b"content")
    with mount() as mounted:
        code, output, errors = read_as_nobody(mounted)
        assert (code, output) == (1, b"")
        assert b"Permission denied" in errors
    for options in (["--allow-other"], ["-o", "ro,_netdev,allow_other"]):
        with mount(*options) as mounted:
            assert read_as_nobody(mounted) == (0, b"content", b"")


@needs_root
def test_allow_other_still_enforces_modes(emulator: EmulatorProcess, mount: NewMount) -> None:
    emulator.place("object", b"content")
    with mount("--allow-other", "--file-mode", "600") as mounted:
        code, _, errors = read_as_nobody(mounted)
        assert code == 1
        assert b"Permission denied" in errors
    with mount("--allow-other", "--uid", str(NOBODY), "--file-mode", "400") as mounted:
        assert read_as_nobody(mounted) == (0, b"content", b"")
