"""Tests of configuration files: their values, and the sentence about each mistake."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.settings.config_file import parse_config, read_config
from gcsmux_fs.settings.setting_table import FILE_SETTINGS
from tests.support.sizes import GIB, MIB

PATH = Path("/etc/gcsmux/data.toml")


def values(text: str) -> dict[str, object]:
    return {name: each.value for name, each in parse_config(text, PATH, FILE_SETTINGS).items()}


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ('memory = "1GiB"', GIB),
        ("memory = 1073741824", GIB),
        ('read-ahead = "8MiB"', 8 * MIB),
        ('kernel_read_ahead = "auto"', None),
        ("kernel_read_ahead = 0", 0),
        ('metadata_ttl = "1m30s"', 90.0),
        ("metadata_ttl = 0", 0.0),
        ("allow_other = true", True),
        ("posix = false", False),
        ("uid = 7", 7),
        ('uid = "root"', 0),
        ('file_mode = "640"', 0o640),
        ('log_level = "DEBUG"', "debug"),
        ('mount_options = "noexec,nosuid"', "noexec,nosuid"),
        ('mount_options = ["noexec", "nosuid"]', "noexec,nosuid"),
        ('"memory" = "1GiB" # comment', GIB),
    ],
)
def test_a_value_is_written_as_toml_writes_it(line: str, value: object) -> None:
    (found,) = values(f"# a comment\n{line}\n").values()
    assert found == value
    assert type(found) is type(value)


def test_a_relative_path_is_relative_to_the_folder_of_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert values('log_file = "log"\nmountpoint = "../mnt/./x"') == {
        "log_file": Path("/etc/gcsmux/log"),
        "mountpoint": Path("/etc/mnt/x"),
    }
    assert values('log_file = "~/log"') == {"log_file": Path("/home/me/log")}
    assert values('log_file = "/var/log/x"') == {"log_file": Path("/var/log/x")}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('\nmemroy = "1GiB"', "line 2: unknown key memroy: did you mean memory?"),
        ('MEMORY = "1GiB"', "line 1: unknown key MEMORY: did you mean memory?"),
        ("qqq = 1", "line 1: unknown key qqq: docs/CONFIGURATION.md lists all keys."),
        ("foreground = true", "line 1: unknown key foreground: "),
        ("\n[cache]\nx = 1", "line 2: [cache] is a table: write every key without a table."),
        ("[memory]\nx = 1", "line 1: memory: the value is of the type dict: write memory = "),
        ("memory = true", 'memory: the value is true or false: write memory = "64MiB".'),
        ('posix = "yes"', "posix: the value is a text: write posix = true."),
        ("posix = 1", "posix: the value is a number: write posix = true."),
        ("file_mode = 0o644", 'file_mode: the value is a number: write file_mode = "644".'),
        ("mount_options = [1]", "mount_options: the value is of the type list: write"),
        ('memory = "12x"', "line 1: memory: '12x' is not a size"),
        ("metadata_ttl = 60", "metadata_ttl: '60' has no unit: write 60s or 60ms"),
        ('mountpoint = ""', "mountpoint: the text is empty: write the path of a directory."),
        (
            "a = 1\nmemory = 1GiB",
            'line 2, column 11: the value lacks its quotes: write memory = "1',
        ),
        ("bucket = gs://x # why", 'the value lacks its quotes: write bucket = "gs://x".'),
        ("token_command = vault s3cret", 'lacks its quotes: write token_command = "...".'),
        ('memory "1GiB"', "line 1, column 8: ill-formed TOML: expected '=' after a key"),
        ('memory = "1GiB', "line 1: ill-formed TOML: "),
        ("memory = 1\nuid = 7\nmemory = 2\n", "line 3: the key memory is set twice"),
        ("memory = " + "1" * 5000, ": a number has thousands of digits"),
        ("memory = 0x" + "f" * 5000, "memory: the number has thousands of digits"),
        ("memory = " + "[" * 5000, "brackets are nested too deeply"),
        ('log_file = "~no-such-user/log"', "log_file: '~no-such-user/log' names an unknown user"),
        ('mountpoint = "/mnt\\u0000"', "mountpoint: the value contains the character NUL"),
        ("memory = 2026-11-30", "memory: the value is of the type date: write memory = "),
        ("memory = nan", "memory: 'nan' is not a size"),
        ("a.b = 1", "line 1: [a] is a table"),
        ("read-ahead = 1\nread_ahead = 2", "line 2: the key read_ahead is set twice"),
    ],
)
def test_a_mistake_is_reported_with_file_and_line(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        values(text)
    assert sentence in str(caught.value)
    assert str(caught.value).startswith(f"{PATH}")
    assert str(caught.value).endswith((".", "?"))


def test_a_file_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    missing = tmp_path / "missing.toml"
    for path, sentence in (
        (missing, "cannot be read: No such file or directory."),
        (tmp_path, "is not a regular file: write the path of a TOML file."),
    ):
        with pytest.raises(ConfigError, match=f"^{path} {sentence}"):
            read_config(path, FILE_SETTINGS)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(ConfigError, match="is not a regular file"):
        read_config(pipe, FILE_SETTINGS)


def test_a_file_with_a_command_that_every_user_may_change_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.toml"
    for text, is_refused in (('token_command = "true"', True), ('memory = "1GiB"', False)):
        path.write_text(text)
        path.chmod(0o666)
        if is_refused:
            with pytest.raises(ConfigError, match="contains token_command, and every user may"):
                read_config(path, FILE_SETTINGS)
        path.chmod(path.stat().st_mode & ~0o002 if is_refused else 0o666)
        assert read_config(path, FILE_SETTINGS)


def test_a_file_in_another_encoding_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "latin1.toml"
    path.write_bytes('posix = true\n# Größe\nmemory = "1GiB"'.encode("latin-1"))
    with pytest.raises(ConfigError, match="line 2: the text is not UTF-8"):
        read_config(path, FILE_SETTINGS)
    path.write_text('memory = "1GiB"', encoding="utf-8-sig")
    assert read_config(path, FILE_SETTINGS)
