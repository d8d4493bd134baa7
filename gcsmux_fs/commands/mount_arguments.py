"""The arguments of `gcsmux-mount`, and their conversion to Settings.

The options are made from the table of settings (`settings/setting_table.py`).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gcsmux_fs import __version__
from gcsmux_fs.commands.click_command import HeadedCommand, long_options
from gcsmux_fs.commands.completions import complete_directory
from gcsmux_fs.commands.mount_options import sort_options
from gcsmux_fs.commands.settings_builder import build_settings
from gcsmux_fs.commands.shared_options import (
    INSIDE_O,
    ConfigFile,
    config_option,
    effective_values,
    options_below,
)
from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.settings.service_manager import is_service
from gcsmux_fs.settings.setting_table import HEADINGS, settings_below
from gcsmux_fs.settings.value_types import MOUNTPOINT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gcsmux_fs.settings.setting import EffectiveSetting, Setting
    from gcsmux_fs.settings.settings import Settings

__all__ = [
    "OPTIONS_BY_HEADING",
    "PROGRAM",
    "MountCommand",
    "mount_arguments",
    "mount_parameters",
    "values_with_words",
]

_Decorated = TypeVar("_Decorated", bound="Callable[..., object]")

PROGRAM = "gcsmux-mount"
"""The name of the command in messages and in the system log."""

OPTIONS_BY_HEADING = {
    heading: tuple(setting.field for setting in settings_below(heading)) for heading in HEADINGS
}
"""The parameters of the command, by the headings under which `--help` shows them."""

OPTIONS_BY_HEADING[HEADINGS[0]] += ("config",)

# The options that `-o` does not accept, because a line of fstab with one of them would not mount in
# the background.
_NOT_FOR_FSTAB = frozenset({"as_json", "clear", "foreground", "help", "version"})

# What to write for each argument.
_ARGUMENTS = {
    "BUCKET": "name, gs://name or gs://name/prefix",
    "MOUNTPOINT": "the path of a directory",
}


class MountCommand(HeadedCommand):
    """A command that also accepts its own long options inside of `-o`, among the mount options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the options inside of `-o` first, so that options outside of `-o` override them."""
        self.refuse_single_dash(args)
        values, _, _ = self.make_parser(ctx).parse_args(list(args))
        takes_value = {
            name: not option.is_flag
            for name, option in long_options(self).items()
            if option.name not in _NOT_FOR_FSTAB
        }
        options = sort_options(
            values.get("fuse_options", ()),
            takes_value,
            tolerant="sloppy" in values,
        )
        own = [f"--{name}" if text is None else f"--{name}={text}" for name, text in options.own]
        rest = super().parse_args(ctx, own + args)
        ctx.params["fuse_options"] = options.fuse
        known = long_options(self)
        ctx.meta[INSIDE_O] = {known[name].name for name, _ in options.own} - values.keys()
        return rest


def mount_parameters(command: _Decorated) -> _Decorated:
    """Add the arguments and the options of `gcsmux-mount`."""
    # The four options that mount(8) passes to its helper programs, of which this command is one.
    # Only -s has an effect here.
    for names in (("-s", "sloppy"), ("-n", "no_mtab"), ("-v", "verbose")):
        command = click.option(*names, is_flag=True, hidden=True, expose_value=False)(command)
    command = click.option("-N", "namespace", hidden=True, expose_value=False)(command)
    for heading in HEADINGS:
        command = options_below(heading)(command)
    command = config_option(command)
    command = click.argument(
        "mountpoint", metavar="MOUNTPOINT", required=False, shell_complete=complete_directory
    )(command)
    return click.argument("bucket", metavar="BUCKET", required=False)(command)


@click.command(
    cls=MountCommand,
    headings=OPTIONS_BY_HEADING,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    options_metavar="[OPTIONS]",
    add_help_option=True,
)
@mount_parameters
@click.version_option(__version__, prog_name=PROGRAM)
def mount_arguments(
    *,
    bucket: str | None,
    mountpoint: str | None,
    config: ConfigFile | None,
    fuse_options: tuple[str, ...],
    **options: Any,
) -> Settings:
    """Mount a Google Cloud Storage bucket, read-only, as a directory.

    BUCKET is name, gs://name or gs://name/prefix. MOUNTPOINT is an empty directory. The command
    returns when the mount is ready. To unmount, run `umount MOUNTPOINT` as root, or
    `fusermount3 -u MOUNTPOINT` as another user.

    Write sizes like 64MiB or 1GiB, and durations like 30s, 5ms or 1m30s. The environment variable
    STORAGE_EMULATOR_HOST_GRPC=host:port replaces --endpoint, --plaintext and --anonymous.

    The exit code is 1 after a failure that may end by itself, such as an outage, 2 after a wrong
    command, and 78 after a failure that only a change can end, such as a missing bucket.

    If the file of --config contains bucket and mountpoint, leave both arguments out. `gcsmux config
    show` prints the value of each setting and where it was set.
    """
    merged = values_with_words(bucket, mountpoint, config, options)
    for name, word in (("bucket", bucket), ("mountpoint", mountpoint)):
        if not merged[name].value:
            raise ConfigError(_missing(merged[name].setting, word, config))
    return build_settings(merged, fuse_options)


def values_with_words(
    bucket: str | None,
    mountpoint: str | None,
    config: ConfigFile | None,
    options: Mapping[str, Any],
) -> dict[str, EffectiveSetting]:
    """Return all settings by field, from the words of the command line and the other sources.

    An empty word counts as not given. A single word is MOUNTPOINT if another source gives the
    bucket, and BUCKET otherwise.

    Raises:
        ConfigError: an environment variable or the path of the mount point is wrong.
    """
    if bucket and mountpoint is None and effective_values(config, options)["bucket"].value:
        bucket, mountpoint = None, bucket
    words = {
        "bucket": bucket or None,
        "mountpoint": MOUNTPOINT.parse(mountpoint) if mountpoint else None,
    }
    return effective_values(config, {**options, **words})


def _missing(argument: Setting, word: str | None, config: ConfigFile | None) -> str:
    """Return the message about an argument that is missing or empty, with no other source."""
    name = argument.option
    if config is None and word is None:
        return f"{name} is missing: write {PROGRAM} [OPTIONS] BUCKET MOUNTPOINT."
    if config is None:
        return f"{name} is an empty text: write {_ARGUMENTS[name]}."
    missing = "" if config.exists else ", which does not exist"
    other = f"write {name} on the command line"
    if is_service(os.environ) and config.path is not None:
        # The unit passes the variables of this file as the arguments.
        other = f"set {name} in {config.path.with_suffix('.env')}"
    return (
        f"{name} is missing: add {argument.name} = {argument.type.example} to"
        f" {config.path}{missing}, or {other}."
    )
