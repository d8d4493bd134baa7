"""Tests of `daemon.start`, with small child processes that report, crash or hang."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.process.daemon import StartFailed, start
from gcsmux_fs.process.readiness import PipeReporter, inherited_pipe

LIMIT_SECONDS = 20
MOUNTPOINT = Path("/mnt/data")

PREAMBLE = """\
import os, signal, sys, time
from gcsmux_fs.process.readiness import PipeReporter, inherited_pipe
pipe = inherited_pipe()
reporter = PipeReporter(pipe, None)
"""


def child(code: str) -> list[str]:
    return [sys.executable, "-c", PREAMBLE + code]


def failure(
    code: str, *, answers: bool = False, timeout_seconds: float = LIMIT_SECONDS
) -> StartFailed:
    """Start a child that runs `code`; return the failure; check that `clear` was called."""
    cleared: list[bool] = []

    def clear() -> None:
        cleared.append(True)
        raise ConfigError("the dead mount cannot be removed.")

    with pytest.raises(StartFailed) as caught:
        start(
            child(code),
            mountpoint=MOUNTPOINT,
            answers=lambda: answers,
            clear=clear,
            timeout_seconds=timeout_seconds,
        )
    assert cleared == [True]
    return caught.value


def test_a_start_returns_the_warning_when_the_mount_answers() -> None:
    command = child("reporter.warn('the folder is empty'); reporter.ready()")
    warning = start(
        command,
        mountpoint=MOUNTPOINT,
        answers=lambda: True,
        clear=lambda: pytest.fail("cleared"),
    )
    assert warning == "the folder is empty."


def test_the_parent_fails_with_the_sentence_and_exit_code_of_the_child() -> None:
    error = failure("reporter.failed('there is no bucket: \\n x.', 3); sys.exit(3)")
    assert str(error) == r"there is no bucket: \n x."
    assert error.exit_code == 3


def test_a_failure_quotes_the_error_of_fusermount() -> None:
    code = "print('fusermount3: no way', file=sys.stderr); reporter.failed('failed.', 1)"
    assert str(failure(code)) == "failed. (fusermount3: no way)"


def test_a_crash_is_reported_by_the_last_line_of_its_traceback() -> None:
    error = failure("raise RuntimeError('out of luck')")
    assert str(error) == ("the mount process ended early (exit code 1): RuntimeError: out of luck")
    assert error.exit_code == 1


def test_a_killed_child_is_reported_with_its_signal() -> None:
    error = failure("os.kill(os.getpid(), signal.SIGKILL)")
    assert str(error) == (
        "the mount process ended early (signal SIGKILL): it wrote nothing to stderr."
    )


@pytest.mark.slow
def test_a_child_that_reports_nothing_is_ended(tmp_path: Path) -> None:
    code = f"open({os.fspath(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    error = failure(code, timeout_seconds=1.5)
    assert str(error) == "the mount on /mnt/data was not ready within 1.5 s: add -f to see its log."
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_ready_report_is_not_enough_if_the_mount_does_not_answer() -> None:
    error = failure("reporter.ready(); time.sleep(60)", answers=False)
    assert "the mount on /mnt/data does not answer" in str(error)


def test_the_child_has_no_standard_streams_and_the_whole_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST_GRPC", "localhost:9000")
    code = """
facts = [
    os.path.samefile("/proc/self/fd/0", os.devnull),
    os.path.samefile("/proc/self/fd/1", os.devnull),
    os.environ["STORAGE_EMULATOR_HOST_GRPC"],
    os.get_inheritable(pipe),
    inherited_pipe(),
]
reporter.failed(repr(facts), 1)
"""
    assert str(failure(code)) == "[True, True, 'localhost:9000', False, None]."


def test_the_child_leaves_the_process_group_of_the_parent_when_it_is_ready(
    tmp_path: Path,
) -> None:
    """Until the mount is ready, autofs accepts only processes in the group of mount(8)."""
    facts = os.fspath(tmp_path / "facts")
    code = f"""
