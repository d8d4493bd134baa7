"""Security of mounts: TLS, secrets in logs, other users, and malicious names and messages."""

from __future__ import annotations

import os
import re
import resource
import signal
import socket
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.emulator.faults import Redirect, Status
from gcsmux_fs.emulator.injection.rules import FOR_EVER, Rule
from gcsmux_fs.model.errors import StatusCode
from tests.mount import limits
from tests.mount.refused import refusal
from tests.support import programs
from tests.support.emulator_process import COMMANDS
from tests.support.harness import BUCKET, END_SECONDS, MountProcess, wait_until
from tests.support.sizes import MIB
from tests.support.tls import Service, access_token, certificate, key_file, tls_relay, token_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.harness import EmulatorProcess, NewMount
    from tests.support.tls import TokenServer

pytestmark = pytest.mark.mount

TOKEN = "ya29.a-token-that-no-log-may-contain"
ROUTING_TOKEN = "a-routing-token-that-no-log-may-contain"
PASSWORD = "a-password-that-no-log-may-contain"
UNIT = Path(__file__).parents[2] / "systemd" / "gcsmux@.service"
# A text that tries to forge a log line. It contains a line end, terminal escapes, a right-to-left
# mark and a line separator.
FORGED = "\n2030-01-01T00:00:00.000Z INFO gcsmux_fs: forged\x1b[2J\u202e\u2028\x9b31m"
LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z [A-Z]+ [\w.]+: .*")
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


# -- TLS


