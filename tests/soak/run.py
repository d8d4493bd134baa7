"""Run a soak: start everything, inject the troubles, watch the mount, and judge the result."""

from __future__ import annotations

import signal
import subprocess
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from gcsmux_fs.process.memory_watch import ALLOWANCE_BYTES
from tests.support.disks.faulty_disk import FaultyDisk
from tests.support.emulator_process import COMMANDS, EmulatorProcess
from tests.support.harness import MountProcess
from tests.support.sizes import MIB

from . import layout
from .appender import Appender
from .catalogue import Deed
from .ending import leaks, look_at_all, rest
from .growth import TTL_SECONDS, Growth
from .judge import Timeline
from .ledger import Ledger
from .programs import Programs
from .samples import Sampler, growth_bytes, state_of
from .schedule import phases
from .summary import Summary
from .writer import Writer

if TYPE_CHECKING:
    from .samples import Holding, Sample
    from .schedule import Phase

__all__ = ["Hang", "Options", "soak"]

_TICK_SECONDS = 0.1
_SAMPLE_SECONDS = 3.0
# Number of seconds that an operation may take in addition to the deadlines of its READs, because
# the machine may be busy.
_MARGIN_SECONDS = 20.0
# Maximum duration of an operation, as a multiple of the read timeout. The operation `find` may take
# longer than other operations, because `find` makes many calls.
_CALLS = {"find": 8}
_CALLS_OTHERWISE = 2
# Minimum length in seconds of a soak that checks how much the memory has grown. Shorter soaks have
# too few samples for this check.
_MIN_SLOPE_SECONDS = 600.0
_MAX_GROWTH_BYTES = 16 * MIB
_MAX_IN_STATE_D = 3
# Maximum number of samples in the summary.
_SHOWN_SAMPLES = 200
# The disk of the cache holds about a third of all objects, so it becomes full.
_DISK_BYTES = 40 * MIB
_KINDS = [
    *("sequential", "sequential", "random", "copying", "mapped"),
    *("small files", "reopened", "listing", "finding"),
    *("growing", "growing mapped"),
]
_TOLD_KINDS = [*_KINDS, "ordered", "ordered"]
_SUBSCRIPTION = "projects/soak/subscriptions/changes"
_RELOAD_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Options:
    """The length and the seed of a soak, and options of the mount.

    If `told` is true, the mount receives changes (`--changes`).
    """

    seconds: float
    seed: int
    memory_bytes: int = 32 * MIB
    read_timeout: float = 10.0
    told: bool = False


class Hang(Exception):
    """A process did not respond within its time limit; the message names the process."""


