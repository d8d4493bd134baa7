"""The conductor of a soak: begins everything, brings the troubles, watches, and judges."""

from __future__ import annotations

import os
import queue
import signal
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from gcsmux_fs.memorywatch import ALLOWANCE_BYTES

from ..mount import programs as mount_programs
from ..mount.harness import MountProcess, wait_until
from ..mount.server import EmulatorProcess
from . import layout
from .catalogue import Deed
from .judge import SIGBUS, Failure, Timeline
from .programs import Programs
from .samples import Sampler, growth_bytes, holding, state_of
from .schedule import phases
from .summary import Summary
from .writer import Writer

if TYPE_CHECKING:
    from .programs import Program, Report
    from .samples import Holding, Sample
    from .schedule import Phase

__all__ = ["Hang", "Options", "soak"]

_MIB = 1024 * 1024
_TICK_SECONDS = 0.1
_SAMPLE_SECONDS = 3.0
# Beyond the deadline of each READ that one call may wait for: a busy machine.
_MARGIN_SECONDS = 20.0
# A walk by find(1) is many calls.
_CALLS = {"find": 8}
_CALLS_OTHERWISE = 2
# Connections that were left half open are found out by gRPC's keepalive.
_RECOVERY_SECONDS = 90.0
# The mount's streams have 8 connections and its lookups one; they are made when they are needed.
_MAX_CONNECTIONS = 9
# gRPC's own pool of threads shrinks late.
_MORE_THREADS = 6
# The slope says something once there are enough samples, and the caches are full.
_MIN_SLOPE_SECONDS = 600.0
_MAX_GROWTH_BYTES = 16 * _MIB
_MAX_IN_STATE_D = 3
_KINDS = [
    *("sequential", "sequential", "random", "random", "mapped"),
    *("small files", "reopened", "listing", "finding"),
]


@dataclass(frozen=True, slots=True)
class Options:
    """How long, how much, and what comes when."""

    seconds: float
    seed: int
    memory_bytes: int = 32 * _MIB
    read_timeout: float = 10.0


class Hang(Exception):
    """Something does not answer within its time; the message tells what."""


def soak(options: Options, folder: Path) -> Summary:
    """Run a soak in an empty folder, and return what it came to."""
    conductor = _Conductor(options, folder)
    conductor.run()
    return conductor.summary


