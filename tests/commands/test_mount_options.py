"""Tests of the mount options in -o: which are used, passed to libfuse, dropped or refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcsmux_fs.commands.mount_options import (
    MountOptions,
    check_options,
    sort_options,
    split_options,
)
from gcsmux_fs.model.errors import ConfigError

OWN = {"memory": True, "only-dir": True, "allow-other": False}


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", []),
        ("ro", ["ro"]),
        ("ro,,_netdev,", ["ro", "_netdev"]),
        (r"only_dir=a\,b,ro", ["only_dir=a,b", "ro"]),
        (r"only_dir=a\\,ro", ["only_dir=a\\", "ro"]),
        (r"only_dir=a\b", [r"only_dir=a\b"]),
        ("ro\\", ["ro\\"]),
    ],
)
def test_options_are_split_at_unescaped_commas(text: str, parts: list[str]) -> None:
    assert split_options(text) == parts


@given(st.lists(st.text(min_size=1)))
def test_an_escaped_value_may_contain_any_character(values: list[str]) -> None:
    escaped = [value.replace("\\", r"\\").replace(",", r"\,") for value in values]
    assert split_options(",".join(escaped)) == values


def test_options_of_mount_and_systemd_are_dropped() -> None:
    options = (
        "rw,dev,suid,defaults,noauto,nofail,_netdev,user,relatime",
        "x-systemd.automount,x-systemd.mount-timeout=30,comment=for backups,user=me",
    )
    assert sort_options(options, OWN) == MountOptions()


def test_options_of_the_kernel_are_passed_to_libfuse_once() -> None:
    sorted_options = sort_options(
        ["nosuid,nodev,noexec", "nosuid,default_permissions,auto_unmount"], OWN
    )
    assert sorted_options.own == ()
    assert sorted_options.fuse == (
        "nosuid",
        "nodev",
        "noexec",
        "default_permissions",
        "auto_unmount",
    )


def test_a_long_option_may_be_written_with_dashes_or_underscores() -> None:
    sorted_options = sort_options(["ro,memory=1GiB,only_dir=a/b=c", "only-dir=d,allow_other"], OWN)
    assert sorted_options.own == (
        ("memory", "1GiB"),
        ("only-dir", "a/b=c"),
        ("only-dir", "d"),
        ("allow-other", None),
    )


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("alow_other", "unknown mount option -o alow_other: did you mean allow_other?"),
        ("onlydir=a", "unknown mount option -o onlydir: did you mean only_dir?"),
        ("netdev", "unknown mount option -o netdev: did you mean _netdev?"),
        ("qqq", "unknown mount option -o qqq: --help lists all options."),
        ("memory", "-o memory lacks its value: write -o memory=VALUE."),
        ("allow_other=1", "-o allow_other takes no value: write -o allow_other alone."),
    ],
)
def test_a_wrong_option_is_refused_with_a_correction(option: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        sort_options([f"ro,{option}"], OWN)
    assert str(caught.value) == sentence


def test_a_tolerant_mount_drops_unknown_options() -> None:
    assert sort_options(["ro,frobnicate=1"], OWN, tolerant=True) == MountOptions()


def test_a_remount_is_refused_also_with_options_of_the_mount_table() -> None:
    sorted_options = sort_options(["rw,remount,user_id=0,group_id=0,max_read=65536,dev,suid"], OWN)
    assert sorted_options == MountOptions(fuse=("remount",))
    for user, unmount in ((0, "umount"), (1000, "fusermount3 -u")):
        with pytest.raises(ConfigError, match=f"unmount it first by `{unmount} '/my mnt'`, then"):
            check_options(sorted_options.fuse, Path("/my mnt"), allow_other=False, user=user)


def test_allow_root_and_allow_other_exclude_each_other() -> None:
    for options, allow_other in ((("allow_root",), False), ((), True)):
        check_options(options, Path("/mnt"), allow_other=allow_other, user=0)
    with pytest.raises(ConfigError, match="leave allow_root out"):
        check_options(("allow_root",), Path("/mnt"), allow_other=True, user=0)


@pytest.mark.parametrize(
    ("option", "reason", "advice"),
    [
        (
            "max_read=65536",
            ", because libfuse and gcsmux-mount must use the same value",
            "leave it out",
        ),
        ("nonempty", ", because a mount would hide the files in the directory", "leave it out"),
        ("fsname=x", ", because gcsmux-mount sets it", "leave it out"),
        ("umask=022", "", "write -o file_mode=644,dir_mode=755 instead"),
    ],
)
def test_an_option_of_another_file_system_is_refused_with_advice(
    option: str, reason: str, advice: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        sort_options([option], OWN)
    name = option.partition("=")[0]
    assert str(caught.value).startswith(f"-o {name} is not supported{reason}")
    assert str(caught.value).endswith(f": {advice}.")
