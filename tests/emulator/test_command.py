"""Tests of the command `gcsmux-emulator` in a separate process."""

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
# The command usually needs a hundredth of this time. If it takes longer, it hangs.
TIMEOUT_SECONDS = 60


@contextlib.contextmanager
def running(
    *arguments: str, command: list[str] = COMMAND
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start the command; yield the process and the address that the first line of output shows."""
    with subprocess.Popen(
        [*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert select.select([process.stdout], [], [], TIMEOUT_SECONDS)[0]
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
        timeout=TIMEOUT_SECONDS,
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
        return call(request, timeout=TIMEOUT_SECONDS).size


@pytest.mark.parametrize(
    "command", [COMMAND, [sys.executable, "-m", "gcsmux_fs.emulator"]], ids=["script", "module"]
)
def test_the_command_serves_and_prints_its_address(
    served: Path, bucket: Path, command: list[str]
) -> None:
    (bucket / "f").write_bytes(b"hello")
    with running(str(served), "--latency", "1ms", "--bandwidth", "1GiB", command=command) as (
        _,
        address,
    ):
        assert get_size(address, "f") == 5


def test_the_port_can_be_set(served: Path) -> None:
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
    ("arguments", "code", "message"),
    [
        (["{}/none"], 1, "is not a directory"),
        (["{}", "--host", "host.invalid"], 1, "Cannot listen on host.invalid"),
        (["{}", "--host", "192.0.2.1"], 1, "Cannot assign requested address"),
        ([], 2, "DIR is missing: write gcsmux-emulator [OPTIONS] DIR."),
        (["{}", "extra"], 2, "unexpected argument extra: write gcsmux-emulator [OPTIONS] DIR."),
        (["{}", "--port"], 2, "--port has no value: write --port N."),
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
def test_invalid_arguments_give_one_line_on_stderr(
    served: Path, arguments: list[str], code: int, message: str
) -> None:
    (served / "bad.json").write_text("{")
    (served / "reset.json").write_text('{"rules": [{"fault": {"kind": "reset"}}]}')
    ended = run(*(argument.format(served) for argument in arguments))
    assert code == ended.returncode
    assert ended.stdout == ""
    assert ended.stderr.startswith("gcsmux-emulator: ")
    assert message in ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_command_during_streams_without_errors(
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
        assert process.wait(TIMEOUT_SECONDS) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_another_process_reads_counters_and_faults(
    served: Path, bucket: Path, tmp_path: Path
) -> None:
    (bucket / "f").write_bytes(bytes(100))
    faults_file = tmp_path / "faults.json"
    rules = [{"fault": {"kind": "status"}, "at": "content", "after_bytes": 10, "times": 3}]
    faults_file.write_text(json.dumps({"rules": rules}))
    with running(str(served), "--faults", str(faults_file)) as (_, address):
        get_size(address, "f")
        with grpc.insecure_channel(address) as channel:
            stats: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
                "/gcsmux.emulator.Control/Stats"
            )
            faults: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
                "/gcsmux.emulator.Control/Faults"
            )
            counters = json.loads(stats(b"", timeout=TIMEOUT_SECONDS))
            order = json.loads(faults(b"", timeout=TIMEOUT_SECONDS))
    assert counters["requests"] == {"GetObject": 1}
    assert order == {"rules": rules}


def test_the_tcp_proxy_prints_its_address_and_forwards_calls(served: Path, bucket: Path) -> None:
    (bucket / "f").write_bytes(b"hello")
    with running(str(served), "--relay-port", "0") as (process, address):
        assert process.stdout is not None
        words = process.stdout.readline().split()
        assert words[:3] == ["gcsmux-emulator", "relaying", "on"]
        assert words[3] != address
        assert get_size(words[3], "f") == 5
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT_SECONDS) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_a_proxy_port_in_use_is_an_error(served: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run(str(served), "--relay-port", str(port))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == (
        f"gcsmux-emulator: Cannot listen on 127.0.0.1:{port}: Address already in use.\n"
    )


def test_the_command_raises_its_limit_of_open_files(served: Path) -> None:
    with_low_limit = ["sh", "-c", 'ulimit -Sn 256 && exec "$0" "$@"', *COMMAND]
    with running(str(served), command=with_low_limit) as (process, _):
        limits = Path(f"/proc/{process.pid}/limits").read_text().splitlines()
        (line,) = [line for line in limits if line.startswith("Max open files")]
        soft, hard = line.split()[3:5]
        assert soft == hard
