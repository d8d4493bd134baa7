"""Tokens expire, are revoked and rotated while programs read. The emulator requires tokens."""

from __future__ import annotations

import itertools
import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.emulator.faults import Status
from gcsmux_fs.emulator.injection.rules import FOR_EVER, Rule
from gcsmux_fs.model.errors import StatusCode
from tests.mount import limits
from tests.mount.refused import refusal
from tests.support import programs
from tests.support.emulator_process import BUCKET
from tests.support.harness import EmulatorProcess, MountProcess, wait_until
from tests.support.sizes import MIB
from tests.support.tls import Service, access_token, certificate, key_file, tls_relay, token_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
pytestmark = pytest.mark.mount

UNIT = Path(__file__).parents[2] / "systemd" / "gcsmux@.service"
CONTENT = programs.tagged(1, 0, 3 * MIB)
# Long enough for a renewal on a busy machine, and short enough for a test.
LIFETIME_SECONDS = 6


@pytest.fixture
def accepted(folder: Path) -> Path:
    """The file with the tokens that the emulator accepts."""
    return folder / "accepted"


@pytest.fixture
def emulator(folder: Path, accepted: Path) -> Iterator[EmulatorProcess]:
    """An emulator that requires tokens, with one object."""
    (folder / "buckets" / BUCKET).mkdir(parents=True)
    with EmulatorProcess(folder / "buckets", [f"--tokens={accepted}"]) as process:
        process.place("object", CONTENT)
        yield process


@pytest.fixture
def service(emulator: EmulatorProcess, folder: Path) -> Iterator[Service]:
    server_certificate = certificate(folder)
    with tls_relay(emulator.port, server_certificate) as endpoint:
        yield Service(endpoint, server_certificate)


@pytest.fixture
def mount(emulator: EmulatorProcess, service: Service, folder: Path) -> Callable[..., MountProcess]:
    """A function that makes a mount with more options. With TTLs of 0, each stat causes calls."""
    options = [f"--endpoint={service.endpoint}", f"--ca-file={service.certificate.path}"]
    options += ["--metadata-ttl=0", "--negative-ttl=0"]
    return lambda *more: MountProcess(emulator, folder / "m", [*options, *more])


@pytest.mark.long
def test_no_reader_waits_while_tokens_expire(
    emulator: EmulatorProcess, mount: Callable[..., MountProcess], folder: Path, accepted: Path
) -> None:
    def answer(number: int) -> dict[str, object]:
        old = f"token-{number - 1}"
        if number > 1:
            # The token server is slow. It answers when a further call has used the old token.
            calls = emulator.statistics().tokens[old]
            wait_until(lambda: emulator.statistics().tokens[old] > calls, "the old token is used")
        # The emulator refuses each token soon after the next one was issued.
        accepted.write_text(f"{old} token-{number}")
        return access_token(f"token-{number}") | {"expires_in": LIFETIME_SECONDS}

    with token_server(answer) as tokens:
        key_file(folder / "key.json", tokens.address)
        with mount(f"--key-file={folder / 'key.json'}") as mounted, mounted.program() as program:
            # Each read opens a stream, because the object is new.
            for number in itertools.count():
                if "token-3" in emulator.statistics().tokens:
                    break
                emulator.place(f"object-{number}", CONTENT)
                path = f"{mounted.path}/object-{number}"
                assert program.call(programs.read_whole, path) == CONTENT
            statistics = mounted.statistics()
    assert "using service account reader@test.iam.gserviceaccount.com from" in mounted.log
    assert statistics["token_waits"] == 0
    # Without a refused token, no call was repeated.
    assert "UNAUTHENTICATED" not in mounted.log
    assert "token-" not in mounted.log


def test_a_rotated_key_is_used_when_the_old_token_is_revoked(
    mount: Callable[..., MountProcess], folder: Path, accepted: Path
) -> None:
    accepted.write_text("old-token")
    key = folder / "key.json"
    with (
        token_server(lambda _: access_token("old-token")) as old,
        token_server(lambda _: access_token("new-token")) as new,
    ):
        key_file(key, old.address)
        with mount(f"--key-file={key}") as mounted, mounted.program() as program:
            path = f"{mounted.path}/object"
            assert program.call(programs.read_whole, path) == CONTENT
            # The owner of the bucket rotates the key, and revokes the old one.
            key_file(folder / "new.json", new.address)
            (folder / "new.json").rename(key)
            old.refusing = True
            accepted.write_text("new-token")
            assert program.call(programs.read_whole, path) == CONTENT
        assert len(new.asked) == 1


