#!/usr/bin/env python3
"""Write the man pages and the completion scripts in `share/` from the help of the commands.

With --check the script writes nothing, and fails if a file in `share/` differs from the help. The
wheel and the Debian package install the files of `share/`.
"""

from __future__ import annotations

import importlib
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import get_completion_class

from gcsmux_fs import __version__
from gcsmux_fs.commands.click_command import HeadedCommand
from gcsmux_fs.commands.gcsmux import SUBCOMMANDS, gcsmux
from gcsmux_fs.commands.mount_arguments import MountCommand, mount_arguments
from gcsmux_fs.emulator.emulator_command import emulator_arguments
from gcsmux_fs.settings.setting_table import FILE_SETTINGS, HEADINGS

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
SHARE = ROOT / "share"
TEXTS = ROOT / "distribution" / "man"
"""The hand-written sections: one file per page, with the name of the page."""

# Where each shell looks for a completion script, below PREFIX/share.
COMPLETION_PATHS = {
    "bash": "bash-completion/completions/{program}",
    "zsh": "zsh/site-functions/_{program}",
    "fish": "fish/vendor_completions.d/{program}.fish",
}


@dataclass(frozen=True)
class Page:
    """A man page. `command` is None if the whole page is hand-written."""

    name: str
    section: int
    summary: str
    command: click.Command | None = None

    @property
    def path(self) -> str:
        """The path of the page below `share/`."""
        return f"man/man{self.section}/{self.name}.{self.section}"


PAGES = (
    Page("gcsmux", 1, "examine and control mounts of Google Cloud Storage buckets", gcsmux),
    Page("gcsmux.toml", 5, "the settings of a mount of a Google Cloud Storage bucket"),
    Page(
        "gcsmux-emulator",
        1,
        "serve local folders as Google Cloud Storage buckets, for tests",
        emulator_arguments,
    ),
    Page(
        "gcsmux-mount",
        8,
        "mount a Google Cloud Storage bucket, read-only, as a directory",
        mount_arguments,
    ),
    Page("mount.gcsmux", 8, "mount a Google Cloud Storage bucket by a line of fstab"),
)


def main() -> int:
    """Write or check all files; return the exit code."""
    files = dict((*pages(), *completions()))
    if "--check" in sys.argv[1:]:
        return check(files)
    for path, text in files.items():
        target = SHARE / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    return 0


def check(files: dict[str, str]) -> int:
    """Return 1 and name the files, if a file in `share/` is missing, outdated or left over."""
    present = {
        path.relative_to(SHARE).as_posix(): path.read_text()
        for path in SHARE.rglob("*")
        if path.is_file()
    }
    wrong = sorted(path for path in files.keys() | present if files.get(path) != present.get(path))
    if wrong:
        print(
            f"share/ does not match the help of the commands ({', '.join(wrong)}): run"
            " `.venv/bin/python scripts/manual.py`.",
            file=sys.stderr,
        )
    return 1 if wrong else 0


def completions() -> Iterator[tuple[str, str]]:
    """Yield the path below `share/` and the text of each completion script."""
    for program, command in (("gcsmux", gcsmux), ("gcsmux-mount", mount_arguments)):
        variable = f"_{program.replace('-', '_').upper()}_COMPLETE"
        for shell, path in COMPLETION_PATHS.items():
            kind = get_completion_class(shell)
            assert kind is not None
            # Bash's class would run bash to check the version of bash, which has no effect here.
            script = kind.source_template % kind(command, {}, program, variable).source_vars()
            yield path.format(program=program), script.strip() + "\n"


def pages() -> Iterator[tuple[str, str]]:
    """Yield the path below `share/` and the text of each man page."""
    for page in PAGES:
        lines = [
            f'.TH {page.name.upper()} {page.section} "" "gcsmux-fs {__version__}"',
            ".SH NAME",
            f"{escaped(page.name)} \\- {escaped(page.summary)}",
        ]
        if page.command is not None:
            lines += command_sections(page.command, page.name)
        before, marker, after = (
            (TEXTS / f"{page.name}.{page.section}.txt").read_text().partition("@SETTINGS@\n")
        )
        lines += [*hand_written(before), *(settings() if marker else ()), *hand_written(after)]
        yield page.path, "\n".join(without_empty_paragraphs(lines)) + "\n"


def without_empty_paragraphs(lines: list[str]) -> Iterator[str]:
    """Yield the lines without each `.PP` that begins no paragraph."""
    for line, following in zip(lines, [*lines[1:], ".PP"], strict=True):
        if line != ".PP" or not following.startswith((".PP", ".SH", ".SS", ".TP", ".RS")):
            yield line


def command_sections(command: click.Command, name: str) -> Iterator[str]:
    """Yield the sections SYNOPSIS, DESCRIPTION, OPTIONS and COMMANDS of a command."""
    context = click.Context(command, info_name=name, **command.context_settings)
    yield ".SH SYNOPSIS"
    yield synopsis(command, context)
    yield ".SH DESCRIPTION"
    yield from paragraphs(command.help or "")
    yield ".SH OPTIONS"
    yield from options(command, context, ".SS")
    if not isinstance(command, click.Group):
        return
    yield ".SH COMMANDS"
    for subcommand, where in SUBCOMMANDS.items():
        each: click.Command = getattr(importlib.import_module(where.module), where.command)
        yield from subcommand_sections(each, click.Context(each, context, subcommand))