before = os.getpgid(0) == os.getpgid(os.getppid())
write, reporter._write = reporter._write, lambda report: None
reporter.ready()
open({facts!r}, "w").write(repr([before, os.getsid(0) == os.getpid()]))
write("ready")
time.sleep(60)
"""
    failure(code, answers=False)
    assert Path(facts).read_text() == "[True, True]"


STARTER = """\
import sys
from gcsmux_fs.process.daemon import StartFailed, start
try:
    start(sys.argv[1:], mountpoint="/mnt/data", answers=lambda: True, clear=lambda: None)
except StartFailed as error:
    print(error)
    sys.exit(error.exit_code)
"""


def begin_start(folder: Path, code: str) -> subprocess.Popen[str]:
    """Start a parent process whose child writes its process ID to a file and runs `code`."""
    path = os.fspath(folder / "pid")
    write_pid = f"open({path!r}, 'w').write(str(os.getpid()) + '.')\n"
    return subprocess.Popen(
        [sys.executable, "-c", STARTER, *child(write_pid + code)],
        stdout=subprocess.PIPE,
        text=True,
    )


def wait_for_pid(folder: Path) -> int:
    """Return the process ID of the child that `begin_start` started."""
    path = folder / "pid"
    end = time.monotonic() + LIMIT_SECONDS
    while not (path.exists() and path.read_text().endswith(".")):
        assert time.monotonic() < end
        time.sleep(0.02)
    return int(path.read_text().removesuffix("."))


def wait_for_end(pid: int) -> None:
    """Wait until a process that is not a child of this process has ended."""
    stat = Path(f"/proc/{pid}/stat")
    end = time.monotonic() + LIMIT_SECONDS
    while True:
        try:
            if stat.read_text().rpartition(")")[2].split()[0] == "Z":
                return
        except (ProcessLookupError, FileNotFoundError):
            return
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_parent_ends_the_child(tmp_path: Path, number: signal.Signals) -> None:
    parent = begin_start(tmp_path, "time.sleep(60)")
    pid = wait_for_pid(tmp_path)
    parent.send_signal(number)
    output, _ = parent.communicate(timeout=LIMIT_SECONDS)
    assert (parent.returncode, output) == (128 + number, "interrupted, nothing is mounted.\n")
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_signal_before_the_child_has_started_is_reported_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(*_arguments: object, **_options: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(LIMIT_SECONDS)

    monkeypatch.setattr(subprocess, "Popen", interrupted)
    with pytest.raises(StartFailed, match="interrupted, nothing is mounted") as caught:
        start(child(""), mountpoint=MOUNTPOINT, answers=lambda: True, clear=lambda: None)
    assert caught.value.exit_code == 130


def test_the_child_of_a_killed_parent_cannot_report_ready(tmp_path: Path) -> None:
    outcome = tmp_path / "outcome"
    code = f"""
from gcsmux_fs.process.readiness import ParentGone
while os.getppid() == {os.getpid()} or not os.path.exists({os.fspath(outcome)!r}):
    time.sleep(0.02)
try:
    reporter.ready()
except ParentGone:
    open({os.fspath(outcome)!r}, "w").write("ParentGone")
"""
    parent = begin_start(tmp_path, code)
    pid = wait_for_pid(tmp_path)
    parent.kill()
    parent.communicate(timeout=LIMIT_SECONDS)
    outcome.touch()
    wait_for_end(pid)
    assert outcome.read_text() == "ParentGone"


@pytest.mark.expects_log("it broke")
def test_a_failure_after_the_first_report_goes_to_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reading, writing = os.pipe()
    reporter = PipeReporter(writing, None)
    reporter.failed("first", 1)
    assert os.read(reading, 100) == b"failed 1 first.\n"
    assert os.read(reading, 100) == b""
    os.close(reading)
    reporter.failed("it broke", 1)
    assert caplog.messages == ["it broke"]


def test_a_descriptor_in_the_environment_that_is_not_a_pipe_is_ignored(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with (tmp_path / "file").open("w") as file:
        for text in ("", "x", "999999", str(file.fileno())):
            monkeypatch.setenv("_GCSMUX_READINESS_FD", text)
            assert inherited_pipe() is None
