"""What `gcsmux-mount` needs of click beyond click: `-o`, headings, and our own parsers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gcsmux_fs.commands.mount_options import sort_options
from gcsmux_fs.model.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["MountCommand", "long_options", "read_by"]

# In a line of fstab these would not configure a mount but keep it from happening.
_NOT_FOR_FSTAB = frozenset({"foreground", "help", "version"})

# The mount point of SELinux. It exists only where the kernel has SELinux turned on.
_SELINUX = Path("/sys/fs/selinux")

_T = TypeVar("_T")


class MountCommand(click.Command):
    """A command that knows `-o`, and shows its options under headings (heading: names)."""

    def __init__(self, *args: Any, headings: Mapping[str, Sequence[str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._headings = headings

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put our own options found in `-o` before the others, so that these win, and parse."""
        self._refuse_one_dash(args)
        found, _, _ = self.make_parser(ctx).parse_args(list(args))
        takes_value = {
            name: not option.is_flag
            for name, option in long_options(self).items()
            if option.name not in _NOT_FOR_FSTAB
        }
        options = sort_options(
            found.get("mount_options", ()),
            takes_value,
            tolerant="sloppy" in found,
            selinux=_SELINUX.exists(),
        )
        own = [f"--{name}" if text is None else f"--{name}={text}" for name, text in options.own]
        rest = super().parse_args(ctx, own + args)
        ctx.params["mount_options"] = options.fuse
        return rest

    def _refuse_one_dash(self, args: list[str]) -> None:
        """Refuse `-only-dir`, which would otherwise be read as `-o nly-dir`."""
        known = long_options(self)
        for text in args[: args.index("--")] if "--" in args else args:
            if text.startswith("-") and text[1:].partition("=")[0] in known:
                raise click.NoSuchOption(text)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each heading with its options."""
        records = {
            param.name: record
            for param in self.get_params(ctx)
            if isinstance(param, click.Option) and (record := param.get_help_record(ctx))
        }
        for heading, names in self._headings.items():
            with formatter.section(heading):
                formatter.write_dl([records.pop(name) for name in names])
        with formatter.section("Help"):
            formatter.write_dl(list(records.values()))


def long_options(command: click.Command) -> dict[str, click.Option]:
    """Return the options that users may name, by their long names without the dashes."""
    return {
        name.removeprefix("--"): param
        for param in command.params
        if isinstance(param, click.Option) and not param.hidden
        for name in param.opts
        if name.startswith("--")
    }


def read_by(
    parse: Callable[[str], _T],
) -> Callable[[click.Context, click.Parameter, str | None], _T | None]:
    """Turn a parser of ours into click's callback, so that its sentence names the option."""

    def callback(ctx: click.Context, param: click.Parameter, text: str | None) -> _T | None:
        if text is None:
            return None
        try:
            return parse(text)
        except ConfigError as error:
            raise click.BadParameter(str(error), ctx, param) from None

    return callback
