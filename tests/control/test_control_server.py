"""Tests of the control server with hostile, silent and many clients over a real socket."""

from __future__ import annotations

import json
import threading
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.control import control_server
from gcsmux_fs.control.control_server import MAX_CLIENTS, ControlServer, Exchange
from gcsmux_fs.control.protocol import (
    MAX_REQUEST_BYTES,
    CommandFailed,
    ErrorCode,
    Json,
    Request,
    encode_request,
)
from gcsmux_fs.model.errors import NotFound
from tests.control.served import NAME, client, connect, serving

if TYPE_CHECKING:
    from pathlib import Path


def echo(arguments: Json, _: Exchange) -> Json:
    return arguments


def count(arguments: Json, exchange: Exchange) -> Json:
    for number in range(arguments["to"]):
        exchange.progress({"number": number})
    return {}


def fail(_: Json, __: Exchange) -> Json:
    raise NotFound("no such object")


def crash(_: Json, __: Exchange) -> Json:
    raise ZeroDivisionError


COMMANDS = {"echo": echo, "count": count, "fail": fail, "crash": crash}


def answer(directory: Path, sent: bytes) -> Json:
    """Send bytes, and return the first line of the answer."""
    with connect(directory) as connection, connection.makefile("rb") as lines:
        # A busy server answers and closes the connection without reading.
        with suppress(BrokenPipeError):
            connection.sendall(sent)
        first: Json = json.loads(lines.readline())
        return first


def test_a_command_gets_its_arguments_and_returns_its_result(tmp_path: Path) -> None:
    with serving(tmp_path, COMMANDS):
        with client(tmp_path) as asked:
            assert asked.ask("echo", {"path": "/a\udcff"}) == {"path": "/a\udcff"}
        numbers: list[Json] = []
        with client(tmp_path) as asked:
            assert asked.ask("count", {"to": 3}, numbers.append) == {}
        assert numbers == [{"number": 0}, {"number": 1}, {"number": 2}]


@pytest.mark.expects_log("a command of the control socket failed")
def test_an_error_of_a_command_becomes_its_message(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(tmp_path, COMMANDS):
        with client(tmp_path) as asked, pytest.raises(CommandFailed, match="no such object"):
            asked.ask("fail")
        with client(tmp_path) as asked, pytest.raises(CommandFailed, match="please report it"):
            asked.ask("crash")
        with client(tmp_path) as asked, pytest.raises(CommandFailed, match="no command 'dance'"):
            asked.ask("dance")
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    "garbage",
    [b"GET / HTTP/1.1\r\n\r\n", b"\0" * 100 + b"\n", b"{}\n", b"x" * MAX_REQUEST_BYTES],
)
def test_garbage_gets_an_error_and_harms_nothing(tmp_path: Path, garbage: bytes) -> None:
    with serving(tmp_path, COMMANDS):
        assert answer(tmp_path, garbage)["error"]["code"] in ("bad-request", "version")
        connect(tmp_path).close()
        with client(tmp_path) as asked:
            assert asked.ask("echo") == {}


def test_silent_clients_take_all_places_but_no_more(tmp_path: Path) -> None:
    with serving(tmp_path, COMMANDS), ExitStack() as silent:
        connections = [silent.enter_context(connect(tmp_path)) for _ in range(MAX_CLIENTS)]
        assert answer(tmp_path, b"")["error"]["code"] == "busy"
        connections[0].close()
        # The place is free as soon as the server has read the end of the connection.
        while "busy" in str(reply := answer(tmp_path, encode_request(Request("echo")))):
            pass
        assert reply == {"ok": {}}


def test_a_client_that_stops_reading_delays_no_other_client(tmp_path: Path) -> None:
    with serving(tmp_path, COMMANDS), connect(tmp_path) as deaf:
        deaf.sendall(encode_request(Request("count", {"to": 1_000_000})))
        with client(tmp_path) as asked:
            assert asked.ask("echo") == {}


def test_a_client_that_stops_reading_is_disconnected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_server, "SILENCE_SECONDS", 0.05)
    ended = threading.Event()

    def flood(_: Json, exchange: Exchange) -> Json:
        while exchange.progress({"text": "x" * 10_000}):
            pass
        ended.set()
        return {}

    with serving(tmp_path, {"flood": flood}), connect(tmp_path) as deaf:
        deaf.sendall(encode_request(Request("flood")))
        assert ended.wait(20)


def test_a_command_notices_that_its_client_has_gone(tmp_path: Path) -> None:
    gone = threading.Event()

    def wait(_: Json, exchange: Exchange) -> Json:
        exchange.progress({})
        while exchange.is_open:
            pass
        gone.set()
        return {}

    with serving(tmp_path, {"wait": wait}):
        with connect(tmp_path) as connection:
            connection.sendall(encode_request(Request("wait")))
            assert connection.recv(100)
        assert gone.wait(20)


def test_other_users_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_server, "peer_of", lambda connection: (1, 4242))
    with serving(tmp_path, COMMANDS):
        reply = answer(tmp_path, encode_request(Request("echo")))
        assert reply["error"]["code"] == ErrorCode.REFUSED
        assert "only root and the user" in reply["error"]["message"]


@pytest.mark.expects_log("no control socket")
def test_a_mount_without_a_socket_works_and_logs_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = ControlServer(COMMANDS)
    server.start(tmp_path / "absent" / "deeper", NAME)
    server.close()
    assert len(caplog.records) == 1
    assert "no control socket" in caplog.text