def test_a_rotated_token_file_and_a_removed_permission(
    emulator: EmulatorProcess,
    service: Service,
    mount: Callable[..., MountProcess],
    folder: Path,
    accepted: Path,
) -> None:
    accepted.write_text("first-token second-token")
    token = folder / "token"
    token.write_text("first-token\n")
    mounted = mount(f"--token-file={token}")
    mounted.expected_warnings = ["EACCES"]
    with mounted, mounted.program() as program:
        path = f"{mounted.path}/object"
        descriptor = program.call(os.open, path, os.O_RDONLY)
        (folder / "new").write_text(
            json.dumps({"access_token": "second-token", "expires_in": 3600})
        )
        (folder / "new").rename(token)

        def uses_the_new_token() -> bool:
            program.call(os.stat, path)
            return "second-token" in emulator.statistics().tokens

        # The old token is still valid, and the file is read again.
        wait_until(uses_the_new_token, "the new token is used")
        accepted.write_text("second-token")
        assert program.call(programs.read_whole, path) == CONTENT

        denied = Status(StatusCode.PERMISSION_DENIED, "no storage.objects.get")
        emulator.inject(Rule(denied, method="*", times=FOR_EVER))
        with pytest.raises(PermissionError):
            program.call(os.stat, path)
        emulator.clear_faults()
        assert program.call(os.pread, descriptor, 10, 2 * MIB) == CONTENT[2 * MIB :][:10]

        accepted.write_text("")
        with pytest.raises(PermissionError):
            program.call(os.stat, path)
        accepted.write_text("second-token")
        wait_until(lambda: bool(program.call(os.path.exists, path)), "the token is accepted again")
    assert f"using the access token in {token}" in mounted.log
    assert "second-token" not in mounted.log


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can set the limits of the unit")
def test_a_token_command_that_fails_below_the_limits_of_the_unit(
    mount: Callable[..., MountProcess], folder: Path, accepted: Path
) -> None:
    """The unit forbids many system calls. The test shows that commands can run."""
    accepted.write_text("first-token third-token")
    script = folder / "command"
    script.write_text("#!/bin/sh\necho first-token\n")
    script.chmod(0o700)
    mounted = mount(f"--token-command={script} --some 'word'", "--read-timeout=2s")
    mounted.expected_warnings = ["lookup: E"]
    mounted.launcher = (sys.executable, "-P", limits.__file__, str(UNIT))
    with mounted, mounted.program() as program:
        path = f"{mounted.path}/object"
        assert program.call(programs.read_whole, path) == CONTENT
        accepted.write_text("third-token")
        script.write_text("#!/bin/sh\necho second-token\necho no network >&2\nexit 5\n")
        with pytest.raises(OSError, match=r"Input/output error|timed out"):
            program.call(os.stat, path)
        assert f"the token command '{script}' failed with exit code 5: no network" in mounted.log
        script.write_text("#!/bin/sh\necho third-token\n")

        def answers() -> bool:
            with suppress(OSError):
                program.call(os.stat, path)
                return True
            return False

        wait_until(answers, "the command is run again")
    assert "second-token" not in mounted.log


def test_directpath_falls_back_or_fails_outside_of_compute_engine(
    service: Service,
    emulator: EmulatorProcess,
    folder: Path,
    accepted: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The fallback is TLS to the endpoint. DirectPath itself cannot be reached by a test."""
    accepted.write_text("token")
    token = folder / "token"
    token.write_text("token")
    for name, text in service.environment.items():
        monkeypatch.setenv(name, text)
    options: tuple[str, ...] = (f"--endpoint={service.endpoint}", f"--token-file={token}")
    line = refusal(folder, *options, "--direct-path=require", "--log-level=error")
    assert line.startswith("DirectPath is not available: the servers are 127.0.0.1. Mount on")
    options += ("--direct-path=try",)
    with MountProcess(emulator, folder / "m", options) as mounted, mounted.program() as program:
        assert program.call(programs.read_whole, f"{mounted.path}/object") == CONTENT
    assert "DirectPath is not available: the servers are 127.0.0.1, behind" in mounted.log
