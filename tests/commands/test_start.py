"""The parent's side of a start, against tiny children that say or do one thing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gcsmux_fs.commands.mount import make_paths_absolute
from gcsmux_fs.process.daemon import StartFailed, start
from gcsmux_fs.process.readiness import PipeAnnouncer, inherited_pipe

PREAMBLE = """\
import os, signal, sys, time
from gcsmux_fs.process.readiness import PipeAnnouncer, inherited_pipe
pipe = inherited_pipe()
announcer = PipeAnnouncer(pipe, None)
"""


def child(code: str) -> list[str]:
    return [sys.executable, "-c", PREAMBLE + code]


def failure(code: str, mountpoint: Path, *, timeout_seconds: float = 20) -> StartFailed:
    with pytest.raises(StartFailed) as caught:
        start(child(code), mountpoint, timeout_seconds=timeout_seconds)
    return caught.value


def test_the_childs_sentence_and_exit_code_are_the_parents(tmp_path: Path) -> None:
    error = failure("announcer.failed('there is no bucket: \\n x.', 3); sys.exit(3)", tmp_path)
    assert str(error) == r"there is no bucket: \n x."
    assert error.exit_code == 3


def test_what_the_mount_helper_said_is_told_too(tmp_path: Path) -> None:
    code = "print('fusermount3: no way', file=sys.stderr); announcer.failed('failed.', 1)"
    assert str(failure(code, tmp_path)) == "failed. (fusermount3: no way)"


def test_a_crash_is_told_by_its_last_line_not_by_its_traceback(tmp_path: Path) -> None:
    error = failure("raise RuntimeError('out of luck')", tmp_path)
    assert str(error) == (
        "the serving process ended early (exit code 1): RuntimeError: out of luck"
    )
    assert error.exit_code == 1


def test_a_killed_child_is_told_by_its_signal(tmp_path: Path) -> None:
    error = failure("os.kill(os.getpid(), signal.SIGKILL)", tmp_path)
    assert "ended early (signal SIGKILL)" in str(error)


def test_a_child_that_says_nothing_is_ended(tmp_path: Path) -> None:
    code = f"open({os.fspath(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    error = failure(code, tmp_path, timeout_seconds=1.5)
    assert "was not ready in time" in str(error)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_ready_is_not_believed_without_a_mount_that_answers(tmp_path: Path) -> None:
    error = failure("announcer.ready(); time.sleep(60)", tmp_path)
    assert "was mounted but does not answer" in str(error)


def test_the_child_has_a_session_no_terminal_and_the_whole_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST_GRPC", "localhost:9000")
    code = """
facts = [
    os.getsid(0) == os.getpid(),
    os.path.samefile("/proc/self/fd/0", os.devnull),
    os.path.samefile("/proc/self/fd/1", os.devnull),
    os.environ["STORAGE_EMULATOR_HOST_GRPC"],
    os.get_inheritable(pipe),
    inherited_pipe(),
]
announcer.failed(repr(facts), 1)
"""
    assert str(failure(code, tmp_path)) == "[True, True, True, 'localhost:9000', False, None]."


STARTER = """\
import sys
from pathlib import Path
from gcsmux_fs.process.daemon import StartFailed, start
try:
    start(sys.argv[2:], Path(sys.argv[1]))
except StartFailed as error:
    print(error)
    sys.exit(error.exit_code)
"""


def begin_start(mountpoint: Path, code: str) -> subprocess.Popen[str]:
    """Run a parent in a process of its own, whose child tells its number in a file and waits."""
    announce = f"open({os.fspath(mountpoint)!r} + '.pid', 'w').write(str(os.getpid()) + '.')\n"
    return subprocess.Popen(
        [sys.executable, "-c", STARTER, os.fspath(mountpoint), *child(announce + code)],
        stdout=subprocess.PIPE,
        text=True,
    )


def child_number(mountpoint: Path) -> int:
    path = mountpoint.with_name(mountpoint.name + ".pid")
    end = time.monotonic() + 20
    while not (path.exists() and path.read_text().endswith(".")):
        assert time.monotonic() < end
        time.sleep(0.02)
    return int(path.read_text().removesuffix("."))


def wait_for_end(pid: int) -> None:
    """Wait until a process that is not our child has ended."""
    end = time.monotonic() + 20
    while True:
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return
        except (ProcessLookupError, FileNotFoundError):
            return
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_parent_ends_the_child(tmp_path: Path, number: signal.Signals) -> None:
    parent = begin_start(tmp_path, "time.sleep(60)")
    pid = child_number(tmp_path)
    parent.send_signal(number)
    output, _ = parent.communicate(timeout=20)
    assert (parent.returncode, output) == (128 + number, "interrupted, nothing is mounted.\n")
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_signal_before_the_child_is_known_is_told_as_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_arguments: object, **_options: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(20)

    monkeypatch.setattr(subprocess, "Popen", interrupted)
    with pytest.raises(StartFailed, match="interrupted, nothing is mounted") as caught:
        start(child(""), tmp_path)
    assert caught.value.exit_code == 130


def test_an_interrupt_while_the_command_loads_is_told_in_one_sentence() -> None:
    code = """
import signal, sys

class Interrupting:
    def find_spec(self, name, path, target=None):
        if name == "click":
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
from gcsmux_fs.cli import mount_command
mount_command()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=20
    )
    assert (done.returncode, done.stdout, done.stderr) == (
        130,
        "",
        "gcsmux-mount: interrupted, nothing is mounted.\n",
    )


def test_files_named_by_the_environment_are_found_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    environment = {
        "GOOGLE_APPLICATION_CREDENTIALS": "keys/key.json",
        "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": "/etc/roots.pem",
        "CLOUDSDK_CONFIG": "",
        "HOME": "relative",
    }
    make_paths_absolute(environment)
    assert environment == {
        "GOOGLE_APPLICATION_CREDENTIALS": f"{tmp_path}/keys/key.json",
        "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": "/etc/roots.pem",
        "CLOUDSDK_CONFIG": "",
        "HOME": "relative",
    }


def test_the_child_of_a_killed_parent_learns_so_when_it_is_ready(tmp_path: Path) -> None:
    verdict = os.fspath(tmp_path / "verdict")
    code = f"""
from gcsmux_fs.process.readiness import ParentGone
while os.getppid() == {os.getpid()} or not os.path.exists({verdict!r}):
    time.sleep(0.02)
try:
    announcer.ready()
except ParentGone:
    open({verdict!r}, "w").write("gone")
"""
    parent = begin_start(tmp_path, code)
    pid = child_number(tmp_path)
    parent.kill()
    parent.communicate(timeout=20)
    (tmp_path / "verdict").touch()
    wait_for_end(pid)
    assert (tmp_path / "verdict").read_text() == "gone"


@pytest.mark.expects_log("it broke")
def test_the_word_is_said_once_and_later_failures_go_to_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reading, writing = os.pipe()
    announcer = PipeAnnouncer(writing, None)
    announcer.failed("first", 1)
    assert os.read(reading, 100) == b"failed 1 first.\n"
    assert os.read(reading, 100) == b""
    os.close(reading)
    announcer.failed("it broke", 1)
    assert caplog.messages == ["it broke"]


def test_a_number_in_the_environment_that_is_no_pipe_is_ignored(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with (tmp_path / "file").open("w") as file:
        for text in ("", "x", "999999", str(file.fileno())):
            monkeypatch.setenv("_GCSMUX_WORD_FD", text)
            assert inherited_pipe() is None
