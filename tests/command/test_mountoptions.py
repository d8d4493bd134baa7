from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcsmux_fs.errors import ConfigError
from gcsmux_fs.mountoptions import MountOptions, sort_options, split_options

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
def test_options_are_split_at_commas_that_are_not_escaped(text: str, parts: list[str]) -> None:
    assert split_options(text) == parts


@given(st.lists(st.text(min_size=1)))
def test_any_value_can_be_passed_by_escaping(values: list[str]) -> None:
    escaped = [value.replace("\\", r"\\").replace(",", r"\,") for value in values]
    assert split_options(",".join(escaped)) == values


def test_what_mount_and_systemd_add_is_dropped() -> None:
    passed = (
        "rw,dev,suid,defaults,noauto,nofail,_netdev,user,relatime",
        "x-systemd.automount,x-systemd.mount-timeout=30,comment=for backups,user=me",
    )
    assert sort_options(passed, OWN) == MountOptions()


def test_what_the_kernel_enforces_is_handed_to_libfuse_once() -> None:
    found = sort_options(["nosuid,nodev,noexec", "nosuid,default_permissions,auto_unmount"], OWN)
    assert found.own == ()
    assert found.fuse == ("nosuid", "nodev", "noexec", "default_permissions", "auto_unmount")


def test_our_own_options_are_taken_by_name_with_either_dash() -> None:
    found = sort_options(["ro,memory=1GiB,only_dir=a/b=c", "only-dir=d,allow_other"], OWN)
    assert found.own == (
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
        ("qqq", "unknown mount option -o qqq: --help lists what there is."),
        ("memory", "-o memory lacks its value: write -o memory=VALUE."),
        ("allow_other=1", "-o allow_other takes no value: write -o allow_other alone."),
    ],
)
def test_a_wrong_option_is_refused_with_the_right_one(option: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        sort_options([f"ro,{option}"], OWN)
    assert str(caught.value) == sentence


def test_sloppy_mounting_drops_what_nobody_knows() -> None:
    assert sort_options(["ro,frobnicate=1"], OWN, tolerant=True) == MountOptions()
