"""Tests of the check whether a user can mount by FUSE, and of its messages."""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest

from gcsmux_fs.fuse.device import FuseAccess, fuse_refusal, look_at_fuse

ROOT = FuseAccess(
    device_errno=0,
    is_root=True,
    can_mount=True,
    has_fusermount=False,
    no_new_privileges=False,
    user_allow_other=False,
    max_files=1024,
)
USER = replace(ROOT, is_root=False, can_mount=False, has_fusermount=True)


@pytest.mark.parametrize(
    ("access", "sentence"),
    [
        (replace(ROOT, device_errno=errno.ENOENT), "there is no /dev/fuse"),
        (replace(USER, device_errno=errno.EACCES), "cannot be opened (Permission denied)"),
        (replace(ROOT, device_errno=errno.EPERM), "cannot be opened (Operation not permitted)"),
        (replace(ROOT, max_files=63), "this process may open only 63 files"),
        (replace(ROOT, can_mount=False), "start the container with --cap-add SYS_ADMIN"),
        (replace(USER, has_fusermount=False), "there is no fusermount3"),
        (replace(USER, no_new_privileges=True), "with NoNewPrivileges"),
    ],
)
def test_a_refusal_names_what_is_missing(access: FuseAccess, sentence: str) -> None:
    assert sentence in (fuse_refusal(access, allow_other=False) or "")


def test_root_needs_neither_fusermount3_nor_fuse_conf() -> None:
    assert fuse_refusal(ROOT, allow_other=True) is None


def test_a_process_without_a_file_limit_can_mount() -> None:
    assert fuse_refusal(replace(ROOT, max_files=-1), allow_other=False) is None


def test_a_user_needs_fuse_conf_only_for_allow_other() -> None:
    assert fuse_refusal(USER, allow_other=False) is None
    assert "user_allow_other" in (fuse_refusal(USER, allow_other=True) or "")
    assert fuse_refusal(replace(USER, user_allow_other=True), allow_other=True) is None


@pytest.mark.mount
def test_this_machine_can_mount() -> None:
    assert fuse_refusal(look_at_fuse(), allow_other=False) is None
