"""Tests of the command `gcsmux` itself: its help, its usage errors, and what it imports."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys

import click
import pytest

from gcsmux_fs.commands import gcsmux, list_mounts


@pytest.mark.parametrize("name", gcsmux.SUBCOMMANDS)
def test_every_subcommand_has_help_with_examples(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gcsmux.run([name, "--help"]) == 0
    help_text = capsys.readouterr().out
    assert f"Usage: gcsmux {name}" in help_text
    lines = help_text.partition("Examples:\n")[2].splitlines()
    assert lines
    assert {line.startswith(f"    gcsmux {name}") for line in lines} == {True}


def test_the_help_lists_every_subcommand_with_its_summary(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert gcsmux.run(["--help"]) == 0
    help_text = " ".join(capsys.readouterr().out.split())
    for name, each in gcsmux.SUBCOMMANDS.items():
        assert f"{name} {each.summary}" in help_text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lsit"], "unknown command lsit: did you mean list?"),
        (["xyzzy"], "unknown command xyzzy: --help lists all commands."),
        (["list", "--jsno"], "unknown option --jsno: did you mean --json?"),
        (["list", "extra"], "unexpected argument extra: write gcsmux list [OPTIONS]."),
        (["config", "shwo"], "unknown command shwo: did you mean show?"),
        (
            ["stats", "a", "b"],
            "unexpected argument b: write gcsmux stats [OPTIONS] [MOUNTPOINT].",
        ),
        (["config", "show", "--memory"], "--memory has no value: write --memory SIZE."),
        (["list", "--json=1"], "--json takes no value: write only --json."),
        (["--verison"], "unknown option --verison: did you mean --version?"),
    ],
)
def test_a_mistyped_command_gets_one_sentence(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gcsmux.run(arguments) == 2
    assert capsys.readouterr().err == f"gcsmux: {message}\n"


def test_gcsmux_without_a_command_prints_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert gcsmux.run([]) == 2
    assert "Commands:" in capsys.readouterr().err


def test_every_subcommand_is_a_click_command() -> None:
    for each in gcsmux.SUBCOMMANDS.values():
        command = getattr(importlib.import_module(each.module), each.command)
        assert isinstance(command, click.Command)


def test_the_help_and_the_modules_of_the_subcommands_do_not_load_grpc() -> None:
    modules = [each.module for each in gcsmux.SUBCOMMANDS.values()]
    code = (
        "import importlib, sys\n"
        f"for name in {modules}: importlib.import_module(name)\n"
        "sys.exit('grpc' in sys.modules or 'pyfuse3' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=20).returncode == 0


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_characters_that_the_output_lacks_are_escaped(encoding: str) -> None:
    code = (
        "import sys; from gcsmux_fs import cli; from gcsmux_fs.commands import gcsmux;"
        "gcsmux.run = lambda _: print('\u25cf');"
        "cli.gcsmux_command()"
    )
    command = [sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=20)
    assert (done.stdout, done.stderr) == (b"\\u25cf\n", b"")


def test_ctrl_c_reaches_the_caller_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> tuple[()]:
        raise KeyboardInterrupt

    monkeypatch.setattr(list_mounts, "mount_table", interrupt)
    with pytest.raises(KeyboardInterrupt):
        gcsmux.run(["list"])
