"""Tests of the man pages and the completion scripts in `share/`, with the programs that use them.

A test is skipped if its program is not installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from gcsmux_fs.commands import completions
from gcsmux_fs.fuse.mountinfo import parse_mountinfo

ROOT = Path(__file__).parents[2]
SHARE = ROOT / "share"
COMMANDS = Path(sys.executable).parent
PAGES = sorted(SHARE.glob("man/man*/*"))
TIMEOUT_SECONDS = 60


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env={**os.environ, "PATH": f"{COMMANDS}:{os.environ['PATH']}", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


def test_the_files_match_the_help_of_the_commands() -> None:
    result = run(sys.executable, "-P", ROOT / "scripts" / "manual.py", "--check")
    assert (result.returncode, result.stderr) == (0, "")


@needs("man")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_man_shows_each_page_without_a_warning(page: Path) -> None:
    shown = run("man", "--warnings", "-l", page, LC_ALL="C.UTF-8", MANWIDTH="80", MANPAGER="cat")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert page.stem.upper() in shown.stdout


@needs("mandoc")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_mandoc_finds_no_fault(page: Path) -> None:
    # The pages have a version instead of a date, so that a build at any time gives the same page.
    lines = run("mandoc", "-T", "lint", "-W", "warning", page).stdout.splitlines()
    assert [line for line in lines if "missing date" not in line] == []


def bash_proposals(words: list[str]) -> list[str]:
    """Return what bash's completion function proposes for the last word."""
    program = words[0]
    script = SHARE / "bash-completion" / "completions" / program
    function = f"_{program.replace('-', '_')}_completion"
    code = (
        f"compopt() {{ echo compopt $*; }}; source {script}; complete -p {program} >/dev/null;"
        ' COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1));'
        f" {function} {program}; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    result = run("bash", "--norc", "-c", code, "bash", *words)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout.split("\n")[:-1]


def test_bash_completes_subcommands_options_and_their_values() -> None:
    assert "list" in bash_proposals(["gcsmux", "li"])
    assert bash_proposals(["gcsmux", "list", "--js"]) == ["--json"]
    assert bash_proposals(["gcsmux-mount", "--mem"]) == ["--memory"]
    assert bash_proposals(["gcsmux-mount", "--log-level", "deb"]) == ["debug"]


def test_bash_completes_files_and_mount_points() -> None:
    assert "compopt -o default" in bash_proposals(["gcsmux-mount", "--key-file", "/e"])
    assert "compopt -o default" in bash_proposals(["gcsmux", "warm", "/mnt/a"])
    assert bash_proposals(["gcsmux", "log-level", "/mnt/data", "deb"]) == ["debug"]
    assert "compopt -o dirnames" in bash_proposals(["gcsmux-mount", "my-bucket", "/m"])


@needs("zsh")
@pytest.mark.parametrize("program", ["gcsmux", "gcsmux-mount"])
def test_zsh_loads_the_script(program: str) -> None:
    folder = SHARE / "zsh" / "site-functions"
    code = f"fpath=({folder} $fpath); autoload -U compinit; compinit -D; print $_comps[{program}]"
    result = run("zsh", "-f", "-c", code)
    assert result.stdout == f"_{program}\n", result.stderr


@needs("fish")
def test_fish_completes_options(tmp_path: Path) -> None:
    script = SHARE / "fish" / "vendor_completions.d" / "gcsmux-mount.fish"
    result = run(
        "fish",
        "--no-config",
        "-c",
        f"source {script}; complete -C 'gcsmux-mount --mem'",
        HOME=str(tmp_path),
    )
    assert result.stdout.split()[0] == "--memory", result.stderr


def test_a_proposal_does_not_load_grpc() -> None:
    code = (
        "import sys\n"
        "from gcsmux_fs.commands import gcsmux, mount\n"
        "for command in (gcsmux.gcsmux, mount.mount_arguments):\n"
        "    try: command.main([], prog_name='x', complete_var='VAR')\n"
        "    except SystemExit: pass\n"
        "sys.exit('grpc' in sys.modules or 'pyfuse3' in sys.modules)"
    )
    result = run(
        sys.executable, "-c", code, VAR="bash_complete", COMP_WORDS="x\n--", COMP_CWORD="1"
    )
    assert result.returncode == 0, result.stderr
    assert "--help" in result.stdout


def test_mount_points_are_completed(monkeypatch: pytest.MonkeyPatch) -> None:
    table = (
        b"36 25 0:50 / /mnt/data ro - fuse.gcsmux-mount gs://b ro,user_id=0\n"
        b"37 25 0:51 / /mnt/disk ro - ext4 /dev/sdb ro\n"
    )
    monkeypatch.setattr(completions, "mount_table", lambda: parse_mountinfo(table))
    argument = click.Argument(["mountpoint"])
    context = click.Context(click.Command("top"))
    found = completions.complete_mountpoint(context, argument, "/mnt/d")
    assert [item.value for item in found] == ["/mnt/data"]
    assert completions.complete_mountpoint(context, argument, "/srv") == []
