"""Mounts for tests: real processes of `gcsmux-mount`, and programs that use the mounts.

If a test left a mount behind, the next process that touches this mount would hang. So each mount
ends with its test: first by umount, and if this fails by an abort through fusectl and by SIGKILL.
The process that runs the tests never touches a mount. Only other processes use a mount. Each of
them has a deadline, and the harness aborts the mount when the deadline passes.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Pipe
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, Protocol, Self, TypeVar, cast

from gcsmux_fs.filesystem.prefetched_files import ABANDONED_SECONDS
from tests.support.emulator_process import BUCKET, COMMANDS, END_SECONDS, EmulatorProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = [
    "BUCKET",
    "END_SECONDS",
    "EmulatorProcess",
    "MountProcess",
    "NewMount",
    "Program",
    "wait_until",
]

_ROOT = Path(__file__).parents[2]
_START_SECONDS = 30
# Limit of the duration of a call in seconds. A call that takes longer counts as a hang. The longest
# call reads a gigabyte on a busy machine.
_CALL_SECONDS = 90
_POLL_SECONDS = 0.01
_CONNECTIONS = Path("/sys/fs/fuse/connections")
# If umount makes the kernel withdraw a request, libfuse prints this line. The harness ignores it.
_REQUEST_WITHDRAWN = "fuse: reading device: Software caused connection abort\n"
_AT_REST = (
    "blocks_loading",
    "budget_in_flight",
    "open_files",
    "open_handles",
    "queued_reads",
    "ranges_waiting",
    "name_requests_in_flight",
    "waiting_reads",
)
_AT_END = (
    *(*_AT_REST, "streams_open", "tasks", "read_object_open", "unary_streams"),
    "metric_failures",
)

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 20) -> None:
    """Call `condition` until it returns true. Raise AssertionError with `what` after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(_POLL_SECONDS)


