"""The other writer: it overwrites, creates and deletes objects by calls to the emulator."""

from __future__ import annotations

import random
import threading
from collections import Counter
from typing import TYPE_CHECKING

import grpc

from gcsmux_fs.storage.pb import storage_pb2 as pb
from tests.support.emulator_process import BUCKET

from . import layout

if TYPE_CHECKING:
    from tests.support.emulator_process import EmulatorProcess

__all__ = ["Writer"]

_BUCKET_PATH = f"projects/_/buckets/{BUCKET}"
_PAUSE_SECONDS = 0.15
_CALL_SECONDS = 20


class Writer:
    """A thread that writes until `stop` is called. It writes each version of an object once."""

    def __init__(self, emulator: EmulatorProcess, seed: str) -> None:
        self.counts: Counter[str] = Counter()
        self._emulator = emulator
        self._random = random.Random(seed)
        self._versions: Counter[str] = Counter({name: 1 for name, _ in layout.all_names()})
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="writer")

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Wait for the end of the current write, and end the thread."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(self._random.uniform(0, 2 * _PAUSE_SECONDS)):
            try:
                self._write_or_delete()
            except grpc.RpcError as error:
                # Calls may fail, because the soak kills and stops the emulator. The writer need not
                # repeat a failed call, because the soak compares the mount with the objects that
                # exist at its end.
                self.counts[error.code().name] += 1

    def _write_or_delete(self) -> None:
        name = self._random.choice([*layout.CHANGING.names, *layout.CHURNING.names])
        if layout.fate_of(name) is layout.Fate.COMES_AND_GOES and self._random.random() < 0.5:
            self._delete(name)
            return
        self._versions[name] += 1
        self._emulator.write(name, layout.content(name, self._versions[name]))
        self.counts["written"] += 1

    def _delete(self, name: str) -> None:
        request = pb.DeleteObjectRequest(bucket=_BUCKET_PATH, object=name)
        with grpc.insecure_channel(self._emulator.endpoint) as channel:
            call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
                "/google.storage.v2.Storage/DeleteObject"
            )
            try:
                call(request.SerializeToString(), timeout=_CALL_SECONDS)
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.NOT_FOUND:
                    raise
                return
        self.counts["deleted"] += 1
