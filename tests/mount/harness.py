"""Real mounts for tests: `gcsmux-mount` in a process of its own, and programs that use the mount.

A mount that a test leaves behind would hang whatever touches it next, so everything here ends what
it began: unmount, then abort through fusectl, then SIGKILL. The process that runs the tests never
touches a mount itself; whoever does has a deadline, after which the mount is aborted.
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

from .server import BUCKET, COMMANDS, END_SECONDS, EmulatorProcess

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

_PACKAGE = __package__ or ""
# Where this package is imported from, by whatever name.
_ROOT = Path(__file__).parents[_PACKAGE.count(".") + 1]
_START_SECONDS = 30
# What may take longest is a gigabyte on a busy machine; a hang is told after this.
_CALL_SECONDS = 90
_CONNECTIONS = Path("/sys/fs/fuse/connections")
# What libfuse says of a request that the kernel takes back because it is unmounting.
_TAKEN_BACK = "fuse: reading device: Software caused connection abort\n"
_AT_REST = (
    "blocks_loading",
    "budget_in_flight",
    "open_files",
    "open_handles",
    "queued_reads",
    "ranges_waiting",
    "requests",
    "waiting_reads",
)
_AT_END = (*_AT_REST, "streams_open", "tasks", "read_object_open", "unary_streams")

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 20) -> None:
    """Poll `condition` until it holds; fail after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.02)


@dataclass
class MountProcess:
    """`gcsmux-mount -f`, told to be ready by its own READY=1 to a notification socket.

    `folder` is for the mount point and the log; lines of level WARNING or worse that a test
    expects hold one of `expected_warnings`; `launcher` is a command that becomes the mount's.
    """

    emulator: EmulatorProcess
    folder: Path
    options: Sequence[str] = ()
    bucket: str = BUCKET
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

    # -- from beginning to end

    def __enter__(self) -> Self:
        # With exist_ok it would look at the mount that a process before has left there.
        with contextlib.suppress(FileExistsError):
            self.path.mkdir(parents=True)
        address = str(self.folder / "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(address)
            manager.settimeout(_START_SECONDS)
            command: list[str | Path] = [*self.launcher, COMMANDS / "gcsmux-mount", "-f"]
            command += ["--log-file", self.log_file, "--log-level", self.log_level]
            command += [*self.options, self.bucket, self.path]
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
            stderr = self.process.stderr.read().replace(_TAKEN_BACK, "")
            self.process.stderr.close()
        if not failed:
            assert (code, stderr) == (0, ""), f"ended with {code}: {stderr}"

    def unmount(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Run umount(8), or what stands for it where we are not root."""
        command = ["umount"] if os.geteuid() == 0 else ["fusermount3", "-u"]
        return subprocess.run(
            [*command, *options, self.path],
            capture_output=True,
            text=True,
            timeout=END_SECONDS,
            check=False,
        )

    def abort(self) -> None:
        """Clear a mount that does not answer: abort its connection, then kill the process."""
        self.abort_connection()
        self.process.kill()
        self.process.wait(END_SECONDS)
        subprocess.run(["umount", "-l", self.path], capture_output=True, check=False)

    def abort_connection(self) -> None:
        """Take the kernel's side of the mount from the process, through fusectl."""
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

    # -- what it says of itself

    def unexpected_warnings(self) -> list[str]:
        """Return the log lines of level WARNING or worse that the test did not announce."""
        return [
            line
            for line in self.log.splitlines()
            if any(level in line for level in (" WARNING ", " ERROR ", " CRITICAL "))
            and not any(part in line for part in self.expected_warnings)
        ]

    def statistics(self) -> dict[str, int]:
        """Ask the running mount for its statistics (SIGUSR1 logs them)."""
        before = len(self._statistics_lines())
        self.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: len(self._statistics_lines()) > before, "statistics")
        return self.last_statistics()

    def last_statistics(self) -> dict[str, int]:
        """Return the statistics logged last."""
        line = self._statistics_lines()[-1]
        metrics: dict[str, object] = json.loads(line.partition("statistics ")[2])
        # Histograms and metrics with labels are dictionaries.
        return {name: value for name, value in metrics.items() if isinstance(value, int)}

    def _statistics_lines(self) -> list[str]:
        # A line that is just being written may be seen in part.
        return [line for line in self.log.split("\n")[:-1] if "statistics {" in line]

    def reads(self) -> int:
        """Return how many READs the kernel has sent so far."""
        found = self.statistics()
        return found["hits"] + found["waits"] + found["misses"]

    def check_at_rest(self) -> None:
        """When nobody uses the mount, nobody waits, and nothing is open or under way.

        The kernel tells of closed files when it likes, and readahead may still be arriving.
        """
        gauges: dict[str, int] = {}

        def at_rest() -> bool:
            gauges.update(self.statistics())
            return not any(gauges[name] for name in _AT_REST)

        with contextlib.suppress(AssertionError):
            wait_until(at_rest, "rest", seconds=10)
        self._check_gauges(gauges, _AT_REST)

    def _check_gauges(self, found: dict[str, int], names: Sequence[str]) -> None:
        left = {name: found[name] for name in names if found[name]}
        assert not left, f"not at rest: {left}"

    def peak_memory_bytes(self) -> int:
        """Return the most memory that the process has had (VmHWM)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024

    # -- who uses it

    def run(
        self, *command: str | Path, timeout: float = _CALL_SECONDS
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a program in the mount's root directory, and wait for its end."""
        # The shell's own `cd` touches the mount, not the process that runs the tests.
        return self.run_beside(
            "sh", "-c", 'cd -- "$0" && exec "$@"', self.path, *command, timeout=timeout
        )

    def run_beside(
        self,
        *command: str | Path,
        environment: Mapping[str, str] | None = None,
        timeout: float = _CALL_SECONDS,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a program in the folder that holds the mount point `mnt`, and wait for its end."""
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
        """Return a program that uses the mount, for `with`."""
        return Program(self)


class Program:
    """A process that uses a mount, function by function; every call has a deadline.

    An exception is raised here as it was raised there.
    """

    def __init__(self, mount: MountProcess) -> None:
        self._mount = mount
        self._connection, theirs = Pipe()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", f"{_PACKAGE}.programs", str(theirs.fileno())],
                cwd=_ROOT,
                pass_fds=[theirs.fileno()],
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
        """Have a function called there and return its answer."""
        assert not kwargs
        self.begin(function, *args)
        return cast("Answer", self.answer())

    def begin(
        self, function: Callable[..., object], *args: object, reporting: bool = False
    ) -> None:
        """Have a function called there, without waiting; with `reporting` it gets a connection."""
        self._connection.send((function, args, reporting))

    def answer(self, seconds: float = _CALL_SECONDS) -> object:
        """Wait for the answer of what was begun."""
        worked, answer = cast("tuple[bool, object]", self.report(seconds))
        if not worked:
            assert isinstance(answer, Exception)
            raise answer
        return answer

    def report(self, seconds: float = _CALL_SECONDS) -> object:
        """Wait for what a function says while it runs.

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
    """What the fixture `mount` gives: a mount of the test's bucket, to be begun by `with`."""

    def __call__(
        self, *options: str, bucket: str = BUCKET, expected_warnings: Sequence[str] = ()
    ) -> MountProcess:
        """Return a mount with these command-line options."""
