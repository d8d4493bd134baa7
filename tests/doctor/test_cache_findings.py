"""Tests of the judgement about a cache on disk, and of the facts about a real directory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gcsmux_fs.doctor.cache_facts import CacheFacts, DiskSpeed, look_at_cache
from gcsmux_fs.doctor.cache_findings import cache_finding
from gcsmux_fs.doctor.checklist import CheckResult
from gcsmux_fs.settings.cache_options import CacheOptions
from tests.support.sizes import GIB

OPTIONS = CacheOptions(Path("/var/cache/gcsmux"))
FAST = DiskSpeed(write_rate=1e9, read_rate=2e9, without_waiting=True)
GOOD = CacheFacts("/var/cache/gcsmux", "", "ext4", 100 * GIB, 50 * GIB, FAST)


def test_a_good_disk_is_reported_with_its_space_and_speed() -> None:
    finding = cache_finding(OPTIONS, GOOD)
    assert finding.result is CheckResult.OK
    assert finding.detail == (
        "/var/cache/gcsmux is on ext4, 50.0 GiB of 100 GiB are free; it writes 954 MiB/s and reads"
        " 1.86 GiB/s"
    )
    assert cache_finding(None, None).result is CheckResult.SKIPPED


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (replace(GOOD, fstype="tmpfs"), "takes memory besides --memory"),
        (replace(GOOD, fstype="overlay"), "a container loses this layer"),
        (replace(GOOD, fstype="nfs4"), "a network can be as slow"),
        (replace(GOOD, fstype="fuse.sshfs"), "a network can be as slow"),
        (replace(GOOD, free_bytes=20 * GIB), "keeps 20.0 GiB free, so the cache cannot grow"),
        (replace(GOOD, speed=replace(FAST, write_rate=50e6)), "slower than the service"),
        (replace(GOOD, speed=replace(FAST, without_waiting=False)), "lacks RWF_NOWAIT"),
        (replace(GOOD, speed=None, speed_error="Input/output error"), "Input/output error"),
    ],
)
def test_a_bad_place_is_a_warning_with_the_reason(facts: CacheFacts, words: str) -> None:
    finding = cache_finding(OPTIONS, facts)
    assert finding.result is CheckResult.WARNING
    assert words in finding.detail


def test_a_directory_that_a_mount_would_refuse_is_a_failure_with_the_remedy() -> None:
    finding = cache_finding(
        OPTIONS, CacheFacts("/c", "others can write to /c: run `chmod 700 /c`.")
    )
    assert finding.result is CheckResult.FAILURE
    assert (finding.detail, finding.remedy) == ("others can write to /c", "run `chmod 700 /c`")


def test_a_directory_that_others_can_change_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    facts = look_at_cache(CacheOptions(tmp_path))
    assert "all users can write to the cache directory" in facts.refusal
    assert cache_finding(OPTIONS, facts).remedy.startswith("name a directory in it")


def test_the_disk_of_a_missing_directory_is_measured_and_nothing_is_left(tmp_path: Path) -> None:
    facts = look_at_cache(CacheOptions(tmp_path / "absent"))
    assert not facts.refusal
    assert facts.fstype
    assert 0 < facts.free_bytes <= facts.disk_bytes
    assert facts.speed is not None
    assert facts.speed.write_rate > 0
    assert not list(tmp_path.iterdir())
