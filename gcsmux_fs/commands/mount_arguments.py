"""The arguments of `gcsmux-mount`, and their conversion to Settings.

The options are made from the table of settings (`settings/setting_table.py`).
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gcsmux_fs import __version__
from gcsmux_fs.commands.click_command import HeadedCommand, long_options
from gcsmux_fs.commands.completions import complete_directory
from gcsmux_fs.commands.mount_options import check_options, sort_options
from gcsmux_fs.commands.shared_options import (
    ConfigFile,
    config_option,
    effective_values,
    options_below,
    with_service_address,
)
from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.settings.bucket_address import parse_bucket
from gcsmux_fs.settings.setting import Origin
from gcsmux_fs.settings.setting_sources import attributed
from gcsmux_fs.settings.setting_table import HEADINGS, SETTINGS, settings_below
from gcsmux_fs.settings.settings import Settings
from gcsmux_fs.settings.units import show_size
from gcsmux_fs.settings.value_types import MOUNTPOINT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gcsmux_fs.settings.setting import EffectiveSetting, Setting

__all__ = [
    "OPTIONS_BY_HEADING",
    "PROGRAM",
    "MountCommand",
    "build_settings",
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
_NOT_FOR_FSTAB = frozenset({"foreground", "as_json", "help", "version"})

# What to write for each argument.
_ARGUMENTS = {
    "BUCKET": "name, gs://name or gs://name/prefix",
    "MOUNTPOINT": "the path of a directory",
}

_NO_WINDOW = "only root can change the window, so the kernel's default, 128KiB, has an effect"

# The directory of SELinux in sysfs. This directory exists only if SELinux is turned on in the
# kernel.
_SELINUX = Path("/sys/fs/selinux")


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
            selinux=_SELINUX.exists(),
        )
        own = [f"--{name}" if text is None else f"--{name}={text}" for name, text in options.own]
        rest = super().parse_args(ctx, own + args)
        ctx.params["fuse_options"] = options.fuse
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
    return (
        f"{name} is missing: add {argument.name} = {argument.type.example} to"
        f" {config.path}{missing}, or write {name} on the command line."
    )


def build_settings(
    merged: Mapping[str, EffectiveSetting], written_options: tuple[str, ...]
) -> Settings:
    """Return the settings of a mount. `written_options` are the mount options of `-o`.

    Raises:
        ConfigError: a value is out of its range, or two values contradict each other.
    """
    try:
        effective = with_service_address(merged)
        values = {field: each.value for field, each in effective.items()}
        fuse_options = _all_mount_options(values.pop("fuse_options"), written_options)
        if written_options:
            row = effective["fuse_options"]
            origin = Origin("option", "-o")
            effective["fuse_options"] = replace(row, value=",".join(fuse_options), origin=origin)
        if values["kernel_read_ahead_bytes"] is None and os.geteuid() != 0:
            row = effective["kernel_read_ahead_bytes"]
            effective["kernel_read_ahead_bytes"] = replace(row, reason=_NO_WINDOW)
        check_options(
            fuse_options,
            values["mountpoint"],
            allow_other=values["allow_other"],
            user=os.geteuid(),
        )
        _check_machine(values["memory_bytes"], values["kernel_read_ahead_bytes"])
        written = values.pop("bucket")
        name, prefix = parse_bucket(written, values.pop("only_dir"))
        return Settings(
            bucket=name,
            prefix=prefix,
            written_source=written,
            fuse_options=fuse_options,
            effective=tuple(effective.values()),
            **values,
        )
    except ConfigError as error:
        raise ConfigError(attributed(str(error), merged)) from None


def _all_mount_options(text: str, written: tuple[str, ...]) -> tuple[str, ...]:
    """Join the mount options of `-o` with those of the configuration file or the environment."""
    names = {setting.long_name: not setting.type.is_flag for setting in SETTINGS}
    options = sort_options([text], names, selinux=_SELINUX.exists())
    if options.own:
        name = options.own[0][0].replace("-", "_")
        raise ConfigError(f"mount_options contains {name}: write {name} as a key of its own.")
    return tuple(dict.fromkeys(options.fuse + written))


def _check_machine(memory_bytes: int, kernel_read_ahead_bytes: int | None) -> None:
    """Raise ConfigError if --memory is more than the machine has, or if an option requires root."""
    machine_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if memory_bytes > machine_bytes:
        raise ConfigError(
            f"--memory {show_size(memory_bytes)} is larger than the memory of this machine: write"
            f" at most {machine_bytes // 2**20}MiB."
        )
    if kernel_read_ahead_bytes and os.geteuid() != 0:
        raise ConfigError("only root can set --kernel-read-ahead: leave it out.")
