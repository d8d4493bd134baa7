"""Whom a mount trusts, what it keeps to itself, and who sees it: on real mounts."""

from __future__ import annotations

import os
import re
import resource
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.emulator.faults import Redirect, Status
from gcsmux_fs.emulator.injection.rules import FOR_EVER, Rule
from gcsmux_fs.model.errors import StatusCode

from . import limits, programs
from .harness import BUCKET, END_SECONDS, MountProcess, wait_until
from .refused import refusal
from .server import COMMANDS
from .tls import Service, access_token, certificate, key_file, tls_relay, token_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .harness import EmulatorProcess, NewMount
    from .tls import TokenServer

pytestmark = pytest.mark.mount

MIB = 1024 * 1024
TOKEN = "ya29.a-token-that-nobody-may-see"
ROUTING_TOKEN = "a-routing-token-that-nobody-may-see"
PASSWORD = "a-password-that-nobody-may-see"
UNIT = Path(__file__).parents[2] / "systemd" / "gcsmux@.service"
# A line, a screen cleared, text turned round, a line in other words.
FORGED = "\n2030-01-01T00:00:00.000Z INFO gcsmux_fs: forged\x1b[2J\u202e\u2028\x9b31m"
LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z [A-Z]+ [\w.]+: .*")
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")


# -- whom it trusts


def test_a_certificate_that_nobody_vouches_for_is_refused(service: Service, folder: Path) -> None:
    line = refusal(folder, "--anonymous", f"--endpoint={service.endpoint}")
    assert line.startswith(f"{service.endpoint} shows a certificate that is not trusted (self")


def test_a_certificate_for_another_host_is_refused(emulator: EmulatorProcess, folder: Path) -> None:
    made = certificate(folder, host="127.0.0.2")
    with tls_relay(emulator.port, made) as endpoint:
        trusting = Service(endpoint, made).environment
        line = refusal(folder, "--anonymous", f"--endpoint={endpoint}", **trusting)
    assert line.startswith(f"{endpoint} shows a certificate that is for another name")


def test_tls_is_not_given_up_where_the_server_has_none(
    emulator: EmulatorProcess, folder: Path
) -> None:
    line = refusal(folder, "--anonymous", f"--endpoint={emulator.endpoint}")
    assert line.startswith(f"{emulator.endpoint} does not speak TLS")
    assert emulator.statistics().requests == {}


def test_plaintext_to_a_server_with_tls_is_told(service: Service, folder: Path) -> None:
    line = refusal(folder, "--plaintext", "--anonymous", f"--endpoint={service.endpoint}")
    assert line.startswith(f"{service.endpoint} hangs up on plaintext")


