"""Tests of the judgements about this machine: each lack has a finding and a remedy."""

from __future__ import annotations

import errno
import os
from dataclasses import replace

import pytest

from gcsmux_fs.doctor.checklist import CHECKS, CheckResult, Finding, skip_reason
from gcsmux_fs.doctor.machine_facts import MachineFacts, look_at_machine
from gcsmux_fs.doctor.machine_findings import (
    fuse_finding,
    kernel_finding,
    memory_finding,
    mount_point_finding,
    open_files_finding,
    other_users_finding,
    read_ahead_finding,
)
from gcsmux_fs.fuse.device import FuseAccess
from gcsmux_fs.fuse.mountinfo import FSTYPE, MountEntry
from gcsmux_fs.fuse.observer import Observation

USER = FuseAccess(
    device_errno=0,
    is_root=False,
    can_mount=False,
    has_fusermount=True,
    no_new_privileges=False,
    user_allow_other=False,
    max_files=1024,
)
GOOD = MachineFacts(
    access=USER,
    library_error="",
    kernel_release="6.18.2-generic",
    page_bytes=4096,
    max_pages=256,
    background_requests=330,
    memory_bytes=8 << 30,
    sets_read_ahead=True,
)
MOUNTED = MountEntry(1, 0, 0, 44, "/", "/mnt/data", FSTYPE, "gs://my-bucket", 0)
EMPTY = Observation("/mnt/data", directory=True, writable=True, empty=True)


def short(finding: Finding) -> str:
    """Return the finding as `result: detail -> remedy`."""
    arrow = f" -> {finding.remedy}" if finding.remedy else ""
    return f"{finding.result}: {finding.detail}{arrow}"


def test_a_good_machine_has_no_failure() -> None:
    findings = [judge(GOOD) for judge in (fuse_finding, kernel_finding, read_ahead_finding)]
    findings.append(open_files_finding(GOOD))
    assert {finding.result for finding in findings} == {CheckResult.OK}


@pytest.mark.parametrize(
    ("access", "text"),
    [
        (
            replace(USER, device_errno=errno.ENOENT),
            (
                "failure: there is no /dev/fuse -> have root run `modprobe fuse`, or start the"
                " container with --device /dev/fuse"
            ),
        ),
        (
            replace(USER, device_errno=errno.EACCES),
            (
                "failure: /dev/fuse cannot be opened (Permission denied) -> mount as root, or have"
                " root run `chmod 666 /dev/fuse`"
            ),
        ),
        (
            replace(USER, device_errno=errno.EPERM, is_root=True),
            (
                "failure: /dev/fuse cannot be opened (Operation not permitted) -> run `modprobe"
                " fuse`, or start the container with --device /dev/fuse"
            ),
        ),
        (
            replace(USER, has_fusermount=False),
            (
                "failure: there is no fusermount3, which a user needs to mount -> have root install"
                " the package fuse3"
            ),
        ),
    ],
)
def test_a_machine_without_fuse_fails(access: FuseAccess, text: str) -> None:
    assert short(fuse_finding(replace(GOOD, access=access))) == text


def test_a_missing_library_fails() -> None:
    finding = fuse_finding(replace(GOOD, library_error="libfuse3.so.3: cannot open"))
    assert finding.result is CheckResult.FAILURE
    assert "libfuse3.so.3: cannot open" in finding.detail


def test_allow_other_needs_a_line_of_fuse_conf_or_root() -> None:
    optional = other_users_finding(USER, required=False)
    required = other_users_finding(USER, required=True)
    assert (optional.result, required.result) == (CheckResult.WARNING, CheckResult.FAILURE)
    assert "user_allow_other" in required.remedy
    for access in (replace(USER, user_allow_other=True), replace(USER, can_mount=True)):
        assert other_users_finding(access, required=True).result is CheckResult.OK


def test_a_memory_limit_below_the_budget_and_its_allowance_is_a_warning() -> None:
    budget = 256 << 20
    assert memory_finding(GOOD, budget).result is CheckResult.OK
    finding = memory_finding(replace(GOOD, memory_bytes=400 << 20), budget)
    assert finding.result is CheckResult.WARNING
    assert "--memory 256MiB needs up to 406MiB, and may use 400 MiB" in finding.detail


