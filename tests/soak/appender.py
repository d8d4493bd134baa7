"""The appender: a thread that appends to objects, finalizes objects and starts new versions."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc

from . import layout

if TYPE_CHECKING:
    from tests.support.emulator_process import EmulatorProcess

    from .growth import Growth, State

__all__ = ["Appender"]

_PAUSE_SECONDS = 0.15
# Possible numbers of pieces that are appended without a pause. The appender draws one number at
# random.
_BURSTS = (1, 1, 1, 6)
_SMALL_PIECE_BYTES = 5000
_PIECES = 8
_BEGUN_ANEW = 0.03
_LAST_TRIES = 5
# Status codes after which the appender repeats a call. The emulator may already have executed the
# call.
_PASSING = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


@dataclass(slots=True)
class _Growing:
    """An object that is not finalized: it has `size` bytes and grows to `next_size`.

    `next_size` stays the same until the emulator confirms the append, because the emulator may have
    executed a call that failed for the appender.
    """

    version: int
    generation: int
    content: bytes
    size: int
    next_size: int
    next_state: State | None = None


class Appender:
    """A thread that appends until `stop` is called, and then finalizes all objects.

    While this thread starts or finalizes an object, the name of the object is absent for a moment.
    So that the emulator is not killed in this moment, this thread then holds the lock `unbroken`.
    Another thread may kill the emulator only while it holds this lock.
    """

    def __init__(self, emulator: EmulatorProcess, seed: str, growth: Growth) -> None:
        self.counts: Counter[str] = Counter()
        self.unbroken = threading.Lock()
        self._emulator = emulator
        self._random = random.Random(seed)
        self._growth = growth
        self._versions = Counter(dict.fromkeys(layout.GROWING.names, 1))
        # The objects that are not finalized. A value is None if the call that creates the object
        # has failed, because it is unknown whether the object exists.
        self._growing: dict[str, _Growing | None] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="appender")
        for name in layout.GROWING.names:
            # Before the soak starts, version 1 of each object exists and is finalized.
            growth.begin(name, 1, len(layout.content(name, 1)), 0.0).confirmed_at = 0.0

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread and finalize all objects."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(self._random.uniform(0, 2 * _PAUSE_SECONDS)):
            name = self._random.choice(layout.GROWING.names)
            for _ in range(self._random.choice(_BURSTS)):
                self._try(name, finish=False)
        for _ in range(_LAST_TRIES):
            for name in list(self._growing):
                self._try(name, finish=True)

    def _try(self, name: str, *, finish: bool) -> None:
        growing = self._growing.get(name)
        try:
            if growing is None or (not finish and self._random.random() < _BEGUN_ANEW):
                self._begin(name)
            else:
                self._append(name, growing, finish=finish)
        except grpc.RpcError as error:
            # Calls may fail, because the soak kills and stops the emulator.
            self.counts[error.code().name] += 1
            if error.code() not in _PASSING:
                self._growing.pop(name, None)

    def _begin(self, name: str) -> None:
        self._growing[name] = None
        self._versions[name] += 1
        version = self._versions[name]
        content = layout.content(name, version)
        size = self._next_size(0, content)
        # The object exists before its first piece is written, so readers may see the size 0.
        self._growth.begin(name, version, 0, time.monotonic())
        state = self._growth.begin(name, version, size, time.monotonic())
        with self.unbroken:
            generation = self._emulator.append(name, content[:size])
        state.confirmed_at = time.monotonic()
        following = self._next_size(size, content)
        self._growing[name] = _Growing(version, generation, content, size, following)
        self.counts["started"] += 1

    def _append(self, name: str, growing: _Growing, *, finish: bool) -> None:
        size = growing.next_size
        finish = finish or size == len(growing.content)
        state = growing.next_state
        if state is None:
            state = self._growth.begin(name, growing.version, size, time.monotonic())
            growing.next_state = state
        with self.unbroken if finish else contextlib.nullcontext():
            self._emulator.append(
                name,
                growing.content[growing.size : size],
                generation=growing.generation,
                offset=growing.size,
                finish=finish,
            )
        state.confirmed_at = time.monotonic()
        growing.size = size
        growing.next_size = self._next_size(size, growing.content)
        growing.next_state = None
        self.counts["appended"] += 1
        if finish:
            del self._growing[name]
            self.counts["finished"] += 1

    def _next_size(self, size: int, content: bytes) -> int:
        largest = self._random.choice([_SMALL_PIECE_BYTES, len(content) // _PIECES])
        return min(len(content), size + self._random.randint(1, largest))
