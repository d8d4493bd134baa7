"""What a sentence tells to do is done to the letter, and helps: as root and as another user."""

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
from gcsmux_fs.settings.settings import Settings, empty_folder_remark, parse_bucket

pytestmark = pytest.mark.mount

BIN = Path(sys.executable).parent


class Role(Protocol):
    """As conftest has it."""

    user: int
    folder: Path

    def run(self, script: str) -> str: ...


# Claims the mount point as a start does, and stops before there is a mount.
CLAIM = """
claim() { $AS "$PYTHON" -c '
import sys
from pathlib import Path
from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.fuse.mountpoint import claim_mountpoint
try:
    claim_mountpoint(Path(sys.argv[1]))
except ConfigError as error:
    sys.exit(str(error))
' "$1"; }
"""
# Mounts a FUSE file system of another program, whose server has died: dead PATH USER.
DEAD = """
dead() { "$PYTHON" -c '
import ctypes, os, sys
device = os.open("/dev/fuse", os.O_RDWR)
data = f"fd={device},rootmode=40000,allow_other,user_id={sys.argv[2]},group_id={sys.argv[2]}"
libc = ctypes.CDLL(None, use_errno=True)
sys.exit(libc.mount(b"dead", sys.argv[1].encode(), sys.argv[3].encode(), 0, data.encode()))
' "$1" "$2" "$3"; }
"""


def test_a_missing_mount_point_is_created(role: Role) -> None:
    told = role.run(
        f"""{CLAIM}
        follow claim "$MNT/it's my data/here"
        cd "$MNT/it's my data/here"
        follow claim "$MNT/one\nline $(printf 'x\ny')"
        """
    )
    assert len(re.findall("create it first by `mkdir -p [\"'/$].*`.$", told, re.MULTILINE)) == 2


def test_a_mount_point_that_a_user_cannot_create_is_told(role: Role) -> None:
    told = role.run(
        f"""{CLAIM}
        mkdir -m 755 "$FOLDER/roots"
        if [ -n "$AS" ]; then refused claim "$FOLDER/roots/mnt"; refused claim "$FOLDER/roots"
        else follow claim "$FOLDER/roots/mnt"; fi
        """
    )
    if role.user:
        assert "this user cannot create it: name a directory of this user." in told
        assert "is not writable for this user, and a user can mount only on a writable" in told


def test_what_is_mounted_already_is_unmounted(role: Role) -> None:
    told = role.run(
        """
        $AS gcsmux-mount my-bucket "$MNT" && follow $AS gcsmux-mount gs://my-bucket/dir "$MNT"
        $AS cat "$MNT/hello"
        # Whoever else finds it there: root can unmount it, another user cannot.
        refused $OTHER gcsmux-mount my-bucket "$MNT"
        [ -n "$OTHER" ] || { obey && AS="" && refused cat "$MNT/hello"; }
        """
    )
    path = role.folder / "mnt"
    unmount = f"`fusermount3 -u {path}`" if role.user else f"`umount {path}`"
    assert f"my-bucket is mounted on {path} already: unmount it first by {unmount}.\n" in told
    assert "\nhello\n" in told
    if role.user:
        assert f"unmount it first by `umount {path}`." in told
    else:
        assert f"gs://my-bucket/dir is mounted on {path} already, by another user: name" in told


def test_a_dead_mount_is_removed_by_whoever_may(role: Role) -> None:
    told = role.run(
        f"""{CLAIM}{DEAD}
        for owner in 0 65534; do
          dead "$MNT" $owner fuse.sshfs && follow claim "$MNT"
          dead "$MNT" $owner fuse.sshfs && follow claim "$MNT/below"
          rmdir "$MNT/below"
        done
        # One of ours is removed without a word by those who may.
        dead "$MNT" 0 fuse.gcsmux-mount
        if [ -n "$AS" ]; then follow claim "$MNT"; else claim "$MNT"; fi
        """
    )
    path = role.folder / "mnt"
    if role.user:
        assert told.count(f"have root remove it by `umount -l {path}`.") == 2
        assert told.count(f"remove it first by `fusermount3 -u -z {path}`.") == 2
        assert f"cannot be removed by this user: have root run `umount -l {path}`." in told
    else:
        assert told.count(f"remove it first by `umount -l {path}`.") == 4


