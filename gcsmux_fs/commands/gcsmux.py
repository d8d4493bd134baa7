"""The command `gcsmux`: everything about mounts except for mounting, as subcommands.

Each subcommand is a click command in a module of its own. The module is imported only when its
subcommand runs, so `gcsmux --help` and one subcommand never wait for the libraries of another. To
add a subcommand, write its module and add a line to `SUBCOMMANDS`.

A subcommand fails by raising a GcsmuxError, whose message is one sentence for the user. A
ConfigError is a usage error.

Exit codes: 0 after success, 1 after a failure, 2 after a usage error. A subcommand may return
another exit code, which its help then names.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from gcsmux_fs import __version__
from gcsmux_fs.commands.click_command import SuggestingGroup, usage_error
from gcsmux_fs.model.errors import ConfigError, GcsmuxError
from gcsmux_fs.process.logs import sentence
from gcsmux_fs.process.standard_streams import print_error

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["PROGRAM", "SUBCOMMANDS", "Subcommand", "gcsmux", "run"]

PROGRAM = "gcsmux"
"""The name of the command in messages."""

_FAILURE_EXIT_CODE = 1
_USAGE_EXIT_CODE = 2


@dataclass(frozen=True, slots=True)
class Subcommand:
    """Where a subcommand is defined, and its line in `gcsmux --help`."""

    module: str
    command: str
    summary: str


SUBCOMMANDS: dict[str, Subcommand] = {
    "list": Subcommand(
        "gcsmux_fs.commands.list_mounts", "list_mounts", "Show all mounts of this machine."
    ),
    "doctor": Subcommand(
        "gcsmux_fs.commands.doctor", "doctor", "Examine the way to a bucket, with remedies."
    ),
    "top": Subcommand("gcsmux_fs.commands.top", "top", "Show live what a mount does."),
    "stats": Subcommand("gcsmux_fs.commands.stats", "stats", "Show the metrics of a mount."),
    "streams": Subcommand(
        "gcsmux_fs.commands.streams", "streams", "Show the open streams of a mount."
    ),
    "warm": Subcommand("gcsmux_fs.commands.warm", "warm", "Fetch files into the cache of a mount."),
    "forget": Subcommand(
        "gcsmux_fs.commands.forget", "forget", "Drop cached names and bytes of paths."
    ),
    "cache": Subcommand(
        "gcsmux_fs.commands.cache_command", "cache", "Examine, verify or empty a cache on disk."
    ),
    "changes": Subcommand(
        "gcsmux_fs.commands.changes_command",
        "changes",
        "Set up the notifications about changes of a bucket.",
    ),
    "log-level": Subcommand(
        "gcsmux_fs.commands.log_level", "change_log_level", "Show or change the log level."
    ),
    "reload": Subcommand(
        "gcsmux_fs.commands.reload", "reload_mount", "Drop all cached names of a mount."
    ),
    "config": Subcommand(
        "gcsmux_fs.commands.config_command", "config", "Show all settings, and check a file."
    ),
    "install-unit": Subcommand(
        "gcsmux_fs.commands.install_unit", "install_unit", "Let systemd mount a bucket at boot."
    ),
    "uninstall-unit": Subcommand(
        "gcsmux_fs.commands.uninstall_unit",
        "uninstall_unit",
        "Remove what install-unit has written.",
    ),
}
"""All subcommands, in the order of `gcsmux --help`."""


class _LazyGroup(SuggestingGroup):
    """A group that imports the module of a subcommand when the subcommand runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all subcommands."""
        return list(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a subcommand; None if there is no subcommand of this name."""
        found = SUBCOMMANDS.get(cmd_name)
        if found is None:
            return None
        command: click.Command = getattr(importlib.import_module(found.module), found.command)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """Propose subcommands or options, without importing the modules of the subcommands."""
        if incomplete.startswith("-"):
            return click.Command.shell_complete(self, ctx, incomplete)
        return [
            CompletionItem(name, help=each.summary)
            for name, each in SUBCOMMANDS.items()
            if name.startswith(incomplete)
        ]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the name and the summary of each subcommand, without importing its module."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, each.summary) for name, each in SUBCOMMANDS.items()])


@click.group(
    cls=_LazyGroup,
    name=PROGRAM,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name=PROGRAM)
def gcsmux() -> None:
    """Examine and control mounts of Google Cloud Storage buckets.

    `gcsmux-mount` mounts a bucket. `gcsmux COMMAND --help` explains each command.
    """


def run(arguments: Sequence[str]) -> int:
    """Run `gcsmux` and return its exit code; print a failure as one sentence."""
    try:
        result = gcsmux.main(list(arguments), prog_name=PROGRAM, standalone_mode=False)
    except click.Abort:
        # Click replaces Ctrl+C by this exception. The caller prints a sentence.
        raise KeyboardInterrupt from None
    except click.exceptions.NoArgsIsHelpError as error:
        print_error(error.format_message())
        return _USAGE_EXIT_CODE
    except click.ClickException as error:
        return _fail(_reason(error, arguments), _USAGE_EXIT_CODE)
    except ConfigError as error:
        return _fail(str(error), _USAGE_EXIT_CODE)
    except GcsmuxError as error:
        return _fail(str(error), _FAILURE_EXIT_CODE)
    except OSError as error:
        return _fail(f"the output cannot be written: {error.strerror}", _FAILURE_EXIT_CODE)
    return result if isinstance(result, int) else 0


def _reason(error: click.ClickException, arguments: Sequence[str]) -> str:
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is not None:
        return usage_error(error, context.command, context.command_path, arguments)
    # Click's parser omits the context of some errors.
    command: click.Command = gcsmux
    path = [PROGRAM]
    for word in arguments:
        if not isinstance(command, click.Group):
            break
        command = command.get_command(click.Context(command), word) or command
        path.append(word)
    return usage_error(error, command, " ".join(path), arguments)


def _fail(reason: str, exit_code: int) -> int:
    print_error(f"{PROGRAM}: {sentence(reason)}")
    return exit_code