@dataclass
class MountProcess:
    """A process of `gcsmux-mount -f`. The mount is ready when READY=1 arrives at its notify socket.

    `folder` holds the mount point `mnt` and the log. Each log line of level WARNING or above must
    contain one of `expected_warnings`, or the test fails. If `bucket` is "", the mount uses the
    emulator's current bucket. `launcher` is put before the mount command and executes this command.
    """

    emulator: EmulatorProcess
    folder: Path
    options: Sequence[str] = ()
    bucket: str = ""
    expected_warnings: Sequence[str] = ()
    log_level: str = "debug"
    launcher: Sequence[str] = ()
    process: subprocess.Popen[str] = field(init=False)

    @property
    def path(self) -> Path:
        return self.folder / "mnt"

    @property
    def log_file(self) -> Path:
        return self.folder / "mount.log"

    @property
    def log(self) -> str:
        return self.log_file.read_text() if self.log_file.exists() else ""

    # -- start and end

    def __enter__(self) -> Self:
        # Do not use `exist_ok`, because mkdir would then call stat(), which could hang if the
        # directory is a dead mount of an earlier process.
        with contextlib.suppress(FileExistsError):
            self.path.mkdir(parents=True)
        address = str(self.folder / "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(address)
            manager.settimeout(_START_SECONDS)
            command: list[str | Path] = [*self.launcher, COMMANDS / "gcsmux-mount", "-f"]
            command += ["--log-file", self.log_file, "--log-level", self.log_level]
            command += [*self.options, self.bucket or self.emulator.bucket_name, self.path]
            self.process = subprocess.Popen(
                command,
                env={
                    **os.environ,
                    "STORAGE_EMULATOR_HOST_GRPC": self.emulator.endpoint,
                    "NOTIFY_SOCKET": address,
                },
                stderr=subprocess.PIPE,
                text=True,
            )
            try:
                while b"READY=1" not in manager.recv(4096).split(b"\n"):
                    pass
            except TimeoutError:
                self.abort()
                assert self.process.stderr is not None
                raise AssertionError(
                    f"the mount did not come up: {self.process.stderr.read()}\n{self.log}"
                ) from None
            finally:
                Path(address).unlink()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None and self.process.poll() is None:
                self.check_at_rest()
        except BaseException as error:
            kind = type(error)
            raise
        finally:
            self._end(failed=kind is not None)
        if kind is None:
            warnings = self.unexpected_warnings()
            assert not warnings, "\n".join(warnings)
            self._check_gauges(self.last_statistics(), _AT_END)

    def _end(self, *, failed: bool) -> None:
        refusal = "umount has not been run"
        try:
            if self.process.poll() is None:
                refusal = self.unmount().stderr or "umount has succeeded"
            code = self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.abort()
            if not failed:
                raise AssertionError(f"the mount did not end ({refusal})\n{self.log}") from None
            return
        finally:
            assert self.process.stderr is not None
            stderr = self.process.stderr.read().replace(_REQUEST_WITHDRAWN, "")
            self.process.stderr.close()
        if not failed:
            assert (code, stderr) == (0, ""), f"the mount ended with exit code {code}: {stderr}"

    def unmount(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Run umount(8), or `fusermount3 -u` if the user is not root."""
        command = ["umount"] if os.geteuid() == 0 else ["fusermount3", "-u"]
        return subprocess.run(
            [*command, *options, self.path],
            capture_output=True,
            text=True,
            timeout=END_SECONDS,
            check=False,
        )

    def abort(self) -> None:
        """End a mount that does not answer: abort its FUSE connection and kill its process."""
        self.abort_connection()
        self.process.kill()
        self.process.wait(END_SECONDS)
        subprocess.run(["umount", "-l", self.path], capture_output=True, check=False)

    def abort_connection(self) -> None:
        """Abort the mount's FUSE connection through fusectl. Then all requests in flight fail."""
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            fields = line.split()
            if fields[4] == str(self.path):
                if not any(_CONNECTIONS.iterdir()):
                    subprocess.run(
                        ["mount", "-t", "fusectl", "none", _CONNECTIONS],
                        capture_output=True,
                        check=False,
                    )
                minor = fields[2].partition(":")[2]
                with contextlib.suppress(OSError):
                    (_CONNECTIONS / minor / "abort").write_text("1")

    def drop_inodes(self) -> None:
        """Make the kernel forget all unused names and inodes of the mount. Only root can do this.

        A remount empties only the dentry cache of this mount. A write to drop_caches would also
        empty the caches of other mounts, whose tests run at the same time.
        """
        remounted = self.run_beside("mount", "-i", "-o", "remount,ro", self.path)
        assert (remounted.returncode, remounted.stderr) == (0, b"")

    # -- the log and the metrics

    def unexpected_warnings(self) -> list[str]:
        """Return the log lines of level WARNING or above that the test does not expect."""
        return [
            line
            for line in self.log.splitlines()
            if any(level in line for level in (" WARNING ", " ERROR ", " CRITICAL "))
            and not any(part in line for part in self.expected_warnings)
        ]

    def statistics(self) -> dict[str, int]:
        """Send SIGUSR1, wait for the mount to log its metrics, and return them by name."""
        before = len(self._statistics_lines())
        self.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: len(self._statistics_lines()) > before, "the mount logs its metrics")
        return self.last_statistics()

    def last_statistics(self) -> dict[str, int]:
        """Return the metrics from the last statistics line in the log."""
        line = self._statistics_lines()[-1]
        metrics: dict[str, object] = json.loads(line.partition("statistics ")[2])
        # Leave out histograms and metrics with labels, because their values are dictionaries.
        return {name: value for name, value in metrics.items() if isinstance(value, int)}

    def _statistics_lines(self) -> list[str]:
        # Ignore the text after the last line end. The mount may still be writing this line.
        return [line for line in self.log.split("\n")[:-1] if "statistics {" in line]

    def reads(self) -> int:
        """Return the number of READs that the mount has received from the kernel."""
        metrics = self.statistics()
        return metrics["hits"] + metrics["waits"] + metrics["misses"]

    def check_at_rest(self) -> None:
        """Check that the mount has no open file, no request in flight and no waiting READ.

        Wait until the mount is idle, because the kernel sends RELEASE late, readahead may still be
        in flight, and files that were fetched before a program opened them stay open for
        `ABANDONED_SECONDS`.
        """
        gauges: dict[str, int] = {}

        def at_rest() -> bool:
            gauges.update(self.statistics())
            return not any(gauges[name] for name in _AT_REST)

        with contextlib.suppress(AssertionError):
            wait_until(at_rest, "the mount is idle", seconds=ABANDONED_SECONDS + 10)
        self._check_gauges(gauges, _AT_REST)

    def _check_gauges(self, metrics: dict[str, int], names: Sequence[str]) -> None:
        left = {name: metrics[name] for name in names if metrics[name]}
        assert not left, f"the mount is not idle: {left}"

    def peak_memory_bytes(self) -> int:
        """Return the peak resident memory of the mount process (VmHWM)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024

    # -- programs that use the mount

    def run(
        self, *command: str | Path, timeout: float = _CALL_SECONDS
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a program in the mount's root directory and wait until the program ends."""
        # The shell changes the directory, because with `cwd=` this process could hang on the mount.
        return self.run_beside(
            "sh", "-c", 'cd -- "$0" && exec "$@"', self.path, *command, timeout=timeout
        )

    def run_beside(
        self,
        *command: str | Path,
        environment: Mapping[str, str] | None = None,
        timeout: float = _CALL_SECONDS,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a program in the parent folder of the mount point. Wait until the program ends."""
        with subprocess.Popen(
            command,
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            try:
                output, errors = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                self.abort()
                process.kill()
                raise AssertionError(f"{command} hangs on the mount\n{self.log[-5000:]}") from None
        return subprocess.CompletedProcess(command, process.returncode, output, errors)

    def program(self) -> Program:
        """Return a context manager that runs a program on the mount."""
        return Program(self)


class Program:
    """A process that calls functions on a mount, one at a time. Each call has a deadline.

    The process sends the result back. An exception in the process is raised again in the caller.
    """

    def __init__(self, mount: MountProcess) -> None:
        self._mount = mount
        self._connection, other_end = Pipe()
        with other_end:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.programs", str(other_end.fileno())],
                cwd=_ROOT,
                pass_fds=[other_end.fileno()],
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self.process.kill()
        try:
            self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._mount.abort()
            raise AssertionError(f"a killed program hangs\n{self._mount.log[-5000:]}") from None

    def call(
        self,
        function: Callable[Arguments, Answer],
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Answer:
        """Call a function in the process and return its result."""
        assert not kwargs
        self.begin(function, *args)
        return cast("Answer", self.answer())

    def begin(
        self, function: Callable[..., object], *args: object, reporting: bool = False
    ) -> None:
        """Start a call in the process, and do not wait for its result.

        If `reporting` is true, the function gets a connection as an additional last argument.
        `report` returns the messages that the function sends through this connection.
        """
        self._connection.send((function, args, reporting))

    def answer(self, seconds: float = _CALL_SECONDS) -> object:
        """Wait for the call that `begin` has started, and return the result of the call."""
        succeeded, answer = cast("tuple[bool, object]", self.report(seconds))
        if not succeeded:
            assert isinstance(answer, Exception)
            raise answer
        return answer

    def has_report(self, seconds: float) -> bool:
        """Return whether a running function sends a message or ends within `seconds`."""
        return self._connection.poll(seconds)

    def report(self, seconds: float = _CALL_SECONDS) -> object:
        """Wait for the next message that a running function sends, and return this message.

        Raises:
            EOFError: the process has ended.
        """
        if not self._connection.poll(seconds):
            self._mount.abort()
            raise AssertionError(f"a program hangs on the mount\n{self._mount.log[-5000:]}")
        try:
            return self._connection.recv()
        except ConnectionResetError:
            raise EOFError from None


class NewMount(Protocol):
    """The type of the fixture `mount`, a function that returns a mount for a `with` statement."""

    def __call__(
        self, *options: str, bucket: str = "", expected_warnings: Sequence[str] = ()
    ) -> MountProcess:
        """Return a mount of the test's bucket; `options` are command-line options."""
