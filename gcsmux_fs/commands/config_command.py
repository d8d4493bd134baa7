"""The command `gcsmux config`: shows the settings of a mount, and checks configuration files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gcsmux_fs.commands.click_command import SuggestingGroup, examples
from gcsmux_fs.commands.completions import complete_value
from gcsmux_fs.commands.config_lines import config_lines
from gcsmux_fs.commands.mount_argument import ask_mount, understood
from gcsmux_fs.commands.mount_arguments import (
    OPTIONS_BY_HEADING,
    MountCommand,
    mount_parameters,
    values_with_words,
)
from gcsmux_fs.commands.settings_builder import build_settings
from gcsmux_fs.process.logs import printable
from gcsmux_fs.settings.adaptations import config_report
from gcsmux_fs.settings.config_file import read_config
from gcsmux_fs.settings.paths import absolute_path
from gcsmux_fs.settings.setting_sources import merge_sources
from gcsmux_fs.settings.setting_table import FILE_SETTINGS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gcsmux_fs.commands.shared_options import ConfigFile
    from gcsmux_fs.settings.setting import EffectiveSetting

__all__ = ["config"]

# Values for the checks of a configuration that has no bucket or no mount point of its own.
_PLACEHOLDERS = {"bucket": "my-bucket", "mountpoint": Path("/mnt/my-bucket")}


@click.group(
    cls=SuggestingGroup,
    name="config",
    no_args_is_help=True,
    epilog=examples("gcsmux config show /mnt/data", "gcsmux config check /etc/gcsmux/data.toml"),
)
def config() -> None:
    """Show all settings of a mount, or check a configuration file.

    `gcsmux config show` takes the path of a mount or the arguments of gcsmux-mount, and prints each
    setting with its value, where it was set, and its default with the reason.

    `gcsmux config check FILE` checks a TOML file as gcsmux-mount does at its start.

    docs/CONFIGURATION.md explains each setting.
    """


@config.command(
    cls=MountCommand,
    headings=OPTIONS_BY_HEADING,
    options_metavar="[OPTIONS]",
    epilog=examples(
        "gcsmux config show /mnt/data",
        "gcsmux config show --config data.toml",
        "gcsmux config show --memory 1GiB > data.toml",
    ),
)
@mount_parameters
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(
    *,
    bucket: str | None,
    mountpoint: str | None,
    config: ConfigFile | None,
    fuse_options: tuple[str, ...],
    as_json: bool,
    **options: Any,
) -> None:
    """Show the value, the origin and the default of each setting.

    With the path of a mount as the only argument, ask this mount. The answer also has what the
    mount chose for its machine, kernel, bucket and service. Otherwise show the settings that
    gcsmux-mount would have with the same arguments in this environment.

    The output is a TOML file for --config. Secrets are hidden.
    """
    if bucket and mountpoint is None and not _has_option():
        report = ask_mount(bucket, "config")
    else:
        merged = values_with_words(bucket, mountpoint, config, options)
        report = config_report(_checked(merged, fuse_options))
    if as_json:
        click.echo(json.dumps(report, indent=2))
        return
    _print(report)


@config.command(
    epilog=examples("gcsmux config check /etc/gcsmux/data.toml"),
)
@click.argument("file", metavar="FILE", shell_complete=complete_value)
def check(*, file: str) -> None:
    """Check a configuration file, as gcsmux-mount does at its start.

    The exit code is 0 if the file is correct, and 2 if it is not.
    """
    path = absolute_path(file)
    values = read_config(path, FILE_SETTINGS)
    _checked(merge_sources({}, {}, values), ())
    click.echo(f"{path} is correct: it sets {', '.join(values) or 'nothing'}.")


def _has_option() -> bool:
    """Return whether the command line has an option besides --json."""
    ctx = click.get_current_context()
    names = set(ctx.params) - {"bucket", "mountpoint", "as_json"}
    written = click.core.ParameterSource.COMMANDLINE
    return any(ctx.get_parameter_source(name) is written for name in names)


def _checked(
    merged: Mapping[str, EffectiveSetting], fuse_options: tuple[str, ...]
) -> list[EffectiveSetting]:
    """Return the settings that have an effect; raise ConfigError if gcsmux-mount refuses them."""
    filled = {
        field: replace(each, value=each.value or _PLACEHOLDERS.get(field, each.value))
        for field, each in merged.items()
    }
    return [
        replace(each, value=merged[each.setting.field].value)
        if each.setting.field in _PLACEHOLDERS
        else each
        for each in build_settings(filled, fuse_options).effective
    ]


def _print(report: Mapping[str, Any]) -> None:
    # rich decides whether stdout shows colours, and how wide it is.
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    with understood():
        lines = [printable(line) for line in config_lines(report, console.width)]
    for line in lines:
        style = "dim" if line.startswith("#  ") else "bold" if line.startswith("#") else ""
        console.print(line, style=style, soft_wrap=True)
