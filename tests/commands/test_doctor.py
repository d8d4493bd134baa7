"""Tests of `gcsmux doctor` against an emulator and against servers that fail in one way each."""

from __future__ import annotations

import contextlib
import gc
import io
import json
import re
import socket
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from gcsmux_fs.commands import gcsmux
from gcsmux_fs.commands.doctor import DoctorReport
from gcsmux_fs.doctor.checklist import CHECKS, Check, failure
from gcsmux_fs.emulator.faults import Bandwidth, Hang, Status
from gcsmux_fs.emulator.injection.rules import FOR_EVER, Rule
from gcsmux_fs.model.errors import StatusCode
from gcsmux_fs.settings.service_address import EMULATOR_VARIABLE
from tests.support.emulator_process import BUCKET, EmulatorProcess
from tests.support.sizes import MIB
from tests.support.tls import (
    access_token,
    certificate,
    key_file,
    tls_relay,
    token_server,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.tls import TokenServer

BIDI = "BidiReadObject"
LAYOUT = "GetStorageLayout"
SHORT = "--timeout=500ms"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    """An emulator with one object."""
    with EmulatorProcess(tmp_path_factory.mktemp("buckets")) as process:
        process.place("logs/object", b"x" * (4 * MIB))
        yield process


@pytest.fixture
def emulator(server: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmulatorProcess]:
    """The emulator without faults; `gcsmux doctor` connects to it."""
    monkeypatch.setenv(EMULATOR_VARIABLE, server.endpoint)
    yield server
    server.clear_faults()


@pytest.fixture
def examine(capsys: pytest.CaptureFixture[str]) -> Any:
    """A function that runs `gcsmux doctor --json`, and returns its exit code and its findings."""

    def run(*arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
        code = gcsmux.run(["doctor", "--json", BUCKET, *arguments])
        rows = json.loads(capsys.readouterr().out)
        return code, {row["check"]: row for row in rows}

    return run


def refuse(code: StatusCode, *methods: str, message: str = "") -> list[Rule]:
    return [Rule(Status(code, message), method=name, times=FOR_EVER) for name in methods]


def failures(found: dict[str, dict[str, Any]]) -> list[str]:
    return [name for name, row in found.items() if row["result"] == "failure"]


def check_skipped(found: dict[str, dict[str, Any]], after: str) -> None:
    """Check that the checks that need `after` are skipped, and that the others have a result."""
    blocked = {after}
    for check in CHECKS:
        if blocked & set(check.needs):
            blocked.add(check.name)
            assert found[check.name]["result"] == "skipped", check
    independent = {"fuse", "kernel", "open_files", "proxy", "credentials"} - blocked
    assert all(found[name]["result"] in ("ok", "warning") for name in independent)


def test_a_healthy_bucket_passes_all_checks(emulator: EmulatorProcess, examine: Any) -> None:
    code, found = examine()
    assert code == 0
    assert list(found) == [check.name for check in CHECKS]
    assert failures(found) == []
    assert "US-CENTRAL1" in found["bucket"]["detail"]
    assert "available" in found["streams"]["detail"]
    assert found["rate"]["result"] == "ok"
    assert "4.00 MiB of 'logs/object'" in found["rate"]["detail"]
    assert all(row["seconds"] >= 0 for row in found.values())


def test_the_text_names_each_check_and_its_remedy(
    emulator: EmulatorProcess, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    missing = tmp_path / "missing"
    assert gcsmux.run(["doctor", f"gs://{BUCKET}/logs", str(missing)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"Examining gs://{BUCKET}/logs at {emulator.endpoint}"
    assert f"failure mount point   {missing} does not exist" in lines
    assert f"{'':22}-> create it first by `mkdir -p {missing}`" in lines
    assert [line for line in lines if line.startswith("ok      rate ")]
    assert lines[-1].startswith("1 failure")
    assert not any("\x1b" in line for line in lines)


def test_a_configuration_file_is_examined(
    emulator: EmulatorProcess, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "data.toml"
    file.write_text(f'bucket = "{BUCKET}"\nmountpoint = "{tmp_path}/nowhere"\nonly_dir = "logs"\n')
    assert gcsmux.run(["doctor", "--json", f"--config={file}"]) == 1
    found = {row["check"]: row for row in json.loads(capsys.readouterr().out)}
    assert failures(found) == ["mount_point"]
    assert "1 object," in found["list"]["detail"]


def test_the_bucket_is_required(capsys: pytest.CaptureFixture[str]) -> None:
    assert gcsmux.run(["doctor"]) == 2
    assert capsys.readouterr().err.startswith("gcsmux: BUCKET is missing: write gcsmux doctor")


# -- the network


@pytest.mark.parametrize(
    ("endpoint", "failed", "part"),
    [
        ("bucket.invalid:443", "name", "bucket.invalid has no address"),
        ("127.0.0.1:1", "connection", "Connection refused"),
    ],
)
def test_a_service_that_cannot_be_reached(
    endpoint: str, failed: str, part: str, examine: Any
) -> None:
    code, found = examine("--anonymous", f"--endpoint={endpoint}")
    assert code == 1
    assert failures(found) == [failed]
    assert part in found[failed]["detail"]
    check_skipped(found, failed)


def test_a_server_without_tls(emulator: EmulatorProcess, examine: Any) -> None:
    code, found = examine("--anonymous", f"--endpoint={emulator.endpoint}")
    assert code == 1
    assert failures(found) == ["tls"]
    assert "does not speak TLS" in found["tls"]["detail"]
    assert "--plaintext" in found["tls"]["remedy"]
    check_skipped(found, "tls")


@pytest.mark.parametrize(
    ("changes", "trusted", "part"),
    [
        ({"host": "127.0.0.2"}, True, "is for 127.0.0.2"),
        ({"valid_hours": (-48, -24)}, True, "expired on "),
        ({"valid_hours": (24, 48)}, True, "is not valid before "),
        ({}, False, "is not trusted: it is from gcsmux test"),
    ],
)
def test_a_refused_certificate(
    changes: dict[str, Any],
    trusted: bool,
    part: str,
    emulator: EmulatorProcess,
    examine: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = certificate(tmp_path, **changes)
    if trusted:
        monkeypatch.setenv("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", str(shown.path))
    with tls_relay(emulator.port, shown) as endpoint:
        code, found = examine("--anonymous", f"--endpoint={endpoint}")
    assert code == 1
    assert failures(found) == ["tls"]
    assert part in found["tls"]["detail"]
    check_skipped(found, "tls")


@contextlib.contextmanager
def silent_server() -> Iterator[str]:
    """A server that accepts connections and never sends a byte."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def test_a_silent_server(examine: Any) -> None:
    with silent_server() as endpoint:
        code, found = examine(SHORT, "--anonymous", f"--endpoint={endpoint}")
        assert (code, failures(found)) == (1, ["tls"])
        assert "no answer to the TLS handshake" in found["tls"]["detail"]
        code, found = examine(SHORT, "--anonymous", "--plaintext", f"--endpoint={endpoint}")
        assert (code, failures(found)) == (1, ["service"])


def test_a_proxy_that_refuses(examine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def refuse_tunnels() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    if connection.recv(4096).startswith(b"CONNECT storage.example:443 "):
                        connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")

        threading.Thread(target=refuse_tunnels, daemon=True).start()
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{listener.getsockname()[1]}")
        code, found = examine("--anonymous", "--endpoint=storage.example:443")
    assert (code, failures(found)) == (1, ["tls"])
    assert "407 Proxy Authentication Required" in found["tls"]["detail"]


# -- the identity


def test_no_credentials(examine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "missing.json"))
    code, found = examine("--endpoint=127.0.0.1:1")
    assert code == 1
    assert failures(found) == ["connection", "credentials"]
    assert "missing.json" in found["credentials"]["detail"]
    check_skipped(found, "credentials")


@dataclass
class SignedIn:
    """The emulator behind TLS, a token server, and the options of a key for both."""

    tokens: TokenServer
    options: list[str]


@pytest.fixture
def signed_in(server: EmulatorProcess, tmp_path: Path) -> Iterator[SignedIn]:
    shown = certificate(tmp_path)
    key = tmp_path / "key.json"
    with (
        token_server(lambda _: access_token("ya29.secret-token")) as tokens,
        tls_relay(server.port, shown) as endpoint,
    ):
        key_file(key, tokens.address)
        options = [f"--endpoint={endpoint}", f"--key-file={key}", f"--ca-file={shown.path}"]
        yield SignedIn(tokens, options)
        # A failed call is in a cycle of references, which keeps its connection open.
        gc.collect()
    server.clear_faults()


def test_the_account_and_its_token_are_shown(signed_in: SignedIn, examine: Any) -> None:
    code, found = examine(*signed_in.options)
    assert (code, failures(found)) == (0, [])
    account = "reader@test.iam.gserviceaccount.com"
    assert account in found["credentials"]["detail"]
    assert f"a token for service account {account}" in found["token"]["detail"]
    assert found["tls"]["detail"] == "TLSv1.3, certificate from gcsmux test"
    assert "4.00 MiB" in found["rate"]["detail"]
    assert "ya29." not in json.dumps(found)


def test_a_refused_token_names_the_credentials(
    server: EmulatorProcess, signed_in: SignedIn, examine: Any
) -> None:
    message = "token ya29.secret-token is revoked"
    server.inject(*refuse(StatusCode.UNAUTHENTICATED, "*", message=message))
    code, found = examine(*signed_in.options)
    assert (code, failures(found)) == (1, ["service"])
    assert "refuses the credentials (token [secret] is revoked)" in found["service"]["detail"]
    check_skipped(found, "service")


def test_a_refused_key(signed_in: SignedIn, examine: Any) -> None:
    signed_in.tokens.refusing = True
    code, found = examine(*signed_in.options)
    assert (code, failures(found)) == (1, ["token"])
    assert "the token server refuses" in found["token"]["detail"]
    check_skipped(found, "token")


def test_a_token_server_without_an_address(
    signed_in: SignedIn, examine: Any, tmp_path: Path
) -> None:
    key_file(tmp_path / "key.json", "https://tokens.invalid/token")
    code, found = examine(*signed_in.options)
    assert (code, failures(found)) == (1, ["token"])
    assert found["token"]["detail"] == "the token server tokens.invalid has no address"


# -- the bucket


def test_a_missing_bucket(emulator: EmulatorProcess, capsys: pytest.CaptureFixture[str]) -> None:
    assert gcsmux.run(["doctor", "--json", "another-bucket"]) == 1
    found = {row["check"]: row for row in json.loads(capsys.readouterr().out)}
    assert failures(found) == ["bucket"]
    assert "there is no bucket gs://another-bucket" in found["bucket"]["detail"]
    check_skipped(found, "bucket")


def test_no_permission_to_list(emulator: EmulatorProcess, examine: Any) -> None:
    emulator.inject(*refuse(StatusCode.PERMISSION_DENIED, "ListObjects", LAYOUT))
    code, found = examine()
    assert code == 0
    assert found["list"]["result"] == found["bucket"]["result"] == "warning"
    assert "Storage Object Viewer" in found["list"]["remedy"]
    assert found["streams"]["result"] == "skipped"
    code, found = examine("--object=logs/object")
    assert (code, found["rate"]["result"]) == (0, "ok")


def test_no_permission_to_read(emulator: EmulatorProcess, examine: Any) -> None:
    emulator.inject(*refuse(StatusCode.PERMISSION_DENIED, "GetObject", BIDI, "ReadObject"))
    code, found = examine()
    assert (code, failures(found)) == (1, ["get"])
    assert "Storage Object Viewer" in found["get"]["remedy"]
    check_skipped(found, "get")


def test_a_requester_pays_bucket_without_a_project(emulator: EmulatorProcess, examine: Any) -> None:
    message = "Bucket is a requester pays bucket but no user project provided."
    emulator.inject(*refuse(StatusCode.INVALID_ARGUMENT, "*", message=message))
    code, found = examine()
    assert (code, failures(found)) == (1, ["billing"])
    assert "--billing-project" in found["billing"]["remedy"]
    check_skipped(found, "billing")


# -- the bytes


@pytest.mark.expects_log("BidiReadObject unavailable")
def test_streams_that_are_not_implemented_are_a_warning(
    emulator: EmulatorProcess, examine: Any
) -> None:
    emulator.inject(*refuse(StatusCode.UNIMPLEMENTED, BIDI))
    code, found = examine()
    assert code == 0
    assert found["streams"]["result"] == "warning"
    assert "one ReadObject call" in found["streams"]["detail"]
    assert found["rate"]["result"] == "ok"


@pytest.mark.parametrize(("method", "failed"), [(LAYOUT, "service"), (BIDI, "streams")])
def test_a_call_without_an_answer(
    method: str, failed: str, emulator: EmulatorProcess, examine: Any
) -> None:
    emulator.inject(Rule(Hang(), method=method, times=FOR_EVER))
    code, found = examine(SHORT)
    assert (code, failures(found)) == (1, [failed])
    assert found[failed]["seconds"] < 5
    check_skipped(found, failed)


def test_a_slow_service_is_a_warning(emulator: EmulatorProcess, examine: Any) -> None:
    emulator.inject(Rule(Bandwidth(4 * MIB), method=BIDI, times=FOR_EVER))
    code, found = examine("--timeout=1s")
    assert code == 0
    assert found["rate"]["result"] == "warning"
    assert "bandwidth" in found["rate"]["remedy"]


# -- the terminal


def test_a_terminal_gets_colours_and_folded_lines() -> None:
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=60, color_system="standard")
    report = DoctorReport(console, as_json=False)
    check = Check("name", "host name")
    report.finished(check, failure("a word, " * 12, "another word, " * 12), 0.1)
    report.close()
    assert "\x1b[1;31mfailure" in output.getvalue()
    lines = re.sub(r"\x1b\[[0-9;]*m", "", output.getvalue()).splitlines()
    assert len(lines) > 8
    assert all(len(line) <= 60 for line in lines)
    assert {line[:22].strip() for line in lines[1:-2]} == {""}
    assert lines[-1] == "1 failure."


def test_a_server_cannot_control_the_terminal_or_show_a_secret(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = DoctorReport(Console(), as_json=False)
    text = "[bold]\x1b[2J Bearer abcdefghijklmnop"
    report.finished(Check("name", "host name"), failure(text, text), 0.1)
    shown = capsys.readouterr().out
    assert "abcdefghijklmnop" not in shown
    assert "\x1b" not in shown
    assert "[bold]\\x1b[2J Bearer [secret]" in shown