def test_a_low_limit_of_open_files_is_a_warning() -> None:
    few = replace(GOOD, access=replace(USER, max_files=100))
    assert open_files_finding(few).remedy.startswith("raise the limit by `ulimit -n 1024`")


@pytest.mark.parametrize(
    ("changes", "result", "part"),
    [
        (
            {},
            CheckResult.OK,
            "READs of up to 1MiB, up to 330 READs in flight, all cached names can",
        ),
        ({"kernel_release": "6.1.0-18-amd64"}, CheckResult.OK, "dropped one by one"),
        ({"kernel_release": "4.19.0", "max_pages": None}, CheckResult.WARNING, "up to 128KiB"),
        ({"max_pages": 32}, CheckResult.WARNING, "up to 128KiB"),
        ({"kernel_release": "odd"}, CheckResult.WARNING, "Linux odd"),
    ],
)
def test_the_limits_of_the_kernel(
    changes: dict[str, object], result: CheckResult, part: str
) -> None:
    finding = kernel_finding(replace(GOOD, **changes))  # type: ignore[arg-type]
    assert finding.result is result
    assert part in finding.detail


def test_a_lowered_limit_of_pages_names_the_setting() -> None:
    finding = kernel_finding(replace(GOOD, max_pages=32))
    assert "`sysctl -w fs.fuse.max_pages_limit=256`" in finding.remedy


def test_a_readahead_window_that_cannot_be_set_is_a_warning() -> None:
    user = read_ahead_finding(replace(GOOD, sets_read_ahead=False))
    root = read_ahead_finding(
        replace(GOOD, sets_read_ahead=False, access=replace(USER, is_root=True))
    )
    assert user.remedy.startswith("mount as root")
    assert root.remedy.startswith("outside of the container")


@pytest.mark.parametrize(
    ("observation", "table", "text"),
    [
        (None, (), "skipped: no mount point was given: add MOUNTPOINT to check one"),
        (EMPTY, (), "ok: /mnt/data is a directory on which this user can mount"),
        (
            EMPTY,
            (MOUNTED,),
            "ok: gs://my-bucket is mounted at /mnt/data, and the mount answers",
        ),
        (
            replace(EMPTY, empty=False),
            (),
            (
                "failure: /mnt/data is not empty, and a mount would hide its files -> name an empty"
                " directory"
            ),
        ),
        (
            Observation("/mnt/data", errno=errno.ENOENT, writable=True),
            (),
            "failure: /mnt/data does not exist -> create it first by `mkdir -p /mnt/data`",
        ),
        (
            Observation("/mnt/data", errno=errno.ETIMEDOUT),
            (MOUNTED,),
            "failure: /mnt/data does not answer -> remove the mount first by `umount -l /mnt/data`",
        ),
    ],
)
def test_the_mount_point(
    observation: Observation | None, table: tuple[MountEntry, ...], text: str
) -> None:
    assert short(mount_point_finding(observation, table, user=0)) == text


def test_this_machine_can_be_examined() -> None:
    facts = look_at_machine()
    assert facts.library_error == ""
    assert facts.page_bytes >= 4096
    assert 1 << 26 < facts.memory_bytes <= facts.page_bytes * os.sysconf("SC_PHYS_PAGES")
    assert kernel_finding(facts).detail.startswith(f"Linux {facts.kernel_release}")


def test_a_check_is_skipped_if_a_check_that_it_needs_failed_or_was_skipped() -> None:
    results = {check.name: CheckResult.OK for check in CHECKS}
    bucket = next(check for check in CHECKS if check.name == "bucket")
    assert skip_reason(bucket, results) is None
    assert skip_reason(bucket, results | {"billing": CheckResult.WARNING}) is None
    assert skip_reason(bucket, results | {"rate": CheckResult.FAILURE}) is None
    for result in (CheckResult.FAILURE, CheckResult.SKIPPED):
        reason = skip_reason(bucket, results | {"billing": result})
        assert reason is not None
        assert "'billing'" in reason


def test_a_check_needs_only_earlier_checks() -> None:
    seen: set[str] = set()
    for check in CHECKS:
        assert set(check.needs) <= seen
        seen.add(check.name)