def soak(options: Options, folder: Path) -> Summary:
    """Run a soak, whose files are in the empty directory `folder`; return its summary."""
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
        # The emulator makes the subscription again each time it starts.
        served = ["--changes", _SUBSCRIPTION] if options.told else []
        self._emulator = EmulatorProcess(folder / "buckets", served, relay=True)
        self._disk = FaultyDisk(folder / "disk", capacity_bytes=_DISK_BYTES)
        growth = Growth()
        self._appender = Appender(self._emulator, f"{options.seed} appender", growth)
        self._timeline = Timeline(options.read_timeout, growth)
        self._ledger = Ledger(self.summary, self._timeline)
        self._troubles: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()
        self._deeds: Counter[str] = Counter()
        self._samples: list[Sample] = []
        self._in_state_d = 0
        self._frozen = False

    # -- start and end

    def run(self) -> None:
        with self._emulator, self._disk:
            for name, content in layout.first_objects():
                self._emulator.place(name, content)
            try:
                self._run_mounted()
            except (AssertionError, TimeoutError) as error:
                self._fail(f"{error}; the end of the log: {self._mounted.log[-2000:]}")
            statistics = self._emulator.statistics()
            self._faults.update(statistics.faults)
            if statistics.streams_open:
                self._fail("the emulator still serves streams of a mount that has ended")
            if self._emulator.log:
                self._fail(f"the emulator has logged a warning: {self._emulator.log[-2000:]}")
        self._sum_up()

    def _run_mounted(self) -> None:
        self._mounted = MountProcess(
            self._emulator,
            self._folder,
            [
                *("--endpoint", self._emulator.relay_endpoint, "--plaintext", "--anonymous"),
                *("--memory", f"{self._options.memory_bytes // MIB}MiB"),
                *("--metadata-ttl", f"{TTL_SECONDS:g}s", "--negative-ttl", "1s"),
                *("--read-timeout", f"{self._options.read_timeout}s"),
                *("--cache-dir", str(self._disk.path / "cache"), "--cache-size", "64MiB"),
                *("--cache-min-free", "2MiB"),
                *(("--changes", _SUBSCRIPTION) if self._options.told else ()),
            ],
            # Every warning is accepted, because the mount logs a warning for each errno that a
            # program sees.
            expected_warnings=[" WARNING "],
            log_level="info",
        )
        with self._mounted, ExitStack() as stack:
            self._sampler = Sampler(self._mounted)
            look_at_all(self._emulator, self._mounted)
            before = rest(self._mounted)
            kinds = _TOLD_KINDS if self._options.told else _KINDS
            self._programs = Programs(kinds, self._options.seed, self._mounted.path, self._folder)
            writer = Writer(self._emulator, f"{self._options.seed} writer")
            stack.callback(self._programs.kill)
            self._programs.start()
            writer.start()
            self._appender.start()
            try:
                self._soak()
            except Hang as hang:
                self.summary.hangs += 1
                self._fail(f"{hang}\n{self._evidence()}")
                self._mounted.abort()
                raise AssertionError("the mount was aborted") from None
            finally:
                writer.stop()
                self._appender.stop()
                self.summary.writer = dict(writer.counts)
                self.summary.appender = dict(self._appender.counts)
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
        self.summary.phases += 1
        self._troubles.update(trouble.name for trouble in phase.troubles)
        self._timeline.begin_phase(phase, time.monotonic())
        self._emulator.inject(*phase.rules, seed=phase.seed)
        self._disk.meet(*phase.disk_faults)
        self._disk.limit(phase.disk_bytes or _DISK_BYTES)
        for trouble in phase.troubles:
            if trouble.deed is not None:
                self._deeds[trouble.deed.value] += 1
                self._do(trouble.deed, trouble.seconds, phase)

    def _mend(self) -> None:
        self._emulator.clear_faults()
        self._disk.heal()
        self._disk.limit(_DISK_BYTES)
        self._timeline.end_phase(time.monotonic())

    def _do(self, deed: Deed, seconds: float, phase: Phase) -> None:
        done_after = time.monotonic() + seconds
        match deed:
            case Deed.KILL_EMULATOR:
                self._faults.update(self._emulator.statistics().faults)
                with self._appender.unbroken:
                    self._emulator.kill()
                self._until(done_after)
                self._emulator.start()
                self._emulator.inject(*phase.rules, seed=phase.seed)
                if self._options.told:
                    self._reload()
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

    def _reload(self) -> None:
        """Make the mount ask for all names: unlike Pub/Sub, a killed emulator forgets messages."""
        subprocess.run(
            [COMMANDS / "gcsmux", "reload", self._mounted.path],
            check=True,
            capture_output=True,
            timeout=_RELOAD_SECONDS,
        )

    # -- watching

    def _until(self, instant: float) -> None:
        """Read reports, take samples and look for hanging operations until the time `instant`."""
        while True:
            self._ledger.read(self._programs)
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
            doing = program.operation_in_flight()
            if doing is None or program.ended:
                continue
            calls = _CALLS.get(doing.what.partition(" ")[0], _CALLS_OTHERWISE)
            if now - doing.started_at > calls * self._options.read_timeout + _MARGIN_SECONDS:
                raise Hang(f"{program.kind}: {doing.what} for {now - doing.started_at:.0f} s")

    def _sample(self) -> None:
        if self._mounted.process.poll() is not None:
            raise Hang(f"the mount has ended: exit code {self._mounted.process.returncode}")
        try:
            sample = self._sampler.look(time.monotonic() - self._start)
        except TimeoutError as error:
            raise Hang(str(error)) from None
        self._samples.append(sample)
        if sample.holding.resident_bytes > self.summary.allowed_resident_bytes:
            self._fail(
                f"the mount holds {sample.holding.resident_bytes / MIB:.0f} MiB of resident memory,"
                " more than the limit"
            )
        in_state_d = state_of(self._mounted.process.pid) == "D"
        self._in_state_d = self._in_state_d + 1 if in_state_d else 0
        if self._in_state_d > _MAX_IN_STATE_D:
            raise Hang("the mount's process stays in state D")

    def _evidence(self) -> str:
        """Kill the mount; return its stacks, its log and the states of all programs."""
        lines = []
        for program in self._programs.all:
            where = Path(f"/proc/{program.process.pid}/wchan")
            doing = program.operation_in_flight()
            if doing is not None and where.exists():
                since = time.monotonic() - doing.started_at
                state = state_of(program.process.pid)
                lines.append(
                    f"{program.kind}, state {state}, {doing.what} for {since:.1f} s,"
                    f" in {where.read_text()}"
                )
        lines.append(str(self._samples[-1].statistics if self._samples else ""))
        # On SIGABRT the mount prints the stack of each thread (PYTHONFAULTHANDLER).
        self._mounted.process.send_signal(signal.SIGABRT)
        time.sleep(1)
        self._mounted.process.kill()
        assert self._mounted.process.stderr is not None
        lines += [self._mounted.process.stderr.read(), self._mounted.log[-3000:]]
        return "\n".join(lines)

    # -- the end

    def _end(self, before: Holding) -> None:
        look_at_all(self._emulator, self._mounted)
        self.summary.recovered_seconds = time.monotonic() - self._ended
        after = rest(self._mounted)
        self.summary.before = before.shown()
        self.summary.after = after.shown()
        self.summary.failures += leaks(before, after, str(self._disk.path))
        self.summary.disk_faults = self._disk.met()

    def _sum_up(self) -> None:
        summary = self.summary
        self._ledger.sum_up()
        summary.troubles = dict(self._troubles)
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
            self._fail("the resident memory has grown too much in the last half")
        every = -(-len(self._samples) // _SHOWN_SAMPLES) or 1
        summary.samples = [
            {"at": round(sample.at, 1), **sample.holding.shown()}
            for sample in self._samples[::every]
        ]

    def _fail(self, text: str) -> None:
        self.summary.failures.append(text)
