"""Additions to click: headings in the help, and usage errors that name the option."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.settings.similar_names import closest_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["HeadedCommand", "long_options", "parsed_by", "usage_error"]

_T = TypeVar("_T")


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
        usage = " ".join(param.human_readable_name.upper() for param in _arguments(command))
        return f"{missing} is missing: write {program} [OPTIONS] {usage}."
    if isinstance(error, click.BadParameter) and error.param is not None:
        return f"{error.param.opts[-1]}: {error.message}"
    message = error.format_message()
    return message[:1].lower() + message[1:]


def _arguments(command: click.Command) -> list[click.Argument]:
    return [param for param in command.params if isinstance(param, click.Argument)]


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
