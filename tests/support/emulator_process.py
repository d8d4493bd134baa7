"""Run the emulator in a separate process, and give it objects and faults for a test."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
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
from tests.support.subscription_control import SubscriptionControl

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from google.protobuf.message import Message

__all__ = [
    "BUCKET",
    "COMMANDS",
    "END_SECONDS",
    "EmulatorProcess",
    "EmulatorStatistics",
]

BUCKET = "my-bucket"
COMMANDS = Path(sys.executable).parent
END_SECONDS = 30
_CALL_SECONDS = 20
_CUT = "cut"
# The deliveries of a storm of events are more than the 4 MiB that gRPC allows.
_UNLIMITED = (("grpc.max_receive_message_length", -1),)
_SERVICE = "/google.storage.v2.Storage"


@dataclass(frozen=True)
class EmulatorStatistics:
    """The counters that the emulator returns (see `gcsmux_fs.emulator.control`)."""

    requests: dict[str, int]
    ranges: int
    bytes_asked: int
    bytes_sent: int
    faults: dict[str, int]
    tokens: dict[str, int]
    streams_open: int

    @property
    def cuts(self) -> int:
        """Number of streams that the rule of `cut_streams` has ended."""
        return self.faults.get(_CUT, 0)


@dataclass
class EmulatorProcess(SubscriptionControl):
    """A process of `gcsmux-emulator` that serves `folder`. A test can stop, kill and restart it.

    If `relay` is true, the process also opens a second endpoint, a TCP proxy. Faults of connections
    happen only at the second endpoint. If `json_api` is true, the process also serves the JSON API.
    `bucket_name` is the bucket that the methods below use.
    """

    folder: Path
    options: Sequence[str] = ()
    port: int = 0
    relay: bool = False
    relay_port: int = 0
    json_api: bool = False
    json_port: int = 0
    bucket_name: str = BUCKET
    _process: subprocess.Popen[str] | None = field(default=None, init=False)
    _subscriptions: dict[str, str] = field(default_factory=dict, init=False)

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def relay_endpoint(self) -> str:
        return f"127.0.0.1:{self.relay_port}"

    @property
    def json_endpoint(self) -> str:
        """The URL of the JSON API, for STORAGE_EMULATOR_HOST."""
        return f"http://127.0.0.1:{self.json_port}"

    @property
    def bucket(self) -> Path:
        return self.folder / self.bucket_name

    @property
    def _bucket_path(self) -> str:
        return f"projects/_/buckets/{self.bucket_name}"

    @property
    def _log_file(self) -> Path:
        # The name begins with a dot, so that the emulator does not serve the log as a bucket.
        return self.folder / ".emulator.log"

    @property
    def log(self) -> str:
        """All lines that the emulator has logged. The emulator logs only warnings and errors."""
        return self._log_file.read_text()

    # -- the process

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process. If the process has run before, it listens on the same ports again."""
        assert self._process is None
        with self._log_file.open("a") as log:
            self._process = subprocess.Popen(
                [
                    COMMANDS / "gcsmux-emulator",
                    self.folder,
                    f"--port={self.port}",
                    *([f"--relay-port={self.relay_port}"] if self.relay else []),
                    *([f"--json-port={self.json_port}"] if self.json_api else []),
                    *self.subscription_options,
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
        if self.json_api:
            self.json_port = int(self._process.stdout.readline().rpartition(":")[2])

    def kill(self) -> None:
        """Kill the process with SIGKILL. As in a crash, all streams end without a status."""
        self._end(signal.SIGKILL)

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Stop the process with SIGSTOP during the block. No call gets an answer in this time."""
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

    def use_new_bucket(self, name: str) -> None:
        """Make an empty bucket, which all methods use from now on.

        If the process is not running, start it.
        """
        self.bucket_name = name
        self.bucket.mkdir(parents=True)
        if not self.running:
            self._end(signal.SIGKILL)
            self.start()

    def remove_bucket(self) -> None:
        """Remove the bucket's files and all fault rules, and set the counters to zero."""
        self.forget_subscriptions(self.bucket_name, running=self.running)
        if self.running:
            self.clear_faults()
            self.statistics(reset=True)
        shutil.rmtree(self.bucket)

    # -- objects

    def place(self, name: str, content: bytes) -> None:
        """Write a new file and rename it over the old file, so that the object changes atomically.

        Streams that are already open still read the old generation.
        """
        incoming = self.folder / ".incoming"
        incoming.write_bytes(content)
        target = self.bucket / name
        target.parent.mkdir(parents=True, exist_ok=True)
        incoming.replace(target)

    def change(self, name: str, content: bytes) -> None:
        """Change an object's file in place. Open streams can no longer read the old bytes."""
        with (self.bucket / name).open("r+b") as file:
            file.write(content)
            file.flush()
            # Set a new modification time. Without this call, two writes within one tick of the
            # kernel's clock have the same modification time.
            os.utime(file.fileno())

    def write(
        self,
        name: str,
        content: bytes,
        *,
        content_type: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> int:
        """Write an object with WriteObject, which allows any name; return the generation."""
        resource = pb.Object(
            name=name, bucket=self._bucket_path, content_type=content_type, metadata=metadata or {}
        )
        request = pb.WriteObjectRequest(
            write_object_spec=pb.WriteObjectSpec(resource=resource),
            checksummed_data=pb.ChecksummedData(content=content),
            finish_write=True,
        )
        with grpc.insecure_channel(self.endpoint) as channel:
            call: grpc.StreamUnaryMultiCallable[bytes, bytes] = channel.stream_unary(
                f"{_SERVICE}/WriteObject"
            )
            answer = call(iter([request.SerializeToString()]), timeout=_CALL_SECONDS)
        return pb.WriteObjectResponse.FromString(answer).resource.generation

    def change_metadata(self, name: str, metadata: Mapping[str, str]) -> None:
        """Replace an object's custom metadata. The generation of the object stays the same."""
        request = pb.UpdateObjectRequest(
            object=pb.Object(bucket=self._bucket_path, name=name, metadata=metadata)
        )
        request.update_mask.paths.append("metadata")
        self._call("UpdateObject", request)

    def delete(self, name: str) -> None:
        """Delete an object through DeleteObject."""
        self._call("DeleteObject", pb.DeleteObjectRequest(bucket=self._bucket_path, object=name))

    def _call(self, method: str, request: Message) -> None:
        with grpc.insecure_channel(self.endpoint) as channel:
            call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
                f"{_SERVICE}/{method}"
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
        """Create an appendable object or append to an object; return the object's generation.

        If `generation` is 0, create the object, otherwise append to this generation. If `finish` is
        true, finalize the object, so that nothing can be appended afterwards.
        """
        request = pb.BidiWriteObjectRequest(
            write_offset=offset,
            checksummed_data=pb.ChecksummedData(content=content),
            flush=not finish,
            state_lookup=True,
            finish_write=finish,
        )
        if generation:
            request.append_object_spec.bucket = self._bucket_path
            request.append_object_spec.object = name
            request.append_object_spec.generation = generation
        else:
            request.write_object_spec.appendable = True
            request.write_object_spec.resource.name = name
            request.write_object_spec.resource.bucket = self._bucket_path
        with grpc.insecure_channel(self.endpoint) as channel:
            call: grpc.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(
                f"{_SERVICE}/BidiWriteObject"
            )
            answers = list(call(iter([request.SerializeToString()]), timeout=_CALL_SECONDS))
        return pb.BidiWriteObjectResponse.FromString(answers[0]).resource.generation

    # -- control

    def statistics(self, *, reset: bool = False) -> EmulatorStatistics:
        """Return the counters. If `reset` is true, set them to zero afterwards."""
        request = json.dumps({"reset": reset}).encode()
        return EmulatorStatistics(**json.loads(self.control("Stats", request)))

    def cut_streams(self, after_bytes: int, times: int = -1, code: str = "UNAVAILABLE") -> None:
        """End each stream with the status `code` after `after_bytes` bytes of content.

        At most `times` streams are ended; -1 means no limit.
        """
        status = Status(StatusCode[code], "Cut on order")
        self.inject(
            Rule(
                status,
                method="BidiReadObject",
                at=InjectionPoint.CONTENT,
                after_bytes=after_bytes,
                times=times,
                name=_CUT,
            )
        )

    def inject(self, *rules: Rule, seed: int = 0) -> None:
        """Replace all fault rules of the emulator by `rules`."""
        self.control("Faults", Faults(rules, seed).to_json())

    def clear_faults(self) -> None:
        """Remove all fault rules."""
        self.inject()

    def control(self, method: str, request: bytes) -> bytes:
        """Call a method of the emulator's control service, and return its response."""
        with grpc.insecure_channel(self.endpoint, _UNLIMITED) as channel:
            call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
                f"/{CONTROL_SERVICE}/{method}"
            )
            try:
                # After a refused connection, gRPC fails new calls at once for up to a second. With
                # wait_for_ready the call waits instead.
                return call(request, timeout=_CALL_SECONDS, wait_for_ready=True)
            except grpc.RpcError as error:
                assert self._process is not None
                code = self._process.poll()
                raise AssertionError(f"{error}; exit code: {code}; {self.log[-2000:]}") from None
