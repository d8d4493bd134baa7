"""The command itself, in a process of its own."""

from __future__ import annotations

import contextlib
import json
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

from gcsmux_fs.storage.pb import storage_pb2 as pb

from .clients import bidi_request

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMAND = [str(Path(sys.executable).parent / "gcsmux-emulator")]
# A hundred times what it takes; only a hang lasts so long.
PATIENCE_SECONDS = 60


@contextlib.contextmanager
def running(
    *arguments: str, command: list[str] = COMMAND
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start the command; give the process and the address of its first line."""
    with subprocess.Popen(
        [*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert select.select([process.stdout], [], [], PATIENCE_SECONDS)[0]
            words = process.stdout.readline().split()
            assert words[:3] == ["gcsmux-emulator", "listening", "on"]
            yield process, words[3]
        finally:
            process.kill()


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def get_size(address: str, name: str) -> int:
    with grpc.insecure_channel(address) as channel:
        call: grpc.UnaryUnaryMultiCallable[pb.GetObjectRequest, pb.Object] = channel.unary_unary(
            "/google.storage.v2.Storage/GetObject",
            request_serializer=pb.GetObjectRequest.SerializeToString,
            response_deserializer=pb.Object.FromString,
        )
        request = pb.GetObjectRequest(bucket="projects/_/buckets/b", object=name)
        return call(request, timeout=PATIENCE_SECONDS).size


@pytest.mark.parametrize(
    "command", [COMMAND, [sys.executable, "-m", "gcsmux_fs.emulator"]], ids=["script", "module"]
)
def test_it_serves_and_says_where(served: Path, bucket: Path, command: list[str]) -> None:
    (bucket / "f").write_bytes(b"hello")
    with running(str(served), "--latency", "1ms", "--bandwidth", "1GiB", command=command) as (
        _,
        address,
    ):
        assert get_size(address, "f") == 5


def test_a_port_can_be_chosen(served: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with running(str(served), "--port", str(port)) as (_, address):
        assert address == f"127.0.0.1:{port}"
        taken = run(str(served), "--port", str(port))
        assert (taken.returncode, taken.stdout) == (1, "")
        assert taken.stderr == (
            f"gcsmux-emulator: Cannot listen on {address}: Address already in use.\n"
        )


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["{}/none"], 1, "is not a directory"),
        (["{}", "--host", "host.invalid"], 1, "Cannot listen on host.invalid"),
        (["{}", "--host", "192.0.2.1"], 1, "Cannot assign requested address"),
        ([], 2, "Missing argument 'DIR'"),
        (["{}", "--latncy", "1s"], 2, "--latency"),
        (["{}", "--latency", "soon"], 2, "'soon' is not a duration"),
        (["{}", "--bandwidth", "fast"], 2, "'fast' is not a size"),
        (["{}", "--port", "70000"], 2, "--port"),
        (["{}", "--location-type", "moon"], 2, "--location-type"),
        (["{}", "--faults", "{}/bad.json"], 1, "Not a valid order of faults"),
        (["{}", "--faults", "{}/reset.json"], 1, "need the TCP proxy"),
        (["{}", "--relay-port", "-1"], 2, "--relay-port"),
        (["{}", "--relay-port", "1", "--host", "192.0.2.1"], 1, "Cannot listen on 192.0.2.1"),
        (["{}", "--tls-cert", "{}/bad.json"], 2, "together"),
        (["{}", "--tls-cert", "{}/bad.json", "--tls-key", "{}/bad.json"], 1, "Cannot use"),
    ],
)
def test_bad_input_is_told_in_one_line(
    served: Path, arguments: list[str], code: int, complaint: str
) -> None:
    (served / "bad.json").write_text("{")
    (served / "reset.json").write_text('{"rules": [{"fault": {"kind": "reset"}}]}')
    ended = run(*(argument.format(served) for argument in arguments))
    assert code == ended.returncode
    assert ended.stdout == ""
    assert ended.stderr.startswith("gcsmux-emulator: ")
    assert complaint in ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_in_the_middle_of_a_stream(
    served: Path, bucket: Path, number: signal.Signals
) -> None:
    with (bucket / "f").open("wb") as file:
        file.truncate(1024**3)
    with (
        running(str(served)) as (process, address),
        grpc.insecure_channel(address) as channel,
    ):
        call: grpc.StreamStreamMultiCallable[
            pb.BidiReadObjectRequest, pb.BidiReadObjectResponse
        ] = channel.stream_stream(
            "/google.storage.v2.Storage/BidiReadObject",
            request_serializer=pb.BidiReadObjectRequest.SerializeToString,
            response_deserializer=pb.BidiReadObjectResponse.FromString,
        )
        streams = [call(iter([bidi_request("f", [(0, 0, 1)])])) for _ in range(20)]
        for stream in streams:
            next(stream)
        process.send_signal(number)
        assert process.wait(PATIENCE_SECONDS) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_faults_and_counters_are_there_for_other_processes(
    served: Path, bucket: Path, tmp_path: Path
) -> None:
    (bucket / "f").write_bytes(bytes(100))
    orders = tmp_path / "faults.json"
    rules = [{"fault": {"kind": "status"}, "at": "content", "after_bytes": 10, "times": 3}]
    orders.write_text(json.dumps({"rules": rules}))
    with running(str(served), "--faults", str(orders)) as (_, address):
        get_size(address, "f")
        with grpc.insecure_channel(address) as channel:
            stats: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
                "/gcsmux.emulator.Control/Stats"
            )
            faults: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
                "/gcsmux.emulator.Control/Faults"
            )
            counters = json.loads(stats(b"", timeout=PATIENCE_SECONDS))
            ordered = json.loads(faults(b"", timeout=PATIENCE_SECONDS))
    assert counters["requests"] == {"GetObject": 1}
    assert ordered == {"rules": rules}


def test_the_relay_says_where_it_is_and_passes_calls_on(served: Path, bucket: Path) -> None:
    (bucket / "f").write_bytes(b"hello")
    with running(str(served), "--relay-port", "0") as (process, address):
        assert process.stdout is not None
        words = process.stdout.readline().split()
        assert words[:3] == ["gcsmux-emulator", "relaying", "on"]
        assert words[3] != address
        assert get_size(words[3], "f") == 5
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_a_relay_port_that_is_taken_is_told(served: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run(str(served), "--relay-port", str(port))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == (
        f"gcsmux-emulator: Cannot listen on 127.0.0.1:{port}: Address already in use.\n"
    )


def test_it_may_open_as_many_files_as_the_system_lets_it(served: Path) -> None:
    fewer = ["sh", "-c", 'ulimit -Sn 256 && exec "$0" "$@"', *COMMAND]
    with running(str(served), command=fewer) as (process, _):
        limits = Path(f"/proc/{process.pid}/limits").read_text().splitlines()
        (line,) = [line for line in limits if line.startswith("Max open files")]
        soft, hard = line.split()[3:5]
        assert soft == hard
