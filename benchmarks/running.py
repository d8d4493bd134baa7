"""One run: start a mount, run a program that reads the mount, and measure the cost."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks import fio
from benchmarks.tasks import CHANGE_KINDS, Kind, Outcome, Task
from gcsmux_fs.fuse.mountinfo import MountEntry, mount_table, top_mount
from gcsmux_fs.fuse.negotiation import CONGESTION_THRESHOLD, MAX_BACKGROUND

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.support.emulator_process import EmulatorProcess

__all__ = [
    "PROGRAMS_PYTHON",
    "Cost",
    "Failed",
    "Launch",
    "mounted",
    "on_folder",
    "on_mount",
    "start_seconds",
    "without_mount",
]

ROOT = Path(__file__).parents[1]
# The interpreter of the user programs, whose libraries are in an environment of their own.
PROGRAMS_PYTHON = ROOT / ".venv-programs" / "bin" / "python"
_START_SECONDS = 20
_END_SECONDS = 20
_TICKS = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """A contender could not run a task; the message is one line for the table."""


class Launch(NamedTuple):
    """The command that starts a contender's mount."""

    command: list[str]
    environment: Mapping[str, str] = {}
    # The size of the kernel's readahead window in bytes: `own_read_ahead` if the mount sets the
    # size, `raised_read_ahead` if this module sets the size.
    own_read_ahead: int = 0
    raised_read_ahead: int = 0


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of a run: processor time and memory of the mount, and requests to the server."""

    cpu_seconds: float = 0.0
    memory_growth_bytes: int = 0
    peak_memory_bytes: int = 0
    requests: dict[str, int] = field(default_factory=dict)
    ranges: int = 0
    bytes_asked: int = 0

    def to_dict(self) -> dict[str, object]:
        """Return the cost as a dictionary for JSON."""
        return asdict(self)


class _ProcessUsage(NamedTuple):
    cpu_seconds: float
    resident_bytes: int
    peak_bytes: int


def _read_process(pid: int | None) -> _ProcessUsage:
    if pid is None:
        return _ProcessUsage(0.0, 0, 0)
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    resident, peak = (int(status[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))
    return _ProcessUsage((int(fields[11]) + int(fields[12])) / _TICKS, resident, peak)


class _Meter:
    """Measures the cost of a mount and its server from `begin` to `end`."""

    def __init__(self, pid: int | None, emulator: EmulatorProcess | None) -> None:
        self._pid = pid
        self._emulator = emulator
        self.begin()

    def begin(self) -> None:
        if self._emulator is not None:
            self._emulator.statistics(reset=True)
        self._before = _read_process(self._pid)

    def end(self) -> Cost:
        after = _read_process(self._pid)
        cpu_seconds = after.cpu_seconds - self._before.cpu_seconds
        growth = after.resident_bytes - self._before.resident_bytes
        if self._emulator is None:
            return Cost(cpu_seconds, growth, after.peak_bytes)
        served = self._emulator.statistics()
        return Cost(
            cpu_seconds,
            growth,
            after.peak_bytes,
            served.requests,
            served.ranges,
            served.bytes_asked,
        )


def without_mount(
    command: list[str], task: Task, emulator: EmulatorProcess | None
) -> tuple[Outcome, Cost]:
    """Run a program that uses no mount. The program reports its own processor time."""
    meter = _Meter(None, emulator)
    try:
        result = subprocess.run(
            [*command, task.to_json()],
            cwd=ROOT,
            capture_output=True,
            check=True,
            timeout=task.limit_seconds,
            text=True,
        )
    except subprocess.TimeoutExpired:
        raise _too_slow(task) from None
    except subprocess.CalledProcessError as error:
        raise Failed(_last_line(str(error.stderr))) from None
    outcome = Outcome.from_json(result.stdout)
    cost = meter.end()
    cpu_seconds = outcome.figures.pop("cpu_seconds", 0.0)
    return outcome, Cost(cpu_seconds, 0, 0, cost.requests, cost.ranges, cost.bytes_asked)


def on_folder(task: Task, folder: Path) -> tuple[Outcome, Cost]:
    """Run a task on a folder of the local disk, after dropping its files from the page cache."""
    for name in task.names:
        descriptor = os.open(folder / name, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)
    meter = _Meter(None, None)
    return _use(task, folder, meter, None), meter.end()


def on_mount(
    task: Task,
    launch: Launch,
    mountpoint: Path,
    emulator: EmulatorProcess | None,
    at_end: Callable[[subprocess.Popen[bytes]], None] = lambda process: None,
    at_mark: Callable[[], None] = lambda: None,
) -> tuple[Outcome, Cost]:
    """Mount, run a task on the mount, and unmount.

    `at_mark` is called before the measurement restarts. `at_end` is called with the mount's process
    when the task has ended.
    """
    with mounted(launch, mountpoint) as process:
        meter = _Meter(process.pid, emulator)
        outcome = _use(task, mountpoint, meter, process, at_mark)
        cost = meter.end()
        at_end(process)
        return outcome, cost


def start_seconds(launch: Launch, mountpoint: Path) -> float:
    """Return the time from the start of a mount's process until the mount has answered."""
    began = time.perf_counter()
    with mounted(launch, mountpoint):
        return time.perf_counter() - began