def settings() -> Iterator[str]:
    """Yield each setting of the table: its key, an example, its help and its default."""
    for heading in HEADINGS:
        yield f'.SS "{escaped(heading)}"'
        for setting in (each for each in FILE_SETTINGS.values() if each.heading == heading):
            text = setting.help
            if setting.shown_default:
                reason = f", because {setting.reason}" if setting.reason else ""
                text += f" Default: {setting.shown_default}{reason}."
            yield ".TP"
            yield f"\\fB{escaped(setting.name)}\\fR = {escaped(setting.file_value)}"
            yield inline(text)


def subcommand_sections(command: click.Command, context: click.Context) -> Iterator[str]:
    """Yield a subsection for a subcommand, or for a group and each of its subcommands."""
    yield f".SS {escaped(context.command_path)}"
    yield synopsis(command, context)
    yield ".PP"
    yield from paragraphs(command.help or "")
    yield from options(command, context, ".PP")
    yield from examples(command.epilog or "")
    if isinstance(command, click.Group):
        for name, each in command.commands.items():
            yield from subcommand_sections(each, click.Context(each, context, name))


def synopsis(command: click.Command, context: click.Context) -> str:
    """Return the usage line: the command in bold, and its arguments."""
    pieces = " ".join(command.collect_usage_pieces(context))
    return f"\\fB{escaped(context.command_path)}\\fR {escaped(pieces)}"


def options(command: click.Command, context: click.Context, heading: str) -> Iterator[str]:
    """Yield the options, below their headings if the command has headings."""
    # `gcsmux config show` and `gcsmux install-unit` have all options of gcsmux-mount.
    ours = command is not mount_arguments and isinstance(command, MountCommand)
    known = {param.name for param in mount_arguments.params} if ours else set()
    records = {
        param.name: record
        for param in command.get_params(context)
        if isinstance(param, click.Option)
        and param.name not in known
        and (record := param.get_help_record(context))
    }
    if ours:
        yield f"{heading}\nThe command has the options of \\fBgcsmux\\-mount\\fR(8)"
        yield "and these:" if records.keys() - {"help"} else "and:"
    elif isinstance(command, HeadedCommand):
        for title, names in command.headings.items():
            yield f'{heading} "{escaped(title)}"'
            for name in names:
                yield from option(*records.pop(name))
        yield f"{heading} Help"
    for record in records.values():
        yield from option(*record)


def option(names: str, text: str) -> Iterator[str]:
    """Yield one option: its names in bold, its value in italics, and its help."""
    yield ".TP"
    yield " ".join(
        f"\\fB{escaped(word)}\\fR" if word.startswith("-") else f"\\fI{escaped(word)}\\fR"
        for word in names.split()
    )
    yield inline(" ".join(text.split()))


def examples(epilog: str) -> Iterator[str]:
    """Yield the examples in the epilog of a command, each on a line of its own."""
    title, _, rest = epilog.replace("\b", "").partition(":")
    commands = [part.strip() for part in re.split(r"\n|  +", rest) if part.strip()]
    if commands:
        yield ".PP"
        yield f"{escaped(title.strip())}:"
        yield from literal(commands)


def paragraphs(text: str) -> Iterator[str]:
    """Yield the paragraphs of a docstring; a paragraph after `\\b` keeps its lines."""
    for number, paragraph in enumerate(re.split(r"\n\s*\n", text.strip())):
        if number:
            yield ".PP"
        if paragraph.lstrip().startswith("\b"):
            yield from literal(paragraph.replace("\b", "").strip("\n").splitlines())
        else:
            yield inline(" ".join(paragraph.split()))


def hand_written(text: str) -> Iterator[str]:
    """Yield the sections of a text file.

    A line `# TITLE` begins a section, `## TITLE` a subsection, `: TERM` a term whose description
    follows, and four spaces begin a line of an example. Other lines are text, and an empty line
    ends a paragraph.
    """
    example: list[str] = []
    for line in [*text.splitlines(), ""]:
        if line.startswith("    "):
            example.append(line[4:])
            continue
        if example:
            yield from literal(example)
            example = []
        if line.startswith("## "):
            yield f'.SS "{escaped(line[3:])}"'
        elif line.startswith("# "):
            yield f'.SH "{escaped(line[2:])}"'
        elif line.startswith(": "):
            yield f".TP\n{inline(line[2:])}"
        elif line:
            yield inline(line)
        else:
            yield ".PP"


def literal(lines: list[str]) -> Iterator[str]:
    """Yield an indented block whose lines stay as they are."""
    yield from (".RS 4", ".nf", *(escaped(line) for line in lines), ".fi", ".RE")


def inline(text: str) -> str:
    """Return text for roff, in which the words between backquotes are bold."""
    parts = text.split("`")
    return "".join(
        f"\\fB{escaped(part, start=False)}\\fR" if index % 2 else escaped(part, start=index == 0)
        for index, part in enumerate(parts)
    )


def escaped(text: str, *, start: bool = True) -> str:
    """Return text for roff without special meaning; `start` is true at the begin of a line."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("~", "\\(ti")
    return f"\\&{text}" if start and text.startswith((".", "\\(aq")) else text


if __name__ == "__main__":
    sys.exit(main())