def test_an_endpoint_is_reached_by_doing_what_its_refusal_tells(
    emulator: EmulatorProcess, service: Service, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = refusal(folder, "--anonymous", f"--endpoint={emulator.endpoint}")
    assert line.endswith(": a local server without it takes --plaintext and --anonymous.")
    options = ("--plaintext", "--anonymous", f"--endpoint={emulator.endpoint}")
    with MountProcess(emulator, folder / "plain", options):
        pass
    line = refusal(folder, "--plaintext", "--anonymous", f"--endpoint={service.endpoint}")
    assert line.endswith(": leave --plaintext out if it wants TLS.")
    line = refusal(folder, "--anonymous", f"--endpoint={service.endpoint}")
    assert "name the roots to trust in GRPC_DEFAULT_SSL_ROOTS_FILE_PATH" in line
    for name, text in service.environment.items():
        monkeypatch.setenv(name, text)
    with MountProcess(emulator, folder / "tls", ["--anonymous", f"--endpoint={service.endpoint}"]):
        pass


# -- what it keeps to itself


@pytest.fixture
def tokens() -> Iterator[TokenServer]:
    """Give everybody a token."""
    with token_server(lambda _: access_token(TOKEN)) as one:
        yield one


@as_root
def test_tokens_and_keys_are_in_no_log_no_argument_and_no_error(
    emulator: EmulatorProcess,
    service: Service,
    tokens: TokenServer,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And all of it works under the unit's limits: TLS, a signature, and writable code refused."""
    content = programs.tagged(1, 0, 3 * MIB)
    emulator.place("object", content)
    emulator.order(
        Rule(Redirect(token=ROUTING_TOKEN, handle=True), skip=1, times=2),
    )
    hidden = key_file(folder / "key.json", tokens.address)
    for name, text in service.environment.items():
        monkeypatch.setenv(name, text)
    options = (f"--endpoint={service.endpoint}", f"--key-file={folder / 'key.json'}")
    launcher = (sys.executable, "-P", limits.__file__, str(UNIT))
    with MountProcess(emulator, folder / "m", options, launcher=launcher) as mounted:
        with mounted.program() as program:
            assert program.call(programs.read_whole, f"{mounted.path}/object") == content
        arguments = Path(f"/proc/{mounted.process.pid}/cmdline").read_text()
        mounted.statistics()
    assert tokens.asked
    (assertion, *_) = re.findall(r"assertion=([\w.-]+)", tokens.asked[0])
    shown = mounted.log + arguments
    for secret in (TOKEN, ROUTING_TOKEN, "PRIVATE KEY", *hidden, *assertion.split(".")):
        assert secret not in shown
    # What a handle of the emulator holds, in whichever spelling.
    assert not re.search(r'\[\\*"my-bucket', mounted.log)


def test_what_a_token_server_answers_is_not_repeated(service: Service, folder: Path) -> None:
    hidden = "an-id-token-that-nobody-may-see"
    answer: dict[str, object] = {"id_token": hidden, "refresh_token": hidden, "expires_in": 1}
    with token_server(lambda _: answer) as server:
        key_file(folder / "key.json", server.address)
        line = refusal(
            folder,
            f"--endpoint={service.endpoint}",
            f"--key-file={folder / 'key.json'}",
            **service.environment,
        )
    assert line.startswith("the credentials cannot be renewed")
    assert hidden not in line


def test_the_password_of_a_proxy_is_not_repeated(folder: Path) -> None:
    proxy = f"http://user:{PASSWORD}@127.0.0.1:9"
    line = refusal(folder, "--anonymous", "--endpoint=10.255.255.1:443", https_proxy=proxy)
    assert PASSWORD not in line


def test_a_crash_leaves_no_core(mount: NewMount, folder: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
    try:
        crash = [sys.executable, "-c", "import os; os.kill(os.getpid(), 11)"]
        if _dumps(subprocess.Popen(crash, cwd=folder)) is False:
            pytest.skip("this machine keeps no cores")
        with mount() as mounted:
            mounted.process.send_signal(signal.SIGSEGV)
            assert _dumps(mounted.process) is False
            # So that the end of this mount is looked at as any other is.
            mounted.process.communicate()
            mounted.__enter__()
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, before)


def _dumps(process: subprocess.Popen[bytes] | subprocess.Popen[str]) -> bool:
    """Wait for a process that a signal ends; tell whether it has left a core."""
    ended = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    process.wait()
    assert ended is not None
    assert ended.si_code in (os.CLD_KILLED, os.CLD_DUMPED)
    return ended.si_code == os.CLD_DUMPED


# -- who sees it


@as_root
def test_nobody_but_the_owner_gets_in_unless_allowed(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    emulator.place("object", b"content")
    for options, code, output in (((), 2, b""), (("--allow-other",), 0, b"object\n")):
        with mount(*options) as mounted:
            listed = mounted.run_beside(*NOBODY, "ls", mounted.path)
            assert (listed.returncode, listed.stdout) == (code, output), listed.stderr
            assert mounted.run("ls").stdout == b"object\n"


@as_root
def test_what_the_process_writes_is_its_owners_alone(
    emulator: EmulatorProcess, folder: Path
) -> None:
    """Whatever the file mode mask: the log, and what stderr becomes."""
    place = folder / "detached"
    (place / "mnt").mkdir(parents=True)
    subprocess.run(
        [
            *("sh", "-c", 'umask 0 && exec "$@"', "sh"),
            *(COMMANDS / "gcsmux-mount", "--log-file", place / "log", BUCKET, place / "mnt"),
        ],
        env=os.environ | {"STORAGE_EMULATOR_HOST_GRPC": emulator.endpoint},
        cwd=place,
        check=True,
        timeout=END_SECONDS,
    )
    subprocess.run(["umount", place / "mnt"], check=True, timeout=END_SECONDS)
    wait_until(lambda: "statistics" in (place / "log").read_text(), "end")
    made = {path.name: stat.S_IMODE(path.stat().st_mode) for path in place.iterdir()}
    assert made == {"log": 0o600, "mnt": stat.S_IMODE((place / "mnt").stat().st_mode)}


# -- names and messages of strangers


def test_names_of_strangers_forge_no_line_of_the_log(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    for name in (f"a{FORGED}", f"folder{FORGED}/b"):
        emulator.write(name, b"content")
    denied = Status(StatusCode.PERMISSION_DENIED, f"no{FORGED}")
    emulator.order(Rule(denied, method="BidiReadObject", times=FOR_EVER))
    with mount(expected_warnings=("read: EACCES",)) as mounted:
        found = mounted.run("find", ".", "-type", "f", "-exec", "cat", "{}", "+")
        assert found.returncode == 1
    assert "forged" in mounted.log
    for line in mounted.log.split("\n")[:-1]:
        assert LINE.fullmatch(line)
        assert line.isprintable()


def test_a_prefix_forges_neither_log_nor_mount_table(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    prefix = f"a,b\\c {FORGED}"
    emulator.write(f"{prefix}/object", b"content")
    with mount(bucket=f"gs://{BUCKET}/{prefix}") as mounted:
        assert mounted.run("ls").stdout == b"object\n"
        table = Path("/proc/self/mountinfo").read_text()
        (line,) = [line for line in table.split("\n") if f" {mounted.path} " in line]
        assert line.isascii()
        assert line.isprintable()
        assert " - fuse.gcsmux-mount " in line
    assert all(line.isprintable() for line in mounted.log.split("\n"))


@pytest.mark.parametrize(
    "code",
    [StatusCode.PERMISSION_DENIED, StatusCode.UNAUTHENTICATED, StatusCode.DATA_LOSS],
)
def test_what_a_server_says_is_one_line_on_the_terminal(
    emulator: EmulatorProcess, folder: Path, code: StatusCode
) -> None:
    emulator.order(Rule(Status(code, f"no{FORGED}"), method="*", times=FOR_EVER))
    line = refusal(folder, STORAGE_EMULATOR_HOST_GRPC=emulator.endpoint)
    assert r"no\n2030" in line
    assert r"\x1b[2J\u202e\u2028\x9b31m" in line


def test_a_prefix_is_one_line_on_the_terminal(emulator: EmulatorProcess, folder: Path) -> None:
    emulator.order(Rule(Status(StatusCode.DATA_LOSS, "no"), method="*", times=FOR_EVER))
    refusal(folder, bucket=f"gs://{BUCKET}/x{FORGED}", STORAGE_EMULATOR_HOST_GRPC=emulator.endpoint)


def test_what_systemd_is_told_has_no_line_of_a_stranger(
    emulator: EmulatorProcess, folder: Path
) -> None:
    """STATUS= goes out with other assignments; a line of its own would be one."""
    emulator.order(Rule(Status(StatusCode.DATA_LOSS, "no\nREADY=1"), method="*", times=FOR_EVER))
    address = str(folder / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(END_SECONDS)
        refusal(folder, STORAGE_EMULATOR_HOST_GRPC=emulator.endpoint, NOTIFY_SOCKET=address)
        (told,) = manager.recv(4096).decode().split("\n")
    assert told.startswith("STATUS=")
    assert "READY" in told
