"""Tests of `gcsmux config`, of docs/CONFIGURATION.md and of systemd/example.toml."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from gcsmux_fs.commands import config_command
from gcsmux_fs.commands.config_command import config
from gcsmux_fs.commands.mount_arguments import mount_arguments
from gcsmux_fs.model.errors import ConfigError, GcsmuxError
from gcsmux_fs.settings.config_file import parse_config, read_config
from gcsmux_fs.settings.setting_table import FILE_SETTINGS, SETTINGS
from tests.support.sizes import GIB

if TYPE_CHECKING:
    from gcsmux_fs.settings.settings import Settings

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "CONFIGURATION.md").read_text()
BIN = Path(sys.executable).parent
LIMIT_SECONDS = 60


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST_GRPC", raising=False)


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    config.main([os.fspath(each) for each in arguments], standalone_mode=False)
    return capsys.readouterr().out


def block(language: str) -> str:
    (text,) = re.findall(rf"^```{language}\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)[:1]
    assert isinstance(text, str)
    return text


def test_show_prints_a_file_that_gives_the_same_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("gs://b-1/x", "/mnt/y", "--memory", "1GiB", "--posix", "--metadata-ttl", "indefinite")
    shown = tmp_path / "shown.toml"
    shown.write_text(run(capsys, "show", *given))
    again = mount_arguments.main(["--config", os.fspath(shown)], standalone_mode=False)
    assert again == mount_arguments.main(list(given), standalone_mode=False)


def test_show_says_where_each_value_was_set_and_why_its_default_is_what_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "data.toml"
    path.write_text('bucket = "b-1"\nmemory = "128MiB"')
    monkeypatch.setenv("GCSMUX_UID", "7")
    report = json.loads(
        run(capsys, "show", "--json", "--config", path, "--posix", "-o", "nodev,gid=7")
    )
    rows = {row["name"]: row for row in report["settings"]}
    assert list(rows) == ["config", *(setting.name for setting in SETTINGS)]
    found = {
        name: (row["value"], row["origin"], row["place"])
        for name, row in rows.items()
        if row["origin"] != "default"
    }
    assert found == {
        "config": (f"{path}", "option", "--config"),
        "bucket": ("b-1", "file", f"{path}, line 1"),
        "memory": ("128MiB", "file", f"{path}, line 2"),
        "uid": ("7", "environment", "GCSMUX_UID"),
        "posix": (True, "option", "--posix"),
        "gid": ("7", "option", "-o gid"),
        "mount_options": ("nodev", "option", "-o"),
    }
    assert rows["read_ahead"]["value"] == "32MiB"
    assert rows["mountpoint"]["value"] is None
    assert rows["memory"]["default"] == "256MiB"
    assert "four readers" in rows["memory"]["default_reason"]


def test_show_says_that_an_optional_file_does_not_exist(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GCSMUX_CONFIG", f"-{tmp_path}/none.toml")
    row, *_ = json.loads(run(capsys, "show", "--json"))["settings"]
    assert (row["value"], row["origin"]) == (f"{tmp_path}/none.toml", "environment")
    assert row["reason"] == "the file does not exist"


def test_show_names_the_emulator(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST_GRPC", "localhost:9000")
    shown = run(capsys, "show")
    assert 'endpoint = "localhost:9000"\n#     environment: STORAGE_EMULATOR_HOST_GRPC' in shown


def test_show_and_errors_hide_the_words_of_the_token_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "# token_command: not set" in run(capsys, "show")
    path = tmp_path / "data.toml"
    for source in ("file", "environment", "option"):
        path.write_text('token_command = "vault s3cret"' if source == "file" else "")
        monkeypatch.setenv(
            "GCSMUX_TOKEN_COMMAND", "vault s3cret" if source == "environment" else ""
        )
        option = ["--token-command", "vault s3cret"] if source == "option" else []
        for form in ([], ["--json"]):
            shown = run(capsys, "show", "--config", path, *option, *form)
            assert "s3cret" not in shown
            assert "(hidden)" in shown
    path.write_text('token_command = "vault \'s3cret"')
    with pytest.raises(click.BadParameter) as caught:
        run(capsys, "show", "--config", path)
    assert "s3cret" not in str(caught.value)
    assert "close each quote" in str(caught.value)


def test_show_says_that_a_user_cannot_change_the_window_of_the_kernel(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    rows = json.loads(run(capsys, "show", "--json"))["settings"]
    (row,) = [row for row in rows if row["name"] == "kernel_read_ahead"]
    assert (row["value"], row["origin"]) == ("auto", "default")
    assert "only root can change the window" in row["reason"]


def test_an_answer_of_a_mount_neither_controls_the_terminal_nor_fails_with_a_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    adaptation = {"name": "bucket", "value": "\x1b[2Jgone", "reason": "\x9b."}
    answer: dict[str, object] = {"settings": [], "adaptations": [adaptation]}
    monkeypatch.setattr(config_command, "ask_mount", lambda _mount, _command: answer)
    assert not re.search(r"[^\n -~]", run(capsys, "show", "/mnt/data"))
    answer["adaptations"] = [{"name": "bucket"}]
    with pytest.raises(GcsmuxError, match="answered in an unknown form"):
        run(capsys, "show", "/mnt/data")


def test_check_accepts_a_right_file_and_refuses_a_wrong_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "data.toml"
    path.write_text('bucket = "b-1"\nposix = true')
    assert run(capsys, "check", path) == f"{path} is correct: it sets bucket, posix.\n"
    path.write_text('posix = true\nmemory = "1KiB"')
    done = subprocess.run(
        [BIN / "gcsmux", "config", "check", path],
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{path}, line 2: memory 1KiB is too small: write at least 16MiB." in done.stderr


def test_the_reference_is_the_one_of_the_table() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "reference.py", "--check"],
        timeout=LIMIT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, "docs/CONFIGURATION.md differs from the table: run `make docs`"


@pytest.mark.parametrize(
    "example", re.findall(r"· `([a-z_]+ = .*?)` ·", DOCUMENT), ids=lambda text: text.split()[0]
)
def test_each_example_of_the_reference_is_accepted(example: str, tmp_path: Path) -> None:
    key = tmp_path / "key.json"
    key.touch()
    text = example.replace("/etc/gcsmux/key.json", os.fspath(key))
    assert parse_config(text, tmp_path / "data.toml", FILE_SETTINGS)


def test_the_example_file_and_the_commands_of_the_document_are_accepted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "data.toml"
    path.write_text(block("toml"))
    parsed: list[Settings] = []
    lines = "".join(re.findall(r"^```sh\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL))
    for line in lines.replace("/etc/gcsmux/data.toml", os.fspath(path)).splitlines():
        words = shlex.split(line.partition(" | ")[0])
        match words:
            case ["gcsmux-mount", *rest]:
                parsed.append(mount_arguments.main(rest, standalone_mode=False))
            case ["mount", "-t", "fuse.gcsmux-mount", *rest]:
                parsed.append(mount_arguments.main(rest, standalone_mode=False))
            case ["gcsmux", "config", *rest]:
                assert run(capsys, *rest)
            case _:
                pytest.fail(f"not tested: {line}")
    first, second, third = parsed
    assert (first.prefix, first.memory_bytes) == ("datasets/", GIB)
    assert first.log_file == tmp_path / "log" / "data.log"
    assert second.mountpoint == Path("/mnt/other")
    assert (third.mountpoint, third.memory_bytes) == (Path("/mnt/data"), GIB)


def test_the_example_of_the_unit_is_accepted_with_and_without_its_comments(tmp_path: Path) -> None:
    example = ROOT / "systemd" / "example.toml"
    assert read_config(example, FILE_SETTINGS).keys() == {"bucket", "mountpoint", "allow_other"}
    complete = tmp_path / "complete.toml"
    (tmp_path / "key.json").touch()
    complete.write_text(re.sub(r"^#(?=\w+ = )", "", example.read_text(), flags=re.MULTILINE))
    parsed = mount_arguments.main(["--config", os.fspath(complete)], standalone_mode=False)
    (complete.parent / "minimal.toml").write_text(example.read_text())
    minimal = mount_arguments.main(
        ["--config", os.fspath(tmp_path / "minimal.toml")], standalone_mode=False
    )
    # Except for two settings, the comments show the defaults.
    assert parsed.key_file == tmp_path / "key.json"
    assert parsed.fuse_options == ("noexec", "nosuid", "nodev")
    for name in ("memory_bytes", "read_timeout_seconds", "uid", "gid", "file_mode", "log_level"):
        assert getattr(parsed, name) == getattr(minimal, name)


def test_a_directory_is_not_a_configuration_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a regular file"):
        config.main(["check", os.fspath(tmp_path)], standalone_mode=False)


@pytest.mark.mount
def test_mount_reads_the_file_that_a_line_of_fstab_names(
    tmp_path: Path, mountpoint: Path, environment: dict[str, str]
) -> None:
    """`mount -t fuse.gcsmux-mount` starts the installed command, in a separate namespace."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    path = tmp_path / "data.toml"
    path.write_text('only_dir = "dir"\nfile_mode = "640"\n')
    script = (
        "mount -t tmpfs none /usr/local/bin && ln -s $1/gcsmux-mount /usr/local/bin || exit 99\n"
        "mount -t fuse.gcsmux-mount -o ro,_netdev,config=$2 gs://my-bucket $3 || exit 98\n"
        "cat $3/hello; stat -c %a $3/hello; umount $3"
    )
    done = subprocess.run(
        ["unshare", "--mount", "bash", "-c", script, "bash", BIN, path, mountpoint],
        env=environment | {"PATH": f"/usr/local/bin:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "hello\n640\n", "")


@pytest.mark.mount
def test_a_running_mount_shows_its_settings_and_its_own_choices(
    tmp_path: Path, mountpoint: Path, environment: dict[str, str]
) -> None:
    """The mount has few file descriptors, so it has fewer connections than it wants."""
    path = tmp_path / "data.toml"
    path.write_text('bucket = "my-bucket"\nmemory = "64MiB"')
    command = f"ulimit -n 70; {BIN}/gcsmux-mount --config {path} {mountpoint}"
    subprocess.run(["bash", "-c", command], env=environment, timeout=LIMIT_SECONDS, check=True)

    def shown(*options: str) -> str:
        done = subprocess.run(
            [BIN / "gcsmux", "config", "show", mountpoint, *options],
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
            check=True,
        )
        return done.stdout

    change: list[str | Path] = [BIN / "gcsmux", "log-level", mountpoint, "warning"]
    subprocess.run(change, timeout=LIMIT_SECONDS, check=True, capture_output=True)
    report = json.loads(shown("--json"))
    rows = {row["name"]: row for row in report["settings"]}
    assert rows["memory"]["place"] == f"{path}, line 2"
    assert (rows["mountpoint"]["value"], rows["mountpoint"]["origin"]) == (
        f"{mountpoint}",
        "option",
    )
    assert (rows["log_level"]["value"], rows["log_level"]["origin"]) == ("warning", "default")
    assert "log-level" in rows["log_level"]["reason"]
    assert rows["endpoint"]["place"] == "STORAGE_EMULATOR_HOST_GRPC"
    choices = {each["name"]: each for each in report["adaptations"]}
    documented = re.findall(r"^\| `(\w+)` \|", DOCUMENT, re.MULTILINE)
    assert list(choices) == documented
    assert "flat namespace" in choices["bucket"]["value"]
    assert choices["memory_for_blocks"]["value"] == "56MiB of 64MiB"
    assert "may open 70 files" in choices["connections"]["reason"]
    assert read_config_text(shown(), tmp_path)["bucket"] == "my-bucket"


def read_config_text(text: str, folder: Path) -> dict[str, object]:
    values = parse_config(text, folder / "shown.toml", FILE_SETTINGS)
    return {name: each.value for name, each in values.items()}
