"""What `gcsmux install-unit` and `gcsmux uninstall-unit` do, as steps that are shown first.

Nothing is changed while a plan is made. `confirm` shows the plan and asks, `carry_out` runs it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gcsmux_fs.commands.marked_files import FileState, file_state, read_if_exists, write_file
from gcsmux_fs.model.errors import ConfigError, GcsmuxError
from gcsmux_fs.process.shell_commands import command as quoted_command

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Plan", "PlannedStep", "SystemRoot", "confirm"]

# Longer than the TimeoutStartSec of the unit, after which systemd itself reports a failed start.
_COMMAND_SECONDS = 600
# systemctl(1) writes what it has done to stderr too, before the error.
_PROGRESS = ("Created symlink", "Removed ")


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One change: a line that describes it, the lines below it, and the function that does it."""

    title: str
    details: tuple[str, ...]
    run: Callable[[], None]


@dataclass(frozen=True, slots=True)
class SystemRoot:
    """The system whose files are changed: this machine (`/`), or an image below a directory.

    Raises:
        ConfigError: the directory does not exist. A new one would hide a mistyped --root.
    """

    path: Path

    def __post_init__(self) -> None:
        if not self.path.is_dir():
            raise ConfigError(
                f"--root: {self.path} is no directory: name the root of a machine's image."
            )

    @property
    def is_this_machine(self) -> bool:
        """Whether the files are those of this machine."""
        return self.path == Path("/")

    def file(self, path: str | Path) -> Path:
        """Return where a file of the system is, such as /etc/fstab."""
        return self.path / os.fspath(path).lstrip("/")

    def systemctl(self, *words: str) -> list[str]:
        """Return a command of systemctl(1) for this system."""
        root = [] if self.is_this_machine else [f"--root={self.path}"]
        return ["systemctl", *root, *words]

    @property
    def runs_systemd(self) -> bool:
        """Whether systemd manages the system now (sd_booted(3))."""
        return self.is_this_machine and Path("/run/systemd/system").is_dir()


@dataclass(slots=True)
class Plan:
    """The steps in their order, and remarks for the user."""

    steps: list[PlannedStep] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def write(self, path: Path, content: str, *, force: bool, shown: Sequence[str]) -> None:
        """Add a step that writes a file, unless the file has this content already.

        Raises:
            ConfigError: the file was not written by install-unit, or was edited, without `force`.
        """
        present = read_if_exists(path)
        if present == content:
            return
        state = file_state(present)
        if state is FileState.FOREIGN and not force:
            raise ConfigError(
                f"{path} was edited, or another program has written it: add --force to replace it."
            )
        verb = "write" if state is FileState.MISSING else "replace"
        title = f"{verb} {path}"
        self.steps.append(PlannedStep(title, tuple(shown), lambda: write_file(path, content)))

    def remove(self, path: Path, *, force: bool) -> None:
        """Add a step that removes a file, or a remark if the file is kept because it was edited."""
        state = file_state(read_if_exists(path))
        if state is FileState.MISSING:
            return
        if state is FileState.FOREIGN and not force:
            self.remarks.append(f"{path} is kept, because it was edited. --force removes it.")
            return
        self.steps.append(PlannedStep(f"remove {path}", (), path.unlink))

    def run(self, words: Sequence[str], *, hint: str = "") -> None:
        """Add a step that runs a command. `hint` says after a failure where the reason is."""
        self.steps.append(PlannedStep(f"run {' '.join(words)}", (), lambda: _run(words, hint)))

    def carry_out(self) -> None:
        """Run all steps; a step that fails ends the plan.

        Raises:
            GcsmuxError: a step failed.
        """
        for step in self.steps:
            try:
                step.run()
            except OSError as error:
                raise GcsmuxError(f"cannot {step.title}: {error.strerror}.") from None


def confirm(plan: Plan, system: SystemRoot, *, dry_run: bool, yes: bool) -> bool:
    """Show the plan, and return whether to carry it out.

    Raises:
        ConfigError: the user cannot be asked, or may not change the system.
    """
    for step in plan.steps:
        click.echo(step.title)
        for line in step.details:
            click.echo(f"    {line}".rstrip())
    for remark in plan.remarks:
        click.echo(f"Note: {remark}")
    if not plan.steps:
        click.echo("There is nothing to do.")
        return False
    if dry_run:
        return False
    if system.is_this_machine and os.geteuid() != 0:
        raise ConfigError("only root can change these files: run the command as root.")
    if yes:
        return True
    if not sys.stdin.isatty():
        raise ConfigError("the command asks on a terminal only: add --yes, or --dry-run.")
    return click.confirm("Continue?")


def _run(words: Sequence[str], hint: str) -> None:
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_COMMAND_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise GcsmuxError(
            f"{quoted_command(*words)} did not end within {_COMMAND_SECONDS} s."
        ) from None
    except OSError as error:
        raise GcsmuxError(f"{quoted_command(*words)} cannot be run: {error.strerror}.") from None
    if done.returncode:
        reason = _reason(done.stderr) or f"exit code {done.returncode}"
        raise GcsmuxError(f"{quoted_command(*words)} failed: {reason}{hint}.")


def _reason(stderr: str) -> str:
    """Return the first line of an error message of systemctl(1), or "" if there is none."""
    lines = [line for line in stderr.splitlines() if not line.startswith(_PROGRESS)]
    return lines[0].strip().rstrip(".") if lines else ""
