"""The emulator as a process of its own, and what tests make and ask of it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

import grpc

from gcsmux_fs.emulator.control import CONTROL_SERVICE
from gcsmux_fs.emulator.faults import InjectionPoint, Status
from gcsmux_fs.emulator.injection.rules import Faults, Rule
from gcsmux_fs.model.errors import StatusCode
from gcsmux_fs.storage.pb import storage_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["BUCKET", "COMMANDS", "END_SECONDS", "EmulatorProcess", "EmulatorStatistics"]

BUCKET = "my-bucket"
COMMANDS = Path(sys.executable).parent
END_SECONDS = 30
_CALL_SECONDS = 20
_CUT = "cut"
_BUCKET_PATH = f"projects/_/buckets/{BUCKET}"


@dataclass(frozen=True)
class EmulatorStatistics:
    """What `gcsmux_fs.emulator.control` counts."""

    requests: dict[str, int]
    ranges: int
    bytes_asked: int
    bytes_sent: int
    faults: dict[str, int]
    streams_open: int

    @property
    def cuts(self) -> int:
        """How often `cut_streams` has ended one."""
        return self.faults.get(_CUT, 0)


@dataclass
class EmulatorProcess:
    """`gcsmux-emulator` over a folder; it can be stopped, killed and started again.

    With `relay` there is a second endpoint, where faults of connections happen.
    """

    folder: Path
    options: Sequence[str] = ()
    port: int = 0
    relay: bool = False
    relay_port: int = 0
    _process: subprocess.Popen[str] | None = field(default=None, init=False)

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def relay_endpoint(self) -> str:
        return f"127.0.0.1:{self.relay_port}"

    @property
    def bucket(self) -> Path:
        return self.folder / BUCKET

    @property
    def _log_file(self) -> Path:
        # No bucket's name begins with a dot.
        return self.folder / ".emulator.log"

    @property
    def log(self) -> str:
        """What it has complained of."""
        return self._log_file.read_text()

    # -- the process

    def start(self) -> None:
        """Start it, on the same port as before if it ran before."""
        assert self._process is None
        with self._log_file.open("a") as log:
            self._process = subprocess.Popen(
                [
                    COMMANDS / "gcsmux-emulator",
                    self.folder,
                    f"--port={self.port}",
                    *([f"--relay-port={self.relay_port}"] if self.relay else []),
                    *self.options,
                ],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._process.stdout is not None
        ready = self._process.stdout.readline()
        assert ready, self.log
        self.port = int(ready.rpartition(":")[2])
        if self.relay:
            self.relay_port = int(self._process.stdout.readline().rpartition(":")[2])

    def kill(self) -> None:
        """End it without a word to anybody, as a crash would."""
        self._end(signal.SIGKILL)

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Let it neither answer nor hang up for a while."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            try:
                self._process.wait(END_SECONDS)
            finally:
                self._process.kill()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def __enter__(self) -> Self:
        self.bucket.mkdir(parents=True, exist_ok=True)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end(signal.SIGTERM)

    # -- objects

    def place(self, name: str, content: bytes) -> None:
        """Make a file an object, in place of what is there: a new generation in one instant."""
        incoming = self.folder / ".incoming"
        incoming.write_bytes(content)
        target = self.bucket / name
        target.parent.mkdir(parents=True, exist_ok=True)
        incoming.replace(target)

    def change(self, name: str, content: bytes) -> None:
        """Change an object's file in place: the old generation is gone even for open streams."""
        with (self.bucket / name).open("r+b") as file:
            file.write(content)
            file.flush()
            # Bytes alone change the time only once in a tick of the kernel's clock.
            os.utime(file.fileno())

    def write(
        self,
        name: str,
        content: bytes,
        *,
        content_type: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> int:
        """Write an object, of any name, through the service's own call; return its generation."""
        resource = pb.Object(
            name=name, bucket=_BUCKET_PATH, content_type=content_type, metadata=metadata or {}
        )
        request = pb.WriteObjectRequest(
            write_object_spec=pb.WriteObjectSpec(resource=resource),
            checksummed_data=pb.ChecksummedData(content=content),
            finish_write=True,
        )
        with grpc.insecure_channel(self.endpoint) as channel:
            call: grpc.StreamUnaryMultiCallable[bytes, bytes] = channel.stream_unary(
                "/google.storage.v2.Storage/WriteObject"
            )
            answer = call(iter([request.SerializeToString()]), timeout=_CALL_SECONDS)
        return pb.WriteObjectResponse.FromString(answer).resource.generation

    def change_metadata(self, name: str, metadata: Mapping[str, str]) -> None:
        """Give an object other custom metadata, which keeps its generation."""
        request = pb.UpdateObjectRequest(
            object=pb.Object(bucket=_BUCKET_PATH, name=name, metadata=metadata)
        )
        request.update_mask.paths.append("metadata")
        with grpc.insecure_channel(self.endpoint) as channel:
            call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
                "/google.storage.v2.Storage/UpdateObject"
            )
            call(request.SerializeToString(), timeout=_CALL_SECONDS)

    def delete(self, name: str) -> None:
        """Delete an object through the service's own call."""
        request = pb.DeleteObjectRequest(bucket=_BUCKET_PATH, object=name)
        with grpc.insecure_channel(self.endpoint) as channel:
            call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
                "/google.storage.v2.Storage/DeleteObject"
            )
            call(request.SerializeToString(), timeout=_CALL_SECONDS)

    def append(
        self,
        name: str,
        content: bytes,
        *,
        generation: int = 0,
        offset: int = 0,
        finish: bool = False,
    ) -> int:
        """Begin an object that grows, or with `generation` add to it; return its generation.

        With `finish` the object grows no more.
        """
        request = pb.BidiWriteObjectRequest(
            write_offset=offset,
            checksummed_data=pb.ChecksummedData(content=content),
            flush=not finish,
            state_lookup=True,
            finish_write=finish,
        )
        if generation:
            request.append_object_spec.bucket = _BUCKET_PATH
            request.append_object_spec.object = name
            request.append_object_spec.generation = generation
        else:
            request.write_object_spec.appendable = True
            request.write_object_spec.resource.name = name
            request.write_object_spec.resource.bucket = _BUCKET_PATH
        with grpc.insecure_channel(self.endpoint) as channel:
            call: grpc.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(
                "/google.storage.v2.Storage/BidiWriteObject"
            )
            answers = list(call(iter([request.SerializeToString()]), timeout=_CALL_SECONDS))
        return pb.BidiWriteObjectResponse.FromString(answers[0]).resource.generation

    # -- control

    def statistics(self, *, reset: bool = False) -> EmulatorStatistics:
        """Return the counters, and set them to zero if `reset`."""
        request = json.dumps({"reset": reset}).encode()
        return EmulatorStatistics(**json.loads(self._control("Stats", request)))

    def cut_streams(self, after_bytes: int, times: int = -1, code: str = "UNAVAILABLE") -> None:
        """End each stream that has sent so many bytes, so many times (-1: for ever)."""
        status = Status(StatusCode[code], "Cut on order")
        self.order(
            Rule(
                status,
                method="BidiReadObject",
                at=InjectionPoint.CONTENT,
                after_bytes=after_bytes,
                times=times,
                name=_CUT,
            )
        )

    def order(self, *rules: Rule, seed: int = 0) -> None:
        """Put faults in force, in place of all that were."""
        self._control("Faults", Faults(rules, seed).to_json())

    def mend(self) -> None:
        """Let nothing fail any more."""
        self.order()

    def _control(self, method: str, request: bytes) -> bytes:
        with grpc.insecure_channel(self.endpoint) as channel:
            call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
                f"/{CONTROL_SERVICE}/{method}"
            )
            try:
                # After a restart gRPC goes on refusing for a second what was refused before.
                return call(request, timeout=_CALL_SECONDS, wait_for_ready=True)
            except grpc.RpcError as error:
                assert self._process is not None
                ended = self._process.poll()
                raise AssertionError(f"{error}; ended: {ended}; {self.log[-2000:]}") from None
