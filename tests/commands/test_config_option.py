"""Tests of --config: what the file may set, and how it combines with words and variables."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gcsmux_fs.commands import settings_builder
from gcsmux_fs.commands.mount_arguments import mount_arguments
from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.settings.settings import Settings
from tests.support.sizes import MIB

BIN = Path(sys.executable).parent
LIMIT_SECONDS = 60


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST_GRPC", raising=False)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "data.toml"
    path.write_text(
        'bucket = "gs://from-file/dir"\nmountpoint = "/mnt/file"\nmemory = "64MiB"\nposix = true\n'
    )
    return path


def settings(*arguments: str | Path) -> Settings:
    parsed = mount_arguments.main([os.fspath(each) for each in arguments], standalone_mode=False)
    assert isinstance(parsed, Settings)
    return parsed


def test_a_file_can_give_every_setting(config: Path) -> None:
    parsed = settings("--config", config)
    assert parsed == Settings(
        bucket="from-file",
        prefix="dir/",
        written_source="gs://from-file/dir",
        mountpoint=Path("/mnt/file"),
        memory_bytes=64 * MIB,
        read_ahead_bytes=16 * MIB,
        posix=True,
    )
    origins = {each.setting.name: each.origin for each in parsed.effective}
    assert origins["memory"].place == f"{config}, line 3"
    assert origins["read_ahead"].kind == "default"


def test_words_and_options_override_the_file(config: Path) -> None:
    parsed = settings("--config", config, "other", "/mnt/word", "--memory", "32MiB", "--no-posix")
    assert (parsed.bucket, parsed.prefix, parsed.mountpoint) == ("other", "", Path("/mnt/word"))
    assert (parsed.memory_bytes, parsed.posix) == (32 * MIB, False)
    parsed = settings("-o", f"config={config},memory=32MiB,no_posix", "gs://other", "/mnt/word")
    assert (parsed.bucket, parsed.memory_bytes, parsed.posix) == ("other", 32 * MIB, False)


def test_a_single_word_is_the_mount_point_if_the_bucket_is_in_the_file(config: Path) -> None:
    parsed = settings("--config", config, "/mnt/word")
    assert (parsed.bucket, parsed.mountpoint) == ("from-file", Path("/mnt/word"))
    config.write_text('mountpoint = "/mnt/file"')
    parsed = settings("--config", config, "word")
    assert (parsed.bucket, parsed.mountpoint) == ("word", Path("/mnt/file"))


def test_the_line_of_the_unit_works_with_and_without_words(config: Path) -> None:
    """The unit passes ${BUCKET} and ${MOUNTPOINT}, which are empty if the file has both."""
    line = ("--foreground", f"--config=-{config}", "--")
    assert settings(*line, "", "").mountpoint == Path("/mnt/file")
    assert settings(*line, "other", "").mountpoint == Path("/mnt/file")
    assert settings(*line, "", "/mnt/word").bucket == "from-file"
    config.unlink()
    assert settings(*line, "other", "/mnt/word").memory_bytes == 256 * MIB


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("", ""), 'BUCKET is missing: add bucket = "gs://my-bucket" to {}, which does not exist'),
        (("other", ""), 'MOUNTPOINT is missing: add mountpoint = "/mnt/my-bucket" to {}, which'),
    ],
)
def test_a_missing_argument_is_reported_with_the_line_to_add(
    tmp_path: Path, words: tuple[str, str], sentence: str
) -> None:
    path = tmp_path / "none.toml"
    with pytest.raises(ConfigError) as caught:
        settings(f"--config=-{path}", "--", *words)
    assert sentence.format(path) in str(caught.value)


def test_environment_variables_are_between_file_and_options(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GCSMUX_CONFIG", os.fspath(config))
    monkeypatch.setenv("GCSMUX_MEMORY", "128MiB")
    monkeypatch.setenv("GCSMUX_MOUNTPOINT", "/mnt/variable")
    parsed = settings()
    assert (parsed.bucket, parsed.mountpoint) == ("from-file", Path("/mnt/variable"))
    assert (parsed.memory_bytes, parsed.posix) == (128 * MIB, True)
    assert settings("--memory", "32MiB").memory_bytes == 32 * MIB


def test_the_emulator_variable_overrides_the_endpoint_of_the_file(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text('endpoint = "storage.example:443"')
    monkeypatch.setenv("STORAGE_EMULATOR_HOST_GRPC", "localhost:9000")
    parsed = settings("--config", config, "bucket", "/mnt/data")
    assert (parsed.endpoint, parsed.plaintext, parsed.anonymous) == ("localhost:9000", True, True)
    (row,) = [each for each in parsed.effective if each.setting.name == "endpoint"]
    assert (row.shown, row.origin.place) == ("localhost:9000", "STORAGE_EMULATOR_HOST_GRPC")
    monkeypatch.setenv("GCSMUX_ENDPOINT", "storage.example:444")
    assert settings("--config", config, "bucket", "/mnt/data").endpoint == "storage.example:444"


def test_the_emulator_variable_displaces_the_credentials_of_the_file(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key.json").touch()
    config.write_text('key_file = "key.json"')
    monkeypatch.setenv("STORAGE_EMULATOR_HOST_GRPC", "localhost:9000")
    parsed = settings("--config", config, "bucket", "/mnt/data")
    assert (parsed.key_file, parsed.anonymous) == (None, True)
    key = ("--key-file", tmp_path / "key.json")
    with pytest.raises(ConfigError, match="credentials are never sent in plaintext"):
        settings("--config", config, *key, "bucket", "/mnt/data")


def test_mount_options_of_the_file_are_added_to_those_of_the_command_line(config: Path) -> None:
    config.write_text('mount_options = ["noexec", "nosuid", "_netdev"]')
    parsed = settings("--config", config, "bucket", "/mnt/data", "-o", "nosuid,nodev")
    assert parsed.fuse_options == ("noexec", "nosuid", "nodev")


def test_a_comma_in_a_mount_option_of_the_file_does_not_end_the_option(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings_builder, "_SELINUX", config)
    config.write_text('mount_options = ["nodev", "context=a:b:c:s0:c1,c2"]')
    parsed = settings("--config", config, "bucket", "/mnt/data")
    assert parsed.fuse_options == ("nodev", "context=a:b:c:s0:c1,c2")
    (row,) = [each for each in parsed.effective if each.setting.name == "mount_options"]
    assert row.shown == "nodev,context=a:b:c:s0:c1\\,c2"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('memory = "1KiB"', "{}, line 1: memory 1KiB is too small"),
        ('read_ahead = "1GiB"', "{}, line 1: read_ahead 1GiB is larger than --memory 256MiB"),
        (
            "plaintext = true",
            "{}, line 1: credentials are never sent in plaintext: add --anonymous",
        ),
        (
            'mount_options = ["memory=1GiB"]',
            "mount_options contains memory: write memory as a key of its own",
        ),
        ('mount_options = ["frobnicate"]', "unknown mount option -o frobnicate"),
        ('bucket = "UPPER"', "'UPPER' is not a bucket name"),
    ],
)
def test_a_contradiction_names_the_line_of_the_file(config: Path, text: str, sentence: str) -> None:
    config.write_text(text)
    words = ("/mnt/data",) if "bucket" in text else ("bucket", "/mnt/data")
    with pytest.raises(ConfigError) as caught:
        settings("--config", config, *words)
    assert sentence.format(config) in str(caught.value)


def test_a_wrong_file_is_a_usage_error(config: Path) -> None:
    config.write_text("memory = 1GiB")
    for path, sentence in (
        (config, f"--config: {config}, line 1, column 11: the value lacks its quotes"),
        (config.with_name("none"), "cannot be read: No such file or directory."),
    ):
        done = subprocess.run(
            [BIN / "gcsmux-mount", "--config", path, "bucket", "/mnt"],
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
            check=False,
        )
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert sentence in line


@pytest.mark.mount
def test_a_mount_with_a_file_reads_from_its_bucket(
    tmp_path: Path, mountpoint: Path, environment: dict[str, str]
) -> None:
    """The detached mount process reads the file that the command was given, as a relative path."""
    (tmp_path / "data.toml").write_text(f'bucket = "my-bucket"\nmountpoint = "{mountpoint.name}"')
    subprocess.run(
        [BIN / "gcsmux-mount", "--config", "data.toml"],
        cwd=tmp_path,
        env=environment,
        timeout=LIMIT_SECONDS,
        check=True,
    )
    read = subprocess.run(
        ["cat", mountpoint / "dir" / "hello"],
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=True,
    )
    assert read.stdout == "hello\n"