def _use(
    task: Task,
    folder: Path,
    meter: _Meter,
    mount: subprocess.Popen[bytes] | None,
    at_mark: Callable[[], None] = lambda: None,
) -> Outcome:
    """Run the program of a task. The measurement restarts when the program prints "mark"."""
    with subprocess.Popen(
        _program(task, folder),
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        timed_out = threading.Event()

        def give_up() -> None:
            # A program that waits for the mount ends only after the mount is killed.
            timed_out.set()
            program.kill()
            if mount is not None:
                mount.kill()

        timer = threading.Timer(task.limit_seconds, give_up)
        timer.start()
        try:
            assert program.stdin is not None
            assert program.stdout is not None
            assert program.stderr is not None
            lines: list[str] = []
            for line in program.stdout:
                if line == "mark\n":
                    at_mark()
                    meter.begin()
                    program.stdin.write("\n")
                    program.stdin.flush()
                else:
                    lines.append(line)
            errors = program.stderr.read()
            program.wait(_END_SECONDS)
        except KeyboardInterrupt:
            give_up()
            raise
        finally:
            timer.cancel()
    if timed_out.is_set():
        raise _too_slow(task)
    if program.returncode:
        raise Failed(_last_line(errors))
    answer = "".join(lines)
    return fio.parse(answer) if fio.supports(task) else Outcome.from_json(answer)


def _program(task: Task, folder: Path) -> list[str]:
    """Return the command that runs a task on a folder."""
    if fio.supports(task):
        if not fio.is_installed():
            raise Failed("fio is not installed")
        return fio.command(task, folder)
    if task.kind is Kind.PROGRAM:
        if not PROGRAMS_PYTHON.exists():
            raise Failed("the libraries are not installed: run scripts/bootstrap bench")
        command = [str(PROGRAMS_PYTHON), "-m", "benchmarks.user_programs"]
    else:
        module = "change_programs" if task.kind in CHANGE_KINDS else "programs"
        command = [sys.executable, "-S", "-m", f"benchmarks.{module}"]
    return [*command, str(folder), task.to_json()]


def _too_slow(task: Task) -> Failed:
    return Failed(f"not finished within {task.limit_seconds:g} s")


@contextmanager
def mounted(launch: Launch, mountpoint: Path) -> Iterator[subprocess.Popen[bytes]]:
    mountpoint.mkdir(exist_ok=True)
    log = mountpoint.with_suffix(".log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            launch.command,
            cwd=ROOT,
            env={**os.environ, **launch.environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        _await_mount(launch, mountpoint, process, log)
        yield process
    finally:
        # umount(8) needs root; other users need fusermount3.
        for command in (["umount"], ["fusermount3", "-u"], ["umount", "-l"]):
            if _entry(mountpoint) is None:
                break
            subprocess.run(
                [*command, mountpoint], check=False, capture_output=True, timeout=_END_SECONDS
            )
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_END_SECONDS)


def _entry(mountpoint: Path) -> MountEntry | None:
    return top_mount(mount_table(), str(mountpoint))


def _await_mount(
    launch: Launch, mountpoint: Path, process: subprocess.Popen[bytes], log: Path
) -> None:
    end = time.monotonic() + _START_SECONDS
    while (entry := _entry(mountpoint)) is None:
        if process.poll() is not None or time.monotonic() > end:
            raise Failed(f"the mount did not start: {_last_line(log.read_text())}")
        time.sleep(0.005)
    subprocess.run(["stat", mountpoint], check=False, capture_output=True, timeout=_START_SECONDS)
    window = Path(f"/sys/class/bdi/{entry.major}:{entry.minor}/read_ahead_kb")
    if launch.raised_read_ahead:
        window.write_text(f"{launch.raised_read_ahead // 1024}\n")
        _raise_background(entry.minor)
    while launch.own_read_ahead and int(window.read_text()) != launch.own_read_ahead // 1024:
        if process.poll() is not None or time.monotonic() > end:
            raise Failed("the mount did not raise the kernel's readahead, which needs root")
        time.sleep(0.02)


def _raise_background(minor: int) -> None:
    """Give another tool's mount the same limits of background READs as gcsmux-mount."""
    connections = Path("/sys/fs/fuse/connections")
    if not (connections / str(minor)).is_dir():
        subprocess.run(["mount", "-t", "fusectl", "none", connections], check=True, timeout=5)
    (connections / str(minor) / "max_background").write_text(str(MAX_BACKGROUND))
    (connections / str(minor) / "congestion_threshold").write_text(str(CONGESTION_THRESHOLD))


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "no error message"
