"""The service rejects access tokens. The mounts use TLS, a key file and a token server."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.emulator.faults import ExpireToken, InjectionPoint, Status
from gcsmux_fs.emulator.injection.rules import FOR_EVER, Rule
from gcsmux_fs.model.errors import StatusCode
from tests.support import programs
from tests.support.harness import MountProcess, wait_until
from tests.support.sizes import MIB
from tests.support.tls import access_token, key_file, token_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.harness import EmulatorProcess
    from tests.support.tls import Service, TokenServer

pytestmark = pytest.mark.mount

STREAM = "BidiReadObject"


@pytest.fixture
def tokens() -> Iterator[TokenServer]:
    """A token server that answers each request with a different token."""
    with token_server(lambda number: access_token(f"token-{number}")) as one:
        yield one


@pytest.fixture
def mounted(
    emulator: EmulatorProcess,
    service: Service,
    tokens: TokenServer,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> MountProcess:
    """A mount with the key of a service account. TTLs are 0, so that every call causes a lookup."""
    key_file(folder / "key.json", tokens.address)
    for name, text in service.environment.items():
        monkeypatch.setenv(name, text)
    options = [
        *(f"--endpoint={service.endpoint}", f"--key-file={folder / 'key.json'}"),
        *("--metadata-ttl=0", "--negative-ttl=0"),
    ]
    return MountProcess(emulator, folder / "m", options)


def test_a_token_that_expires_in_mid_stream_is_renewed(
    emulator: EmulatorProcess, mounted: MountProcess, tokens: TokenServer
) -> None:
    content = programs.tagged(1, 0, 3 * MIB)
    emulator.place("object", content)
    expired = Status(StatusCode.UNAUTHENTICATED)
    emulator.inject(Rule(expired, method=STREAM, at=InjectionPoint.CONTENT, after_bytes=MIB))
    with mounted, mounted.program() as program:
        assert program.call(programs.read_whole, f"{mounted.path}/object") == content
        assert mounted.statistics()["streams_reopened"] == 1
    assert len(tokens.asked) == 2


@pytest.mark.parametrize("without_streams", [False, True])
def test_a_rejected_token_is_renewed_once_for_all_calls(
    emulator: EmulatorProcess, mounted: MountProcess, tokens: TokenServer, without_streams: bool
) -> None:
    """After a call has renewed the token, the following calls use the new token.

    The following calls are lookups, a listing, and reads by a stream or by ReadObject.
    """
    missing = Rule(Status(StatusCode.UNIMPLEMENTED), method=STREAM, times=FOR_EVER)
    others = [missing] if without_streams else []
    content = programs.tagged(1, 0, 3 * MIB)
    for name in ("first", "second"):
        emulator.place(name, content)
    mounted.expected_warnings = ["BidiReadObject unavailable"] if without_streams else []
    with mounted, mounted.program() as program:
        emulator.inject(*others, Rule(ExpireToken()))
        assert program.call(os.stat, f"{mounted.path}/first").st_size == len(content)
        assert len(tokens.asked) == 2
        assert program.call(programs.read_whole, f"{mounted.path}/first") == content
        assert program.call(programs.read_whole, f"{mounted.path}/second") == content
        assert program.call(os.listdir, str(mounted.path)) == ["first", "second"]
        assert len(tokens.asked) == 2


@pytest.mark.parametrize("method", [STREAM, "ReadObject"])
def test_a_read_with_a_rejected_token_renews_it(
    emulator: EmulatorProcess, mounted: MountProcess, tokens: TokenServer, method: str
) -> None:
    missing = Rule(Status(StatusCode.UNIMPLEMENTED), method=STREAM, times=FOR_EVER)
    others = [missing] if method != STREAM else []
    mounted.expected_warnings = ["BidiReadObject unavailable"] if others else []
    content = programs.tagged(1, 0, 3 * MIB)
    emulator.place("object", content)
    emulator.inject(*others, Rule(ExpireToken(), method=method))
    with mounted, mounted.program() as program:
        assert program.call(programs.read_whole, f"{mounted.path}/object") == content
    assert len(tokens.asked) == 2


def test_a_service_that_rejects_every_token_is_eacces_at_once(
    emulator: EmulatorProcess, mounted: MountProcess, tokens: TokenServer
) -> None:
    emulator.place("object", b"content")
    mounted.expected_warnings = ["EACCES"]
    refused = Status(StatusCode.UNAUTHENTICATED)
    with mounted, mounted.program() as program:
        # The open succeeds, although the service rejects its token, and reads no bytes.
        emulator.inject(Rule(refused, method=STREAM, times=FOR_EVER))
        descriptor = program.call(os.open, f"{mounted.path}/object", os.O_RDONLY)
        emulator.statistics(reset=True)
        emulator.inject(Rule(refused, method="*", times=FOR_EVER))
        for _ in range(5):
            with pytest.raises(PermissionError):
                program.call(os.stat, f"{mounted.path}/object")
            with pytest.raises(PermissionError):
                program.call(os.pread, descriptor, 10, 0)
        asked = emulator.statistics().requests
        # For each failed call, the mount sends two requests and logs one line.
        assert asked["ListObjects"] == 2 * mounted.log.count("lookup: EACCES")
        assert asked[STREAM] == 2 * mounted.log.count("read: EACCES")
        # One new token serves many rejected calls, so there are few token requests.
        assert 2 <= len(tokens.asked) < 10
        emulator.clear_faults()
        assert program.call(os.pread, descriptor, 10, 0) == b"content"


def test_a_refused_renewal_is_eacces_and_its_reason_is_logged(
    emulator: EmulatorProcess, mounted: MountProcess, tokens: TokenServer
) -> None:
    emulator.place("object", b"content")
    mounted.expected_warnings = ["lookup: EACCES"]
    with mounted, mounted.program() as program:
        emulator.inject(Rule(ExpireToken()))
        tokens.refusing = True
        with pytest.raises(PermissionError):
            program.call(os.stat, f"{mounted.path}/object")
        assert "the token server refuses service account reader@test.iam.gserv" in mounted.log
        assert "(invalid_grant)" in mounted.log
        tokens.refusing = False
        path = f"{mounted.path}/object"
        wait_until(lambda: bool(program.call(os.path.exists, path)), "the token is renewed")


def test_an_outage_of_the_token_server_delays_a_lookup(
    emulator: EmulatorProcess, mounted: MountProcess, tokens: TokenServer
) -> None:
    emulator.place("object", b"content")
    with mounted, mounted.program() as program:
        emulator.inject(Rule(ExpireToken()))
        tokens.outages = 2
        assert program.call(os.stat, f"{mounted.path}/object").st_size == len(b"content")