def test_a_mount_that_hangs_is_removed(role: Role) -> None:
    told = role.run(
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
    assert f"below does not answer: remove the mount first by `{unmount} {role.folder}/mnt`" in told


def test_a_machine_is_made_able_to_mount(role: Role) -> None:
    """`modprobe` is played: there is nothing to load here."""
    told = role.run(
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
    assert f"there is no /dev/fuse: {run} `modprobe fuse`, or start the container" in told
    assert "raise the limit by `ulimit -n 1024`, or by LimitNOFILE=1024 in a unit." in told
    if role.user:
        assert "mount as root, or have root run `chmod 666 /dev/fuse`." in told
    assert "\nhello\n" in told


def test_others_are_let_in_when_root_says_so(role: Role) -> None:
    told = role.run(
        """
        for option in allow_other allow_root; do
          if [ -n "$AS" ]; then refused $AS gcsmux-mount -o $option my-bucket "$MNT"; fi
          echo user_allow_other >>/etc/fuse.conf
          $AS gcsmux-mount -o $option my-bucket "$MNT" && cat "$MNT/dir/hello" && umount "$MNT"
          : >/etc/fuse.conf
        done
        """
    )
    assert told.count("hello\n") == 2
    sentence = "leave them out, or have root add the line user_allow_other to /etc/fuse.conf."
    assert told.count(sentence) == (2 if role.user else 0)


def test_a_remount_is_refused_with_the_way_to_new_options(role: Role) -> None:
    """mount(8) finds our command by the type in the mount table."""
    told = role.run(
        """
        $AS gcsmux-mount my-bucket "$MNT"
        refused mount -o remount,noexec "$MNT"
        refused $AS gcsmux-mount -o remount my-bucket "$MNT"
        obey && $AS gcsmux-mount -o noexec my-bucket "$MNT" && grep " $MNT " /proc/self/mountinfo
        """
    )
    assert told.count("gcsmux-mount: the options of a mount cannot be changed: unmount it") == 2
    assert "not found" not in told
    assert re.search("noexec.* - fuse.gcsmux-mount my-bucket ", told)


# Wrong arguments, what the sentence tells to do, and the arguments of whoever has done that.
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
    ("b-1 /mnt --memory 1KiB", "16MiB at least", "b-1 /mnt --memory 16MiB"),
    ("b-1 /mnt --read-ahead 5GiB", "4GiB at most", "b-1 /mnt --read-ahead 4GiB --memory 4GiB"),
    (
        "b-1 /mnt --read-ahead 1GiB",
        "lower the first or raise the second",
        "b-1 /mnt --read-ahead 1GiB --memory 1GiB",
    ),
    ("b-1 /mnt --metadata-ttl 60", "write 60s or 60ms", "b-1 /mnt --metadata-ttl 60s"),
    ("b-1 /mnt --metadata-ttl 60", "write 60s or 60ms", "b-1 /mnt --metadata-ttl 60ms"),
    ("b-1 /mnt --negative-ttl x", "such as 1m30s", "b-1 /mnt --negative-ttl 1m30s"),
    ("b-1 /mnt --negative-ttl x", "minimal and indefinite", "b-1 /mnt --negative-ttl indefinite"),
    ("b-1 /mnt --read-timeout 0", "it goes from 1s to 1h", "b-1 /mnt --read-timeout 1h"),
    ("b-1 /mnt --read-timeout 2h", "it goes from 1s to 1h", "b-1 /mnt --read-timeout 1s"),
    ("b-1 /mnt --file-mode 999", "such as 640", "b-1 /mnt --file-mode 640"),
    ("b-1 /mnt --uid nobody-here", "write a number or a user's name", "b-1 /mnt --uid nobody"),
    ("b-1 /mnt --gid nobody-here", "write a number or a group's name", "b-1 /mnt --gid 65534"),
    ("b-1 /mnt --uid 4294967295", "0 to 4294967294", "b-1 /mnt --uid 4294967294"),
    ("b-1 /mnt --billing-project a/b", "such as my-project-1", "b-1 /mnt --billing-project my-p"),
    ("b-1 /mnt --endpoint localhost", "localhost:9000", "b-1 /mnt --endpoint localhost:9000"),
    ("b-1 /mnt --endpoint h:99999", "ports go from 1 to 65535", "b-1 /mnt --endpoint h:65535"),
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
    ("b-1 /mnt --log-file /mnt/log", "name another", "b-1 /mnt --log-file /log"),
    ("b-1/dir /mnt", "write gs://b-1/dir, or a bucket's name alone", "gs://b-1/dir /mnt"),
    ("gs:/b-1/dir /mnt", "write gs://b-1/dir", "gs://b-1/dir /mnt"),
    ("s3://b-1 /mnt", "write name, or gs://name", "gs://b-1 /mnt"),
    ("b-1", "write gcsmux-mount [OPTIONS] BUCKET MOUNTPOINT", "--anonymous b-1 /mnt"),
    ("b-1 ", "the mount point is empty: write the path of a directory", "b-1 /mnt"),
]
FOLLOWED_BY_USERS = [
    ("b-1 /mnt --kernel-read-ahead 1MiB", "can only be set by root: leave it out", "b-1 /mnt"),
]
# Tells what each of the wrong arguments is answered, and what each of the right ones.
PARSE = """
import json, sys
from gcsmux_fs import mountcommand
def parse(arguments):
    said = []
    mountcommand.tell = said.append
    mountcommand.start = lambda *_: ""
    return [mountcommand.run(arguments.split(" ")), *said]
print(json.dumps([[parse(wrong), parse(right)] for wrong, _, right in json.load(sys.stdin)]))
"""


def test_arguments_are_right_when_the_advice_on_wrong_ones_is_followed(role: Role) -> None:
    rows = FOLLOWED + (FOLLOWED_BY_USERS if role.user else [])
    (role.folder / "rows").write_text(json.dumps(rows))
    (role.folder / "parse").write_text(PARSE)
    told = role.run('unset STORAGE_EMULATOR_HOST_GRPC; $AS "$PYTHON" parse <rows')
    for (_, advice, _), (wrong, right) in zip(rows, json.loads(told), strict=True):
        assert wrong[0] == 2
        assert advice in wrong[1]
        assert right == [0]


# Options of libfuse, of its high-level part and of the kernel, and of other FUSE file systems.
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


def test_every_option_of_fuse_works_or_is_refused_with_advice_that_works(role: Role) -> None:
    rows = [(f"b-1 /mnt -o {option}", "", "b-1 /mnt") for option in OPTIONS_OF_FUSE]
    (role.folder / "rows").write_text(json.dumps(rows))
    (role.folder / "parse").write_text(PARSE)
    told = role.run('unset STORAGE_EMULATOR_HOST_GRPC; $AS "$PYTHON" parse <rows')
    passed = []
    advised = []
    for option, (wrong, _) in zip(OPTIONS_OF_FUSE, json.loads(told), strict=True):
        if wrong == [0]:
            passed.append(option)
            continue
        assert "did you mean" not in wrong[1]
        if not wrong[1].endswith(": leave it out."):
            (advice,) = re.findall(": write -o (.*) instead.", wrong[1])
            advised.append(advice)
    # In real mounts. allow_root excludes allow_other, and whoever unmounts by auto_unmount does so
    # by path: it would take the next mount there.
    last = {"allow_root", "auto_unmount"}
    together = ",".join([*(option for option in passed if option not in last), *advised])
    told = role.run(
        f"""
        echo user_allow_other >>/etc/fuse.conf
        for options in {together} allow_root,auto_unmount; do
          $AS gcsmux-mount -o $options my-bucket "$MNT" && $AS cat "$MNT/dir/hello"
          umount "$MNT"
        done
        """
    )
    assert told == "hello\nhello\n"
    assert last | {"default_permissions", "noatime", "noexec"} <= {*passed}


def test_naming_an_object_or_a_slash_is_told_from_an_empty_bucket(
    mountpoint: Path, environment: dict[str, str]
) -> None:
    for arguments, said in (
        (["gs://my-bucket/dir/hello/"], "gs://my-bucket/dir/hello is an object, not a folder"),
        (["--only-dir", "/", "my-bucket"], "no object of gs://my-bucket has a name that begins"),
    ):
        done = subprocess.run(
            [BIN / "gcsmux-mount", *arguments, mountpoint],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr.startswith(f"gcsmux-mount: {said}")
        subprocess.run(["umount", mountpoint], check=True)


@pytest.mark.parametrize(
    ("prefix", "is_object", "meant"),
    [
        ("dir/hello/", True, "write gs://b-1/dir for"),
        ("hello/", True, "write gs://b-1 for"),
        ("/", False, "begins with '/' (yet): write gs://b-1 if"),
        ("//", False, "begins with '//' (yet): write gs://b-1 if"),
        ("/dir/", False, "begins with '/dir/' (yet): write gs://b-1/dir if"),
        ("dir/", False, "there is nothing below gs://b-1/dir (yet): is the name right?"),
    ],
)
def test_an_empty_mount_is_told_with_what_was_meant(
    prefix: str, is_object: bool, meant: str
) -> None:
    assert meant in empty_folder_remark("b-1", prefix, is_object=is_object)


@pytest.mark.parametrize("prefix", ["", "a/", "/", "a//", "//", "a/b/"])
def test_what_is_mounted_is_named_so_that_it_can_be_mounted_again(prefix: str) -> None:
    named = Settings(bucket="b-1", mountpoint=Path("/mnt"), prefix=prefix).source
    assert parse_bucket(named) == ("b-1", prefix)


@pytest.mark.parametrize(
    "path", ["/mnt/data", "/mnt/my data", "/mnt/it's", "/mnt/a\nb\\'\x1b", "/mnt/\udcff-ü-$x."]
)
def test_a_command_is_one_visible_line_that_a_shell_reads_back(path: str) -> None:
    line = command("printf", "%s", path)
    assert line.isprintable()
    done = subprocess.run(["bash", "-c", line.strip("`")], capture_output=True, check=True)
    assert os.fsdecode(done.stdout) == path


def test_only_who_may_is_told_to_unmount() -> None:
    assert unmount_command("/mnt", user=0, owner=None) == "`umount /mnt`"
    assert unmount_command("/mnt", user=0, owner=7, lazily=True) == "`umount -l /mnt`"
    assert unmount_command("/mnt", user=7, owner=7) == "`fusermount3 -u /mnt`"
    assert unmount_command("/mnt", user=7, owner=8) is None
    assert unmount_command("/mnt", user=7, owner=None) is None


def test_no_sentence_has_a_command_that_is_not_marked_as_one() -> None:
    """Those that `command` has not made would be neither quoted nor followed here."""
    words = re.compile(r"\b(umount|fusermount3|mkdir|modprobe|chmod|ulimit) [-/{0-9]")
    found = []
    for module in Path(gcsmux_fs.__file__).parent.rglob("*.py"):
        tree = ast.parse(module.read_text())
        documents = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        found += [
            f"{module.name}: {node.value}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in documents
            and words.search(node.value)
        ]
    assert found == []
