"""Tests that follow the advice in error messages literally, as root and as another user."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Protocol

import pytest

import gcsmux_fs
from gcsmux_fs.process.shell_commands import command, unmount_command

pytestmark = pytest.mark.mount

BIN = Path(sys.executable).parent


class Role(Protocol):
    """The interface of `Role` in conftest.py, for type checkers."""

    user: int
    folder: Path

    def run(self, script: str) -> str: ...


# The shell function `claim PATH` checks and claims a mount point as a start does, without mounting.
CLAIM = """
claim() { $AS "$PYTHON" -c '
import sys
from pathlib import Path
from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.fuse.mountpoint import claim_mountpoint, clear_dead_mounts
try:
    with claim_mountpoint(Path(sys.argv[1])) as claim:
        if claim.is_hidden:
            clear_dead_mounts(claim.path)
except ConfigError as error:
    sys.exit(str(error))
' "$1"; }
"""
# The shell function `dead PATH USER TYPE` leaves a dead mount: a FUSE file system of this user and
# type whose server has exited.
DEAD = """
dead() { "$PYTHON" -c '
import ctypes, os, sys
device = os.open("/dev/fuse", os.O_RDWR)
data = f"fd={device},rootmode=40000,allow_other,user_id={sys.argv[2]},group_id={sys.argv[2]}"
libc = ctypes.CDLL(None, use_errno=True)
sys.exit(libc.mount(b"dead", sys.argv[1].encode(), sys.argv[3].encode(), 0, data.encode()))
' "$1" "$2" "$3"; }
"""


def test_the_advice_for_a_missing_mount_point_creates_it(role: Role) -> None:
    output = role.run(
        f"""{CLAIM}
        follow claim "$MNT/it's my data/here"
        cd "$MNT/it's my data/here"
        follow claim "$MNT/one\nline $(printf 'x\ny')"
        """
    )
    assert len(re.findall("create it first by `mkdir -p [\"'/$].*`.$", output, re.MULTILINE)) == 2


def test_a_mount_point_that_a_user_cannot_create_is_reported(role: Role) -> None:
    output = role.run(
        f"""{CLAIM}
        mkdir -m 755 "$FOLDER/roots"
        if [ -n "$AS" ]; then refused claim "$FOLDER/roots/mnt"; refused claim "$FOLDER/roots"
        else follow claim "$FOLDER/roots/mnt"; fi
        """
    )
    if role.user:
        assert "this user cannot create it: name a directory of this user." in output
        assert "is not writable for this user, and a user can mount only on a writable" in output


def test_the_advice_for_an_existing_mount_unmounts_it(role: Role) -> None:
    output = role.run(
        """
        $AS gcsmux-mount my-bucket "$MNT" && follow $AS gcsmux-mount gs://my-bucket/dir "$MNT"
        $AS cat "$MNT/hello"
        # Another user cannot mount on top of this mount. Root is told how to unmount it.
        refused $OTHER gcsmux-mount my-bucket "$MNT"
        [ -n "$OTHER" ] || { obey && AS="" && refused cat "$MNT/hello"; }
        """
    )
    path = role.folder / "mnt"
    unmount = f"`fusermount3 -u {path}`" if role.user else f"`umount {path}`"
    assert f"my-bucket is mounted on {path} already: unmount it first by {unmount}.\n" in output
    assert "\nhello\n" in output
    if role.user:
        assert f"unmount it first by `umount {path}`." in output
    else:
        assert f"gs://my-bucket/dir is mounted on {path} already, by another user: name" in output


def test_the_advice_for_a_dead_mount_removes_it(role: Role) -> None:
    output = role.run(
        f"""{CLAIM}{DEAD}
        for owner in 0 65534; do
          dead "$MNT" $owner fuse.sshfs && follow claim "$MNT"
          dead "$MNT" $owner fuse.sshfs && follow claim "$MNT/below"
          rmdir "$MNT/below"
        done
        # A dead mount of gcsmux-mount is removed without a message if the user may unmount it.
        dead "$MNT" 0 fuse.gcsmux-mount
        if [ -n "$AS" ]; then follow claim "$MNT"; else claim "$MNT"; fi
        """
    )
    path = role.folder / "mnt"
    # "it" in these messages is the dead mount. A user can remove only mounts of the same user.
    if role.user:
        assert output.count(f"have root remove it by `umount -l {path}`.") == 2
        assert output.count(f"remove it first by `fusermount3 -u -z {path}`.") == 2
        assert f"cannot be removed by this user: have root run `umount -l {path}`." in output
    else:
        assert output.count(f"remove it first by `umount -l {path}`.") == 4


def test_the_advice_for_a_hung_mount_removes_it(role: Role) -> None:
    output = role.run(
        """
        $AS gcsmux-mount -f my-bucket "$MNT" & pid=$!
        trap 'kill -KILL $pid' EXIT
        until $AS ls "$MNT" | grep -q dir; do sleep 0.05; done
        kill -STOP $pid
        refused $AS "$PYTHON" -c '
import errno, os, sys
from gcsmux_fs.fuse.mountinfo import mount_table
from gcsmux_fs.fuse.mountpoint import refusal
from gcsmux_fs.fuse.observer import Observation
seen = Observation(sys.argv[1], errno=errno.ETIMEDOUT)
sys.exit(refusal(seen, mount_table(), user=os.geteuid()))
' "$MNT/below"
        obey; ! grep " $MNT " /proc/self/mountinfo; kill -CONT $pid; wait; trap - EXIT
        """
    )
    unmount = "fusermount3 -u -z" if role.user else "umount -l"
    assert (
        f"below does not answer: remove the mount first by `{unmount} {role.folder}/mnt`" in output
    )


def test_the_advice_for_a_machine_without_fuse_makes_mounting_work(role: Role) -> None:
    """Follow the advice to run `modprobe fuse`, with a script as modprobe that adds /dev/fuse."""
    output = role.run(
        """
        printf '#!/bin/sh\n[ "$*" = fuse ] && mount --bind %s /dev/fuse\n' "$FOLDER/private/fuse" \
          >/usr/local/bin/modprobe
        chmod 755 /usr/local/bin/modprobe
        mkdir -m 755 dev && mount -t tmpfs none dev && mknod -m 600 dev/fuse c 10 229
        mknod -m 666 dev/null c 1 3; mknod -m 666 dev/urandom c 1 9
        mount --rbind dev /dev
        if [ -n "$AS" ]; then follow $AS gcsmux-mount my-bucket "$MNT"; fusermount3 -u "$MNT"; fi
        umount /dev/fuse 2>/dev/null; rm /dev/fuse
        refused $AS gcsmux-mount my-bucket "$MNT"
        touch /dev/fuse; obey; $AS gcsmux-mount my-bucket "$MNT" && $AS cat "$MNT/dir/hello"
        umount "$MNT"
        ulimit -S -n 40
        refused $AS gcsmux-mount my-bucket "$MNT"
        eval "$(advised)"; $AS gcsmux-mount my-bucket "$MNT"
        """
    )
    run = "have root run" if role.user else "run"
    assert f"there is no /dev/fuse: {run} `modprobe fuse`, or start the container" in output
    assert "raise the limit by `ulimit -n 1024`, or by LimitNOFILE=1024 in a unit." in output
    if role.user:
        assert "mount as root, or have root run `chmod 666 /dev/fuse`." in output
    assert "\nhello\n" in output


def test_the_advice_for_allow_other_lets_other_users_in(role: Role) -> None:
    output = role.run(
        """
        for option in allow_other allow_root; do
          if [ -n "$AS" ]; then refused $AS gcsmux-mount -o $option my-bucket "$MNT"; fi
          echo user_allow_other >>/etc/fuse.conf
          $AS gcsmux-mount -o $option my-bucket "$MNT" && cat "$MNT/dir/hello" && umount "$MNT"
          : >/etc/fuse.conf
        done
        """
    )
    assert output.count("hello\n") == 2
    sentence = "leave them out, or have root add the line user_allow_other to /etc/fuse.conf."
    assert output.count(sentence) == (2 if role.user else 0)


def test_the_advice_for_a_remount_changes_the_options(role: Role) -> None:
    """Follow the advice to unmount and mount again, after a remount by mount(8) or the command."""
    output = role.run(
        """
        $AS gcsmux-mount my-bucket "$MNT"
        refused mount -o remount,noexec "$MNT"
        refused $AS gcsmux-mount -o remount my-bucket "$MNT"
        obey && $AS gcsmux-mount -o noexec my-bucket "$MNT" && grep " $MNT " /proc/self/mountinfo
        """
    )
    assert output.count("gcsmux-mount: the options of a mount cannot be changed: unmount it") == 2
    assert "not found" not in output
    assert re.search("noexec.* - fuse.gcsmux-mount my-bucket ", output)


# Each row: wrong arguments, the advice in the error message, and the arguments that follow the
# advice.
FOLLOWED = [
    ("b-1 /mnt --metdata-ttl 3s", "did you mean --metadata-ttl?", "b-1 /mnt --metadata-ttl 3s"),
    ("b-1 /mnt -memory 1GiB", "did you mean --memory?", "b-1 /mnt --memory 1GiB"),
    ("b-1 /mnt -o alow_other", "did you mean allow_other?", "b-1 /mnt -o allow_other"),
    ("b-1 /mnt -o onlydir=a", "did you mean only_dir?", "b-1 /mnt -o only_dir=a"),
    ("b-1 /mnt -o memory", "write -o memory=VALUE", "b-1 /mnt -o memory=1GiB"),
    ("b-1 /mnt -o anonymous=1", "write -o anonymous alone", "b-1 /mnt -o anonymous"),
    ("b-1 /mnt -o max_read=65536", "leave it out", "b-1 /mnt --memory 1GiB"),
    (
        "b-1 /mnt -o umask=022",
        "write -o file_mode=644,dir_mode=755 instead",
        "b-1 /mnt -o file_mode=644,dir_mode=755",
    ),
    ("b-1 /mnt -o dmask=022", "write -o dir_mode=755 instead", "b-1 /mnt -o dir_mode=755"),
    ("b-1 /mnt -o entry_timeout=1", "write -o metadata_ttl=60s", "b-1 /mnt -o metadata_ttl=60s"),
    ("b-1 /mnt -o negative_timeout=1", "write -o negative_ttl=5s", "b-1 /mnt -o negative_ttl=5s"),
    ("b-1 /mnt -o debug", "write -o log_level=debug instead", "b-1 /mnt -o log_level=debug"),
    (
        "b-1 /mnt -o allow_root,allow_other",
        "leave allow_root out",
        "b-1 /mnt -o allow_other",
    ),
    ("b-1 /mnt --memory 12x", "such as 64MiB", "b-1 /mnt --memory 64MiB"),
    ("b-1 /mnt --memory 1KiB", "write at least 16MiB", "b-1 /mnt --memory 16MiB"),
    (
        "b-1 /mnt --read-ahead 5GiB",
        "write at most 4GiB",
        "b-1 /mnt --read-ahead 4GiB --memory 4GiB",
    ),
    (
        "b-1 /mnt --read-ahead 1GiB",
        "lower the first or raise the second",
        "b-1 /mnt --read-ahead 1GiB --memory 1GiB",
    ),
    ("b-1 /mnt --metadata-ttl 60", "write 60s or 60ms", "b-1 /mnt --metadata-ttl 60s"),
    ("b-1 /mnt --metadata-ttl 60", "write 60s or 60ms", "b-1 /mnt --metadata-ttl 60ms"),
    ("b-1 /mnt --negative-ttl x", "such as 1m30s", "b-1 /mnt --negative-ttl 1m30s"),
    (
        "b-1 /mnt --negative-ttl x",
        "or write minimal or indefinite",
        "b-1 /mnt --negative-ttl indefinite",
    ),
    ("b-1 /mnt --read-timeout 0", "write a duration from 1s to 1h", "b-1 /mnt --read-timeout 1h"),
    ("b-1 /mnt --read-timeout 2h", "write a duration from 1s to 1h", "b-1 /mnt --read-timeout 1s"),
    ("b-1 /mnt --file-mode 999", "such as 640", "b-1 /mnt --file-mode 640"),
    ("b-1 /mnt --uid nobody-here", "write a user ID or a user name", "b-1 /mnt --uid nobody"),
    ("b-1 /mnt --gid nobody-here", "write a group ID or a group name", "b-1 /mnt --gid 65534"),
    (
        "b-1 /mnt --uid 4294967295",
        "write a number from 0 to 4294967294",
        "b-1 /mnt --uid 4294967294",
    ),
    ("b-1 /mnt --billing-project a/b", "such as my-project-1", "b-1 /mnt --billing-project my-p"),
    ("b-1 /mnt --endpoint localhost", "localhost:9000", "b-1 /mnt --endpoint localhost:9000"),
    ("b-1 /mnt --endpoint h:99999", "write a port from 1 to 65535", "b-1 /mnt --endpoint h:65535"),
    (
        "b-1 /mnt --endpoint h:1 --plaintext",
        "add --anonymous, or leave --plaintext out",
        "b-1 /mnt --endpoint h:1 --plaintext --anonymous",
    ),
    (
        "b-1 /mnt --endpoint h:1 --plaintext",
        "add --anonymous, or leave --plaintext out",
        "b-1 /mnt --endpoint h:1",
    ),
    (
        "b-1 /mnt --anonymous --key-file /etc/passwd",
        "leave one of them out",
        "b-1 /mnt --key-file /etc/passwd",
    ),
    ("b-1 /mnt --log-file /mnt/log", "name a file elsewhere", "b-1 /mnt --log-file /log"),
    ("b-1/dir /mnt", "write gs://b-1/dir, or the bucket's name alone", "gs://b-1/dir /mnt"),
    ("gs:/b-1/dir /mnt", "write gs://b-1/dir", "gs://b-1/dir /mnt"),
    ("s3://b-1 /mnt", "write name or gs://name", "gs://b-1 /mnt"),
    ("b-1", "write gcsmux-mount [OPTIONS] BUCKET MOUNTPOINT", "--anonymous b-1 /mnt"),
    ("b-1 ", "MOUNTPOINT is an empty text: write the path of a directory", "b-1 /mnt"),
]
FOLLOWED_BY_USERS = [
    (
        "b-1 /mnt --kernel-read-ahead 1MiB",
        "only root can set --kernel-read-ahead: leave it out",
        "b-1 /mnt",
    ),
]
# A program that parses the wrong and the right arguments of each row, without a mount. The program
# prints the exit code and the messages for both.
PARSE = """
import json, sys
from gcsmux_fs.commands import mount
def parse(arguments):
    messages = []
    mount.print_failure = lambda _, text: messages.append(text)
    mount.start = lambda *_, **__: ""
    return [mount.run(arguments.split(" ")), *messages]
print(json.dumps([[parse(wrong), parse(right)] for wrong, _, right in json.load(sys.stdin)]))
"""


def test_the_advice_for_wrong_arguments_gives_valid_ones(role: Role) -> None:
    rows = FOLLOWED + (FOLLOWED_BY_USERS if role.user else [])
    (role.folder / "rows").write_text(json.dumps(rows))
    (role.folder / "parse").write_text(PARSE)
    output = role.run('unset STORAGE_EMULATOR_HOST_GRPC; $AS "$PYTHON" parse <rows')
    for (_, advice, _), (wrong, right) in zip(rows, json.loads(output), strict=True):
        assert wrong[0] == 2
        assert advice in wrong[1]
        assert right == [0]


# Mount options of the kernel, of libfuse and its high-level API, and of other FUSE file systems.
# fmt: off
OPTIONS_OF_FUSE = [
    "ac_attr_timeout=1", "allow_other", "allow_root", "async_dio", "async_read", "atomic_o_trunc",
    "attr_timeout=1", "auto_cache", "auto_unmount", "big_writes", "blkdev", "blksize=4096",
    "clone_fd", "congestion_threshold=9", "context=a:b:c:d", "debug", "default_permissions",
    "defcontext=a:b:c:d", "direct_io", "dmask=022", "entry_timeout=1", "fd=3", "fmask=022",
    "fscontext=a:b:c:d", "fsname=x", "gid=0", "group_id=0", "hard_remove", "intr",
    "intr_signal=10", "kernel_cache", "large_read", "max_background=9", "max_idle_threads=9",
    "max_read=65536", "max_readahead=9", "max_threads=9", "max_write=9", "modules=subdir",
    "negative_timeout=1", "no_remote_lock", "no_splice_read", "noatime", "noauto_cache", "nodev",
    "noexec", "noforget", "nonempty", "nosuid", "nosymfollow", "readdir_ino", "remember=1", "ro",
    "rootcontext=a:b:c:d", "rootmode=40000", "rw", "splice_read", "subtype=x", "suid", "sync_read",
    "uid=0", "umask=022", "use_ino", "user_id=0", "writeback_cache",
]
# fmt: on


def test_every_option_of_fuse_works_or_is_refused_with_working_advice(role: Role) -> None:
    rows = [(f"b-1 /mnt -o {option}", "", "b-1 /mnt") for option in OPTIONS_OF_FUSE]
    (role.folder / "rows").write_text(json.dumps(rows))
    (role.folder / "parse").write_text(PARSE)
    output = role.run('unset STORAGE_EMULATOR_HOST_GRPC; $AS "$PYTHON" parse <rows')
    passed = []
    advised = []
    for option, (wrong, _) in zip(OPTIONS_OF_FUSE, json.loads(output), strict=True):
        if wrong == [0]:
            passed.append(option)
            continue
        assert "did you mean" not in wrong[1]
        if not wrong[1].endswith(": leave it out."):
            (advice,) = re.findall(": write -o (.*) instead.", wrong[1])
            advised.append(advice)
    # Use the accepted options in two real mounts. allow_root is in the second mount, because it
    # excludes allow_other. auto_unmount is in the last mount, because auto_unmount unmounts the
    # path after a delay, and would also remove a later mount on the same path.
    last = {"allow_root", "auto_unmount"}
    together = ",".join([*(option for option in passed if option not in last), *advised])
    output = role.run(
        f"""
        echo user_allow_other >>/etc/fuse.conf
        for options in {together} allow_root,auto_unmount; do
          $AS gcsmux-mount -o $options my-bucket "$MNT" && $AS cat "$MNT/dir/hello"
          umount "$MNT"
        done
        """
    )
    assert output == "hello\nhello\n"
    assert last | {"default_permissions", "noatime", "noexec"} <= {*passed}


def test_the_warning_names_an_object_or_a_leading_slash(
    mountpoint: Path, environment: dict[str, str]
) -> None:
    for arguments, warning in (
        (["gs://my-bucket/dir/hello/"], "gs://my-bucket/dir/hello is an object, not a folder"),
        (["--only-dir", "/", "my-bucket"], "no object in gs://my-bucket has a name that begins"),
    ):
        done = subprocess.run(
            [BIN / "gcsmux-mount", *arguments, mountpoint],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr.startswith(f"gcsmux-mount: {warning}")
        subprocess.run(["umount", mountpoint], check=True)


@pytest.mark.parametrize(
    "path", ["/mnt/data", "/mnt/my data", "/mnt/it's", "/mnt/a\nb\\'\x1b", "/mnt/\udcff-ü-$x."]
)
def test_a_shell_reads_a_quoted_command_back_as_the_same_words(path: str) -> None:
    line = command("printf", "%s", path)
    assert line.isprintable()
    done = subprocess.run(["bash", "-c", line.strip("`")], capture_output=True, check=True)
    assert os.fsdecode(done.stdout) == path


def test_an_unmount_command_is_only_for_users_who_may_unmount() -> None:
    assert unmount_command("/mnt", user=0, owner=None) == "`umount /mnt`"
    assert unmount_command("/mnt", user=0, owner=7, lazily=True) == "`umount -l /mnt`"
    assert unmount_command("/mnt", user=7, owner=7) == "`fusermount3 -u /mnt`"
    assert unmount_command("/mnt", user=7, owner=8) is None
    assert unmount_command("/mnt", user=7, owner=None) is None


def test_every_command_in_a_message_is_made_by_the_function_command() -> None:
    """Only `command` quotes each word and adds the backquotes by which tests find commands."""
    words = re.compile(r"\b(umount|fusermount3|mkdir|modprobe|chmod|ulimit) [-/{0-9]")
    unmarked = []
    for module in Path(gcsmux_fs.__file__).parent.rglob("*.py"):
        tree = ast.parse(module.read_text())
        docstrings = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        unmarked += [
            f"{module.name}: {node.value}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in docstrings
            and words.search(node.value)
        ]
    assert unmarked == []


def test_doctor_examines_the_rest_for_a_user_without_access_to_fuse(role: Role) -> None:
    if role.user == 0:
        pytest.skip("root may open every device")
    output = role.run('chmod 600 /dev/fuse; $AS "$2/gcsmux" doctor my-bucket || echo "code $?"')
    lines = output.splitlines()
    assert "failure FUSE          /dev/fuse cannot be opened (Permission denied)" in lines
    assert f"{'':22}-> mount as root, or have root run `chmod 666 /dev/fuse`" in lines
    # The other checks do not depend on FUSE.
    assert any(line.startswith("ok      listing       1 object,") for line in lines)
    assert lines[-1] == "code 1"
