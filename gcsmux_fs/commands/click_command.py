"""Additions to click: headings and examples in the help, usage errors with the remedy."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.settings.similar_names import closest_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = [
    "HeadedCommand",
    "SuggestingGroup",
    "examples",
    "long_options",
    "parsed_by",
    "usage_error",
]

_T = TypeVar("_T")

# The message of click.Command.parse_args about arguments after the last one that it takes.
_EXTRA_ARGUMENTS = re.compile(r"Got unexpected extra arguments? \((.*)\)\.?$", re.DOTALL)


class HeadedCommand(click.Command):
    """A command whose help shows the options under headings.

    `headings` maps each heading to the names of its options. An option without a heading is shown
    under "Help".
    """

    def __init__(self, *args: Any, headings: Mapping[str, Sequence[str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.headings = headings

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments; refuse a long option that is written with one dash."""
        self.refuse_single_dash(args)
        return super().parse_args(ctx, args)

    def refuse_single_dash(self, args: list[str]) -> None:
        """Raise NoSuchOption for options like `-only-dir`, which click reads as `-o nly-dir`."""
        known = long_options(self)
        for text in args[: args.index("--")] if "--" in args else args:
            if text.startswith("-") and text[1:].partition("=")[0] in known:
                raise click.NoSuchOption(text)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each heading, and below it the help of its options."""
        records = {
            param.name: record
            for param in self.get_params(ctx)
            if isinstance(param, click.Option) and (record := param.get_help_record(ctx))
        }
        for heading, names in self.headings.items():
            with formatter.section(heading):
                formatter.write_dl([records.pop(name) for name in names])
        with formatter.section("Help"):
            formatter.write_dl(list(records.values()))


class SuggestingGroup(click.Group):
    """A group whose error about an unknown subcommand names the most similar subcommand."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the subcommand; raise UsageError with the most similar name if it is unknown."""
        name, known = args[0], self.list_commands(ctx)
        if name not in known and not name.startswith("-"):
            guess = closest_name(name, known)
            hint = f"did you mean {guess}?" if guess else "--help lists all commands."
            raise click.UsageError(f"unknown command {name}: {hint}", ctx)
        return super().resolve_command(ctx, args)


def examples(*commands: str) -> str:
    """Return the end of a command's help: each example on a line of its own."""
    # The backspace is click's sign for a paragraph whose lines are not joined.
    return "\n".join(["\b", "Examples:", *(f"  {each}" for each in commands)])


def long_options(command: click.Command) -> dict[str, click.Option]:
    """Return the options that the help shows, by their long names without the dashes."""
    return {
        name.removeprefix("--"): param
        for param in command.params
        if isinstance(param, click.Option) and not param.hidden
        for name in (*param.opts, *param.secondary_opts)
        if name.startswith("--")
    }


def parsed_by(
    parse: Callable[[str], _T],
) -> Callable[[click.Context, click.Parameter, str | None], _T | None]:
    """Return a click callback that calls `parse`, and that names the option in error messages."""

    def callback(ctx: click.Context, param: click.Parameter, text: str | None) -> _T | None:
        if text is None:
            return None
        try:
            return parse(text)
        except ConfigError as error:
            raise click.BadParameter(str(error), ctx, param) from None

    return callback


def usage_error(
    error: click.ClickException, command: click.Command, program: str, arguments: Sequence[str]
) -> str:
    """Return click's error as one sentence that names the option as the user wrote it."""
    if isinstance(error, click.NoSuchOption):
        return _unknown_option(error.option_name, command, arguments)
    if isinstance(error, click.MissingParameter) and error.param is not None:
        missing = error.param.human_readable_name.upper()
        return f"{missing} is missing: {_correct_form(command, program)}"
    if isinstance(error, click.BadParameter) and error.param is not None:
        return f"{error.param.opts[-1]}: {error.message}"
    if isinstance(error, click.BadOptionUsage):
        return _wrong_value(error.option_name, command)
    message = error.format_message()
    if extra := _EXTRA_ARGUMENTS.match(message):
        return f"unexpected argument {extra[1]}: {_correct_form(command, program)}"
    return message[:1].lower() + message[1:]


def _correct_form(command: click.Command, program: str) -> str:
    usage = command.collect_usage_pieces(click.Context(command))
    return f"write {' '.join([program, *usage])}."


def _wrong_value(name: str, command: click.Command) -> str:
    """Return the message about an option without its value, or about a flag with a value."""
    for option in command.params:
        if isinstance(option, click.Option) and name in (*option.opts, *option.secondary_opts):
            if option.is_flag:
                return f"{name} takes no value: write only {name}."
            return (
                f"{name} has no value: write {name} {option.make_metavar(click.Context(command))}."
            )
    return f"{name} has a wrong value: --help lists all options."


def _unknown_option(name: str, command: click.Command, arguments: Sequence[str]) -> str:
    """Return the message about an unknown option, with the most similar option as a suggestion.

    If the user wrote `-memory`, click gives only `-m` as `name`. Therefore the message takes the
    whole word from `arguments`.
    """
    written = next((text.partition("=")[0] for text in arguments if text.startswith(name)), name)
    known = [*long_options(command), "help"]
    guess = closest_name(written.lstrip("-").replace("_", "-"), known)
    hint = f"did you mean --{guess}?" if guess else "--help lists all options."
    return f"unknown option {written}: {hint}"
