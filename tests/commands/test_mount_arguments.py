"""Tests of the arguments of gcsmux-mount and the settings that they give."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from gcsmux_fs.commands import settings_builder
from gcsmux_fs.commands.mount_arguments import mount_arguments
from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.settings.defaults import DEFAULT_ENDPOINT
from gcsmux_fs.settings.settings import Settings
from tests.support.sizes import MIB


@pytest.fixture(autouse=True)
def no_emulator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST_GRPC", raising=False)


def settings(*arguments: str) -> Settings:
    parsed = mount_arguments.main(list(arguments), standalone_mode=False)
    assert isinstance(parsed, Settings)
    return parsed


def test_bucket_and_mountpoint_are_the_only_required_arguments() -> None:
    assert settings("bucket", "/mnt/data") == Settings(
        bucket="bucket",
        written_source="bucket",
        mountpoint=Path("/mnt/data"),
        uid=os.getuid(),
        gid=os.getgid(),
    )


def test_every_option_sets_its_field(tmp_path: Path) -> None:
    key = tmp_path / "key.json"
    key.write_text("{}")
    parsed = settings(
        "gs://bucket/a",
        "/mnt/data",
        *("--only-dir", "b", "--endpoint", "host:1", "--key-file", os.fspath(key)),
        *("--billing-project", "my-project", "--metadata-ttl", "indefinite"),
        *("--negative-ttl", "0", "--memory", "128MiB", "--read-ahead", "8MiB"),
        *("--read-timeout", "1m", "--uid", "7", "--gid", "root", "--file-mode", "400"),
        *("--dir-mode", "500", "--allow-other", "-o", "noexec", "--log-level", "DEBUG"),
        *("--log-file", os.fspath(tmp_path / "log"), "-f"),
    )
    assert parsed == Settings(
        bucket="bucket",
        prefix="a/b/",
        written_source="gs://bucket/a",
        mountpoint=Path("/mnt/data"),
        endpoint="host:1",
        key_file=key,
        billing_project="my-project",
        metadata_ttl_seconds=math.inf,
        negative_ttl_seconds=0.0,
        memory_bytes=128 * MIB,
        read_ahead_bytes=8 * MIB,
        read_timeout_seconds=60.0,
        uid=7,
        gid=0,
        file_mode=0o400,
        dir_mode=0o500,
        allow_other=True,
        fuse_options=("noexec",),
        log_file=tmp_path / "log",
        log_level="debug",
        foreground=True,
    )


def test_relative_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    parsed = settings("bucket", "a/../b", "--log-file", "log")
    assert parsed.mountpoint == tmp_path / "b"
    assert parsed.log_file == tmp_path / "log"


def test_a_line_of_fstab_sets_options_of_the_command() -> None:
    parsed = settings(
        "gs://bucket",
        "/mnt/data",
        "-o",
        "rw,_netdev,allow_other,dev,suid,nosuid,memory=128MiB,only_dir=a\\,b,log_file=/var/log/x,"
        "metadata-ttl=minimal,x-systemd.automount",
    )
    assert parsed == Settings(
        bucket="bucket",
        prefix="a,b/",
        written_source="gs://bucket",
        mountpoint=Path("/mnt/data"),
        allow_other=True,
        memory_bytes=128 * MIB,
        read_ahead_bytes=32 * MIB,
        log_file=Path("/var/log/x"),
        metadata_ttl_seconds=1.0,
        fuse_options=("nosuid",),
    )


@pytest.mark.parametrize("order", [0, 1])
def test_a_long_option_overrides_the_same_option_in_o(order: int) -> None:
    both = [["-o", "memory=1GiB"], ["--memory", "64MiB"]]
    first, second = both[order], both[1 - order]
    assert settings("bucket", "/mnt/data", *first, *second).memory_bytes == 64 * MIB


def test_the_options_of_mount_helpers_are_accepted() -> None:
    parsed = settings("bucket", "/mnt/data", "-n", "-s", "-v", "-N", "1", "-o", "rw,frobnicate")
    assert parsed.bucket == "bucket"


def test_the_endpoint_option_overrides_the_emulator_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST_GRPC", "localhost:9000")
    parsed = settings("bucket", "/mnt/data")
    assert (parsed.endpoint, parsed.plaintext, parsed.anonymous) == ("localhost:9000", True, True)
    parsed = settings("bucket", "/mnt/data", "--endpoint", DEFAULT_ENDPOINT)
    assert (parsed.endpoint, parsed.plaintext, parsed.anonymous) == (DEFAULT_ENDPOINT, False, False)


def test_a_memory_limit_above_the_memory_of_the_machine_is_refused() -> None:
    with pytest.raises(
        ConfigError, match="--memory 1024TiB is larger than the memory of this machine"
    ):
        settings("bucket", "/mnt/data", "--memory", "1024TiB")


def test_help_shows_every_visible_option(capsys: pytest.CaptureFixture[str]) -> None:
    mount_arguments.main(["--help"], standalone_mode=False)
    shown = capsys.readouterr().out
    names = [param.opts[-1] for param in mount_arguments.params if not getattr(param, "hidden", 0)]
    assert [name for name in names if name.startswith("-") and f"{name} " not in shown] == []
    assert "-h, --help" in shown


@pytest.mark.parametrize("selinux", [False, True])
def test_selinux_labels_are_left_out_with_a_reason_if_selinux_is_off(
    selinux: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel without SELinux would refuse a mount with labels. mount(8) drops labels too."""
    monkeypatch.setattr(settings_builder, "_SELINUX", tmp_path if selinux else tmp_path / "none")
    parsed = settings("bucket", "/mnt/data", "-o", "context=a:b:c:d,nodev,fscontext=e:f:g:h")
    (row,) = [each for each in parsed.effective if each.setting.name == "mount_options"]
    if selinux:
        assert parsed.fuse_options == ("context=a:b:c:d", "nodev", "fscontext=e:f:g:h")
        assert row.reason == ""
    else:
        assert parsed.fuse_options == ("nodev",)
        assert (row.value, "SELinux is off" in row.reason) == ("nodev", True)