@pytest.mark.long
def test_a_refused_start_names_the_options_that_make_it_work(
    emulator: EmulatorProcess, service: Service, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other_certificate = certificate(folder, name="other", host="127.0.0.2")
    proxy = f"http://user:{PASSWORD}@127.0.0.1:9"
    with tls_relay(emulator.port, other_certificate) as other:
        trusted = Service(other, other_certificate).environment
        starts: dict[str, tuple[list[str], dict[str, str]]] = {
            "untrusted": (["--anonymous", f"--endpoint={service.endpoint}"], {}),
            "other host": (["--anonymous", f"--endpoint={other}"], trusted),
            "no TLS": (["--anonymous", f"--endpoint={emulator.endpoint}"], {}),
            "TLS": (["--plaintext", "--anonymous", f"--endpoint={service.endpoint}"], {}),
            "proxy": (["--anonymous", "--endpoint=10.255.255.1:443"], {"https_proxy": proxy}),
        }
        # Each start retries for 6 s before it fails. So all starts run at the same time.
        with ThreadPoolExecutor(len(starts)) as threads:
            running = {
                name: threads.submit(refusal, folder, *options, **environment)
                for name, (options, environment) in starts.items()
            }
            lines = {name: start.result() for name, start in running.items()}

    line = lines["untrusted"]
    assert line.startswith(f"{service.endpoint} shows a certificate that is not trusted (self")
    assert "name the file of its certificate authority with --ca-file" in line
    line = lines["other host"]
    assert line.startswith(f"{other} shows a certificate that is for another name")
    line = lines["no TLS"]
    assert line.startswith(f"{emulator.endpoint} does not speak TLS")
    assert line.endswith(": add --plaintext and --anonymous for a local server without TLS.")
    line = lines["TLS"]
    assert line.startswith(f"{service.endpoint} closes plaintext connections")
    assert line.endswith(": remove --plaintext if the server expects TLS.")
    assert PASSWORD not in lines["proxy"]
    # No start has sent a request without TLS.
    assert emulator.statistics().requests == {}

    options = ["--plaintext", "--anonymous", f"--endpoint={emulator.endpoint}"]
    with MountProcess(emulator, folder / "plain", options):
        pass
    for name, text in service.environment.items():
        monkeypatch.setenv(name, text)
    with MountProcess(emulator, folder / "tls", ["--anonymous", f"--endpoint={service.endpoint}"]):
        pass


# -- secrets


@pytest.fixture
def tokens() -> Iterator[TokenServer]:
    """A token server that answers every request with the same token."""
    with token_server(lambda _: access_token(TOKEN)) as one:
        yield one


@as_root
def test_tokens_and_keys_appear_in_no_log_and_no_argument(
    emulator: EmulatorProcess,
    service: Service,
    tokens: TokenServer,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The mount runs with the limits of the systemd unit, which forbid writable code.

    So the test also shows that TLS and signatures work with these limits.
    """
    content = programs.tagged(1, 0, 3 * MIB)
    emulator.place("object", content)
    emulator.inject(
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
    # A read handle of the emulator contains the bucket name in JSON. The log must not contain a
    # read handle.
    assert not re.search(r'\[\\*"my-bucket', mounted.log)


def test_the_answer_of_a_token_server_is_not_printed(service: Service, folder: Path) -> None:
    hidden = "an-id-token-that-no-log-may-contain"
    answer: dict[str, object] = {"id_token": hidden, "refresh_token": hidden, "expires_in": 1}
    with token_server(lambda _: answer) as server:
        key_file(folder / "key.json", server.address)
        line = refusal(
            folder,
            f"--endpoint={service.endpoint}",
            f"--key-file={folder / 'key.json'}",
            **service.environment,
        )
    assert line.startswith("the token server refuses service account reader@")
    assert hidden not in line


def test_a_crash_leaves_no_core(mount: NewMount, folder: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
    try:
        crash = [sys.executable, "-c", "import os; os.kill(os.getpid(), 11)"]
        if _dumps(subprocess.Popen(crash, cwd=folder)) is False:
            pytest.skip("this machine keeps no core dumps")
        with mount() as mounted:
            mounted.process.send_signal(signal.SIGSEGV)
            assert _dumps(mounted.process) is False
            # Start the mount again, because at the end of the block the mount must run.
            mounted.process.communicate()
            mounted.__enter__()
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, before)


def _dumps(process: subprocess.Popen[bytes] | subprocess.Popen[str]) -> bool:
    """Wait for a process that a signal ends; return whether the process has left a core dump."""
    ended = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    process.wait()
    assert ended is not None
    assert ended.si_code in (os.CLD_KILLED, os.CLD_DUMPED)
    return ended.si_code == os.CLD_DUMPED


# -- other users


@as_root
def test_only_the_owner_can_use_a_mount_without_allow_other(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    emulator.place("object", b"content")
    for options, code, output in (((), 2, b""), (("--allow-other",), 0, b"object\n")):
        with mount(*options) as mounted:
            listed = mounted.run_beside(*NOBODY, "ls", mounted.path)
            assert (listed.returncode, listed.stdout) == (code, output), listed.stderr
            assert mounted.run("ls").stdout == b"object\n"


@as_root
def test_files_that_the_mount_writes_are_private(emulator: EmulatorProcess, folder: Path) -> None:
    """Only the owner can read the log and the file that replaces stderr, even with umask 0."""
    place = folder / "detached"
    (place / "mnt").mkdir(parents=True)
    subprocess.run(
        [
            *("sh", "-c", 'umask 0 && exec "$@"', "sh"),
            *(
                COMMANDS / "gcsmux-mount",
                "--log-file",
                place / "log",
                emulator.bucket_name,
                place / "mnt",
            ),
        ],
        env=os.environ | {"STORAGE_EMULATOR_HOST_GRPC": emulator.endpoint},
        cwd=place,
        check=True,
        timeout=END_SECONDS,
    )
    subprocess.run(["umount", place / "mnt"], check=True, timeout=END_SECONDS)
    wait_until(lambda: "statistics" in (place / "log").read_text(), "the mount logs its metrics")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in place.iterdir()}
    assert modes == {"log": 0o600, "mnt": stat.S_IMODE((place / "mnt").stat().st_mode)}


# -- malicious names and messages


def test_object_names_and_messages_forge_no_log_line(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    for name in (f"a{FORGED}", f"folder{FORGED}/b"):
        emulator.write(name, b"content")
    denied = Status(StatusCode.PERMISSION_DENIED, f"no{FORGED}")
    emulator.inject(Rule(denied, method="BidiReadObject", times=FOR_EVER))
    with mount(expected_warnings=("read: EACCES",)) as mounted:
        result = mounted.run("find", ".", "-type", "f", "-exec", "cat", "{}", "+")
        assert result.returncode == 1
    assert "forged" in mounted.log
    for line in mounted.log.split("\n")[:-1]:
        assert LINE.fullmatch(line)
        assert line.isprintable()


def test_a_prefix_forges_no_line_of_the_log_or_mount_table(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    prefix = f"a,b\\c {FORGED}"
    emulator.write(f"{prefix}/object", b"content")
    with mount(bucket=f"gs://{emulator.bucket_name}/{prefix}") as mounted:
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
def test_a_server_message_is_one_line_on_the_terminal(
    emulator: EmulatorProcess, folder: Path, code: StatusCode
) -> None:
    emulator.inject(Rule(Status(code, f"no{FORGED}"), method="*", times=FOR_EVER))
    line = refusal(folder, STORAGE_EMULATOR_HOST_GRPC=emulator.endpoint)
    assert r"no\n2030" in line
    assert r"\x1b[2J\u202e\u2028\x9b31m" in line


def test_a_prefix_is_one_line_on_the_terminal(emulator: EmulatorProcess, folder: Path) -> None:
    emulator.inject(Rule(Status(StatusCode.DATA_LOSS, "no"), method="*", times=FOR_EVER))
    refusal(folder, bucket=f"gs://{BUCKET}/x{FORGED}", STORAGE_EMULATOR_HOST_GRPC=emulator.endpoint)


def test_a_server_message_adds_no_line_to_the_systemd_notification(
    emulator: EmulatorProcess, folder: Path
) -> None:
    """A message of the server must not add a line to the notification for systemd.

    systemd would take a line such as READY=1 for a statement of the mount.
    """
    emulator.inject(Rule(Status(StatusCode.DATA_LOSS, "no\nREADY=1"), method="*", times=FOR_EVER))
    address = str(folder / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(END_SECONDS)
        refusal(folder, STORAGE_EMULATOR_HOST_GRPC=emulator.endpoint, NOTIFY_SOCKET=address)
        lines: list[str] = []
        while not any("READY" in line for line in lines):
            lines += manager.recv(4096).decode().split("\n")
    (line,) = [line for line in lines if "READY" in line]
    assert line.startswith("STATUS=")
