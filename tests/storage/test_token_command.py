"""Tests of token commands: their limits, and what is reported of a command that fails."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from gcsmux_fs.model.errors import CredentialsError
from gcsmux_fs.storage.supplied_tokens import CommandCredentials
from gcsmux_fs.storage.token_command import run_token_command

pytestmark = pytest.mark.real_time

LIMIT = 1.0


def shell(script: str) -> tuple[str, ...]:
    return ("sh", "-c", script)


def test_the_output_of_a_command_is_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
    script = 'cat; echo noise >&2; echo "token-$NOTIFY_SOCKET"'
    assert run_token_command(shell(script)) == "token-\n"


@pytest.mark.parametrize(
    ("words", "reason", "permanent"),
    [
        (("/no/such/program",), "'/no/such/program' cannot be run: No such file", True),
        (("/etc/passwd",), "cannot be run: Permission denied", True),
        (shell("echo secret; exit 3"), "failed with exit code 3$", False),
        (shell("echo first >&2; echo last. >&2; exit 1"), "with exit code 1: last$", False),
        (shell("kill -9 $$"), "ended by signal 9$", False),
        (shell("sleep 60"), "did not end within 1 s$", False),
        (shell("echo asks for a password >&2; sleep 60"), "1 s: asks for a password$", False),
        # A part of the command is left, and keeps the pipe open.
        (shell("sleep 60 & echo token"), "did not end within 1 s$", False),
        (shell("exec >&- 2>&-; sleep 60"), "did not end within 1 s$", False),
        (("cat", "/dev/zero"), "prints more than 65536 bytes", True),
    ],
)
def test_a_command_that_fails_or_hangs_is_reported(
    words: tuple[str, ...], reason: str, permanent: bool
) -> None:
    with pytest.raises(CredentialsError, match=reason) as caught:
        run_token_command(words, LIMIT)
    assert caught.value.permanent == permanent
    assert "secret" not in str(caught.value)


def test_a_command_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    with pytest.raises(CredentialsError, match="did not end"):
        run_token_command(shell(f"sleep 60 & echo $! $$ >{pids}; wait"), LIMIT)
    for pid in pids.read_text().split():
        end = time.monotonic() + 20
        while _runs(int(pid)):
            assert time.monotonic() < end
            time.sleep(0.01)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def test_garbage_is_not_quoted() -> None:
    words = (sys.executable, "-c", "print('secret words')")
    with pytest.raises(CredentialsError, match="prints text with spaces") as caught:
        CommandCredentials(words).refresh(None)
    assert "secret" not in str(caught.value)
