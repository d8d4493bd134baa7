"""The contenders that receive changes (`--changes`), with several rates of other events.

| contender | description |
|---|---|
| mount, told | the emulator publishes the changes that the task looks for, and no others |
| mount, told, 1,000/s | the same, and 1,000 other objects change 1,000 times a second |
| mount, told, one core | a mount on one core; no object changes |
| mount, told, one core, 10,000/s | the same, and 1,000 objects change 10,000 times a second |

The kernel and the mount know the names of the other objects, so each change is applied, and makes
the kernel drop its names. The other events are encoded before the run.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchmarks import changes_plan
from benchmarks.launches import gcsmux_launch
from benchmarks.running import ROOT, Failed, on_mount
from benchmarks.tasks import Kind, percentiles
from tests.support.prepared_events import finalized, prepare_events, publish_events

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.running import Cost, Launch
    from benchmarks.site import Site
    from benchmarks.tasks import Outcome, Task
    from tests.support.emulator_process import EmulatorProcess

__all__ = ["CHANGE_CONTENDERS", "PinnedMount", "ToldMount"]

_CHANGE_SECONDS = 0.05
_HEALTHY_SECONDS = 4.0
_START_SECONDS = 20.0
_END_SECONDS = 20.0
_FIRST_GENERATION = 3_000_000_000_000_000
_MOUNT_CORE, _OTHER_CORES = "0", "1"
_numbers = itertools.count(1)


def _other_names() -> list[str]:
    return [f"{changes_plan.TREE}/0000/{number:04}" for number in range(1_000)]


@dataclass(frozen=True)
class ToldMount:
    """A mount that the emulator notifies of changes. It runs the tasks WATCH and LOOK_UP.

    `per_second` is the number of other events per second.
    """

    per_second: int = 0

    def missing(self, task: Task, latency_ms: int) -> str:
        """Return the reason why the contender cannot run the task, or an empty string."""
        return ""

    def run(self, site: Site, bucket: str, task: Task, latency_ms: int) -> tuple[Outcome, Cost]:
        """Mount, change objects, and run the task."""
        emulator = site.emulator(latency_ms)
        emulator.bucket_name = bucket
        run = next(_numbers)
        subscription = f"projects/bench/subscriptions/changes-{run}"
        if task.kind is Kind.WATCH:
            command, folder, tree = task.names
            task = replace(task, names=(command, f"{folder}-{run}", tree))
            _prepare(emulator, task)
        emulator.subscribe(subscription)
        launch = gcsmux_launch("--changes", subscription)
        seconds = task.count * _CHANGE_SECONDS if task.kind is Kind.WATCH else 0.0
        other = self._other_events(bucket, subscription, seconds)
        threads: list[threading.Thread] = []

        def at_mark() -> None:
            _wait_until_healthy(emulator, subscription)
            if task.kind is Kind.WATCH:
                threads.append(threading.Thread(target=_change, args=(emulator, task)))
            if other:
                arguments = (emulator.endpoint, other, self.per_second)
                threads.append(threading.Thread(target=publish_events, args=arguments))
            for thread in threads:
                thread.start()

        try:
            outcome, cost = on_mount(
                task,
                launch(emulator, bucket, site.folder / "mnt"),
                site.folder / "mnt",
                emulator,
                at_mark=at_mark,
            )
        finally:
            for thread in threads:
                thread.join()
        if task.kind is Kind.WATCH:
            outcome = _delays(outcome, emulator, subscription, task)
        # A bucket can have only 10 notification configurations.
        emulator.unsubscribe(subscription)
        return outcome, cost

    def _other_events(self, bucket: str, subscription: str, seconds: float) -> list[bytes]:
        names = _other_names()
        return prepare_events(
            subscription,
            (
                finalized(bucket, names[n % len(names)], _FIRST_GENERATION + n, overwrote=1)
                for n in range(round(self.per_second * seconds))
            ),
        )


def _prepare(emulator: EmulatorProcess, task: Task) -> None:
    """Write the watched files, which are empty until they change."""
    command, folder, _ = task.names
    emulator.place(f"{folder}/.keeper", b"")
    for number in range(task.count if command != "ls" else 0):
        emulator.place(f"{folder}/{number}", b"")


def _change(emulator: EmulatorProcess, task: Task) -> None:
    """Write one watched file after the other."""
    began = time.monotonic()
    for number in range(task.count):
        time.sleep(max(0.0, began + number * _CHANGE_SECONDS - time.monotonic()))
        emulator.write(f"{task.names[1]}/{number}", b"changed")


def _delays(outcome: Outcome, emulator: EmulatorProcess, subscription: str, task: Task) -> Outcome:
    """Return the times from when an event left the emulator until it showed."""
    sent: dict[str, float] = {}
    for delivery in emulator.deliveries(subscription):
        folder, _, number = delivery.attributes["objectId"].rpartition("/")
        if folder == task.names[1] and delivery.attributes["eventType"] == "OBJECT_FINALIZE":
            # The last delivery counts: the first one may be about the file of `_prepare`.
            sent[number] = delivery.sent
    try:
        delays = [seen - sent[number] for number, seen in outcome.figures.items()]
    except KeyError:
        raise Failed("the emulator has forgotten some deliveries") from None
    return replace(
        outcome,
        latencies=percentiles(delays),
        figures={"longest_seconds": max(delays)},
    )


def _wait_until_healthy(emulator: EmulatorProcess, subscription: str) -> None:
    end = time.monotonic() + _START_SECONDS
    while not emulator.subscription(subscription).subscribers:
        if time.monotonic() > end:
            raise Failed("the mount has not opened the subscription")
        time.sleep(0.05)
    time.sleep(_HEALTHY_SECONDS)


@dataclass(frozen=True)
class PinnedMount:
    """A mount on one core with `benchmarks.event_server`. It runs the task HITS.

    The other cores run the server of events, the emulator and the program.
    """

    per_second: int = 0

    def missing(self, task: Task, latency_ms: int) -> str:
        """Return the reason why the contender cannot run the task, or an empty string."""
        return ""

    def run(self, site: Site, bucket: str, task: Task, latency_ms: int) -> tuple[Outcome, Cost]:
        """Mount, send events, and run the task."""
        emulator = site.emulator(latency_ms)
        count = round(self.per_second * task.seconds)
        with _event_server(bucket, count, self.per_second) as server:
            assert server.stdout is not None
            port = server.stdout.readline().strip()
            launch = gcsmux_launch(
                *("--changes", "projects/bench/subscriptions/prepared"),
                *("--pubsub-endpoint", f"http://127.0.0.1:{port}"),
            )(emulator, bucket, site.folder / "mnt")

            def at_mark() -> None:
                time.sleep(_HEALTHY_SECONDS)
                _send(server, "begin")

            outcome, cost = on_mount(
                task,
                _pinned(launch),
                site.folder / "mnt",
                emulator,
                at_end=lambda process: _send(server, "end"),
                at_mark=at_mark,
            )
            counts = json.loads(server.stdout.readline())
        outcome.figures.update({f"events_{name}": value for name, value in counts.items()})
        return outcome, cost


def _pinned(launch: Launch) -> Launch:
    return launch._replace(command=["taskset", "-c", _MOUNT_CORE, *launch.command])


def _send(server: subprocess.Popen[str], line: str) -> None:
    assert server.stdin is not None
    server.stdin.write(f"{line}\n")
    server.stdin.flush()


@contextlib.contextmanager
def _event_server(bucket: str, count: int, per_second: int) -> Iterator[subprocess.Popen[str]]:
    command = ["taskset", "-c", _OTHER_CORES, sys.executable, "-m", "benchmarks.event_server"]
    command += [bucket, str(count), str(per_second), json.dumps(_other_names())]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(_END_SECONDS)
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()


CHANGE_CONTENDERS: dict[str, ToldMount | PinnedMount] = {
    "mount, told": ToldMount(),
    "mount, told, 1,000/s": ToldMount(1_000),
    "mount, told, one core": PinnedMount(),
    "mount, told, one core, 10,000/s": PinnedMount(10_000),
}