class _Conductor:
    def __init__(self, options: Options, folder: Path) -> None:
        self.summary = Summary(
            seed=options.seed,
            seconds=options.seconds,
            memory_bytes=options.memory_bytes,
            read_timeout=options.read_timeout,
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            allowed_resident_bytes=options.memory_bytes + ALLOWANCE_BYTES,
        )
        self._options = options
        self._folder = folder
        self._emulator = EmulatorProcess(folder / "buckets", relay=True)
        self._timeline = Timeline(options.read_timeout)
        self._operations: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()
        self._deeds: Counter[str] = Counter()
        self._errors: dict[str, Counter[str]] = {}
        self._contents: dict[tuple[str, int], tuple[int, int, int]] = {}
        self._samples: list[Sample] = []
        self._in_state_d = 0
        self._frozen = False

    # -- from beginning to end

    def run(self) -> None:
        with self._emulator:
            for name, content in layout.first_objects():
                self._emulator.place(name, content)
            try:
                self._run_mounted()
            except (AssertionError, TimeoutError) as error:
                self._fail(str(error))
            statistics = self._emulator.statistics()
            self._faults.update(statistics.faults)
            if statistics.streams_open:
                self._fail("the emulator still serves streams of a mount that has ended")
            if self._emulator.log:
                self._fail(f"the emulator has complained: {self._emulator.log[-2000:]}")
        self._sum_up()

    def _run_mounted(self) -> None:
        self._mounted = MountProcess(
            self._emulator,
            self._folder,
            [
                *("--endpoint", self._emulator.relay_endpoint, "--plaintext", "--anonymous"),
                *("--memory", f"{self._options.memory_bytes // _MIB}MiB"),
                *("--metadata-ttl", "1s", "--negative-ttl", "1s"),
                *("--read-timeout", f"{self._options.read_timeout}s"),
            ],
            # Each error that a program sees has its line in the log.
            expected_warnings=[" WARNING "],
            log_level="info",
        )
        with self._mounted, ExitStack() as stack:
            self._sampler = Sampler(self._mounted)
            self._look_at_all()
            before = self._rest()
            self._programs = Programs(_KINDS, self._options.seed, self._mounted.path, self._folder)
            writer = Writer(self._emulator, f"{self._options.seed} writer")
            stack.callback(self._programs.kill)
            self._programs.start()
            writer.start()
            try:
                self._soak()
            except Hang as hang:
                self.summary.hangs += 1
                self._fail(f"{hang}\n{self._evidence()}")
                self._mounted.abort()
                raise AssertionError("the mount was aborted") from None
            finally:
                writer.stop()
                self.summary.writer = dict(writer.counts)
            self._end(before)

    def _soak(self) -> None:
        self._start = self._next_sample = time.monotonic()
        for phase in phases(self._options.seed, self._options.seconds):
            self._until(self._start + phase.begin)
            self._trouble(phase)
            self._until(self._start + phase.end)
            self._mend()
        self._until(self._start + self._options.seconds)
        self._programs.stop()
        self._ended = time.monotonic()
        while not all(program.ended for program in self._programs.all):
            self._until(time.monotonic() + _TICK_SECONDS)

    # -- troubles

    def _trouble(self, phase: Phase) -> None:
        self.summary.phases.append(str(phase))
        self._timeline.ordered(phase, time.monotonic())
        self._emulator.order(*phase.rules, seed=phase.seed)
        for trouble in phase.troubles:
            if trouble.deed is not None:
                self._deeds[trouble.deed.value] += 1
                self._do(trouble.deed, trouble.seconds, phase)

    def _mend(self) -> None:
        self._emulator.mend()
        self._timeline.mended(time.monotonic())

    def _do(self, deed: Deed, seconds: float, phase: Phase) -> None:
        done_after = time.monotonic() + seconds
        match deed:
            case Deed.KILL_EMULATOR:
                self._faults.update(self._emulator.statistics().faults)
                self._emulator.kill()
                self._until(done_after)
                self._emulator.start()
                self._emulator.order(*phase.rules, seed=phase.seed)
            case Deed.STOP_EMULATOR:
                with self._emulator.stopped():
                    self._until(done_after)
            case Deed.STOP_MOUNT:
                self._frozen = True
                self._mounted.process.send_signal(signal.SIGSTOP)
                self._until(done_after)
                self._mounted.process.send_signal(signal.SIGCONT)
                self._frozen = False
            case Deed.STOP_READERS:
                self._programs.signal(signal.SIGSTOP)
                self._until(done_after)
                self._programs.signal(signal.SIGCONT)
            case Deed.KILL_READERS:
                self._programs.signal(signal.SIGKILL)

    # -- watching

    def _until(self, instant: float) -> None:
        """Watch until then."""
        while True:
            self._read_reports()
            self._check_slots()
            now = time.monotonic()
            if now >= self._next_sample and not self._frozen:
                self._next_sample = now + _SAMPLE_SECONDS
                self._sample()
            if now >= instant:
                return
            time.sleep(min(_TICK_SECONDS, instant - now))

    def _check_slots(self) -> None:
        now = time.monotonic()
        for program in self._programs.all:
            doing = program.under_way()
            if doing is None or program.ended:
                continue
            calls = _CALLS.get(doing.what.partition(" ")[0], _CALLS_OTHERWISE)
            if now - doing.begun > calls * self._options.read_timeout + _MARGIN_SECONDS:
                raise Hang(f"{program.kind}: {doing.what} for {now - doing.begun:.0f} s")

    def _sample(self) -> None:
        if self._mounted.process.poll() is not None:
            raise Hang(f"the mount has ended: exit code {self._mounted.process.returncode}")
        try:
            sample = self._sampler.look(time.monotonic() - self._start)
        except TimeoutError as error:
            raise Hang(str(error)) from None
        self._samples.append(sample)
        if sample.holding.resident_bytes > self.summary.allowed_resident_bytes:
            self._fail(f"{sample.holding.resident_bytes / _MIB:.0f} MiB resident")
        in_state_d = state_of(self._mounted.process.pid) == "D"
        self._in_state_d = self._in_state_d + 1 if in_state_d else 0
        if self._in_state_d > _MAX_IN_STATE_D:
            raise Hang("the mount's process stays in state D")

    def _evidence(self) -> str:
        """Return what may tell why something hangs."""
        lines = []
        for program in self._programs.all:
            where = Path(f"/proc/{program.process.pid}/wchan")
            doing = program.under_way()
            if doing is not None and where.exists():
                since = time.monotonic() - doing.begun
                state = state_of(program.process.pid)
                lines.append(
                    f"{program.kind}, state {state}, {doing.what} for {since:.1f} s,"
                    f" in {where.read_text()}"
                )
        lines.append(str(self._samples[-1].statistics if self._samples else ""))
        # The interpreter writes where each of its threads is (PYTHONFAULTHANDLER).
        self._mounted.process.send_signal(signal.SIGABRT)
        time.sleep(1)
        self._mounted.process.kill()
        assert self._mounted.process.stderr is not None
        lines += [self._mounted.process.stderr.read(), self._mounted.log[-3000:]]
        return "\n".join(lines)

    # -- what programs say

    def _read_reports(self) -> None:
        while True:
            try:
                report = self._programs.reports.get_nowait()
            except queue.Empty:
                return
            self._take(report)

    def _take(self, report: Report) -> None:
        match report.said:
            case None:
                self._program_ended(report.program)
            case {"wrong": str(text)}:
                self.summary.wrong += 1
                self._fail(f"WRONG: {text}")
            case {
                "failed": str(operation),
                "name": str(name),
                "errno": str(number),
                "begun": float(begun),
                "ended": float(ended),
            }:
                self._judge(Failure(operation, name, number, begun, ended))
            case {
                "generation": int(generation),
                "name": str(name),
                "version": int(version),
                "shift": int(shift),
                "size": int(size),
            }:
                self._compare(name, generation, (version, shift, size))
            case {"counts": dict(counts), "longest": dict(longest)}:
                self._operations.update(counts)
                for operation, seconds in longest.items():
                    before = self.summary.longest_seconds.get(operation, 0.0)
                    self.summary.longest_seconds[operation] = max(before, seconds)
            case other:
                self._fail(f"not understood: {other}")

    def _judge(self, failure: Failure) -> None:
        excuse = self._timeline.excuse(failure)
        self._errors.setdefault(failure.errno, Counter())[excuse or "not excused"] += 1
        if excuse is None:
            self._fail(self._timeline.describe(failure))

    def _compare(self, name: str, generation: int, content: tuple[int, int, int]) -> None:
        """A generation has one content, whoever reads it."""
        known = self._contents.setdefault((name, generation), content)
        if known != content:
            self.summary.wrong += 1
            self._fail(f"WRONG: generation {generation} of {name} is {known} and {content}")

    def _program_ended(self, program: Program) -> None:
        code = program.process.wait()
        if code == -signal.SIGBUS:
            doing = program.under_way()
            assert doing is not None
            operation, _, name = doing.what.partition(" ")
            now = time.monotonic()
            self._judge(Failure(operation, name, SIGBUS, doing.begun, now))
        elif code not in (0, -signal.SIGKILL):
            self._fail(f"the program {program.kind} ended with {code}")
        if self._programs.stopping:
            program.ended = True
        else:
            self.summary.programs_restarted += 1
            program.start(self._programs.reports)

    # -- the end

    def _end(self, before: Holding) -> None:
        self._look_at_all()
        self.summary.recovered_seconds = time.monotonic() - self._ended
        after = self._rest()
        self.summary.before = _shown(before)
        self.summary.after = _shown(after)
        if after.other_files > before.other_files:
            self._fail(f"{after.other_files - before.other_files} files are left open")
        if after.sockets > before.sockets + _MAX_CONNECTIONS:
            self._fail(f"{after.sockets} sockets are open, {before.sockets} before")
        if after.threads > before.threads + _MORE_THREADS:
            self._fail(f"{after.threads} threads, {before.threads} before")

    def _look_at_all(self) -> None:
        """Compare all objects with what the emulator has, once names are not believed any more."""
        expected = _digests(mount_programs.tree(os.fspath(self._emulator.bucket)))
        differing = ""

        def is_the_same() -> bool:
            nonlocal differing
            with self._mounted.program() as program:
                try:
                    found = _digests(program.call(mount_programs.tree, str(self._mounted.path)))
                except OSError as error:
                    differing = str(error)
                    return False
            names = {name for name in {*expected, *found} if expected.get(name) != found.get(name)}
            differing = str(sorted(names)[:10])
            return not names

        try:
            wait_until(is_the_same, "all as it is in the bucket", _RECOVERY_SECONDS)
        except AssertionError as error:
            raise AssertionError(f"{error}: {differing}") from None

    def _rest(self) -> Holding:
        """Wait until nothing is under way, and return what is held then."""
        self._mounted.check_at_rest()
        forget = Path("/proc/sys/vm/drop_caches")
        if os.access(forget, os.W_OK):
            # The kernel forgets names and inodes, and tells so.
            def only_the_root() -> bool:
                forget.write_text("2")
                return self._mounted.statistics()["inodes"] == 1

            wait_until(only_the_root, "only the root's inode is known")
        return holding(self._mounted.process.pid)

    def _sum_up(self) -> None:
        summary = self.summary
        summary.bytes_read = self._operations.pop("bytes", 0)
        summary.bytes_compared = self._operations.pop("bytes compared", 0)
        summary.operations = dict(self._operations)
        summary.generations_seen = len(self._contents)
        summary.errors = {name: dict(excuses) for name, excuses in self._errors.items()}
        summary.faults = dict(self._faults)
        summary.deeds = dict(self._deeds)
        summary.statistics = self._mounted.last_statistics()
        summary.max_resident_bytes = max(
            (sample.holding.resident_bytes for sample in self._samples), default=0
        )
        summary.growth_in_last_half_bytes = growth_bytes(self._samples)
        if (
            summary.seconds >= _MIN_SLOPE_SECONDS
            and summary.growth_in_last_half_bytes > _MAX_GROWTH_BYTES
        ):
            self._fail("the resident memory grows")
        summary.samples = [
            {"at": round(sample.at, 1), **_shown(sample.holding)} for sample in self._samples
        ]

    def _fail(self, text: str) -> None:
        self.summary.failures.append(text)


def _shown(of: Holding) -> dict[str, int]:
    return {
        "resident_bytes": of.resident_bytes,
        "threads": of.threads,
        "sockets": of.sockets,
        "other_files": of.other_files,
    }


def _digests(tree: dict[bytes, mount_programs.Entry]) -> dict[bytes, tuple[str, int]]:
    return {name: (entry.digest, entry.size) for name, entry in tree.items()}
