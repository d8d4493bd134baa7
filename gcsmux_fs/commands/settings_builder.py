"""Makes the Settings of a mount from the values of all sources, and checks them together."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gcsmux_fs.commands.mount_options import check_options, is_for_selinux, sort_options
from gcsmux_fs.commands.shared_options import with_service_address
from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.settings.bucket_address import parse_bucket
from gcsmux_fs.settings.setting import Origin
from gcsmux_fs.settings.setting_sources import attributed
from gcsmux_fs.settings.setting_table import CONFIG, SETTINGS
from gcsmux_fs.settings.settings import Settings
from gcsmux_fs.settings.units import show_size
from gcsmux_fs.settings.value_types import join_words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gcsmux_fs.settings.setting import EffectiveSetting

__all__ = ["build_settings"]

# The directory of SELinux in sysfs. This directory exists only if SELinux is turned on in the
# kernel.
_SELINUX = Path("/sys/fs/selinux")

# Why a value that `gcsmux config show` prints has another effect on this machine.
_NO_SELINUX = "labels are left out, because SELinux is off on this machine"
_NO_WINDOW = "only root can change the window, so the kernel's default, 128KiB, has an effect"


def build_settings(
    merged: Mapping[str, EffectiveSetting], written_options: tuple[str, ...]
) -> Settings:
    """Return the settings of a mount. `written_options` are the mount options of `-o`.

    Raises:
        ConfigError: a value is out of its range, or two values contradict each other.
    """
    try:
        effective = with_service_address(merged)
        all_options = _all_mount_options(effective["fuse_options"].value, written_options)
        fuse_options = _without_labels(all_options)
        effective["fuse_options"] = replace(
            effective["fuse_options"],
            value=join_words(fuse_options),
            origin=Origin("option", "-o") if written_options else merged["fuse_options"].origin,
            reason="" if fuse_options == all_options else _NO_SELINUX,
        )
        window = effective["kernel_read_ahead_bytes"]
        if window.value is None and os.geteuid() != 0:
            effective["kernel_read_ahead_bytes"] = replace(window, reason=_NO_WINDOW)
        return _settings(effective, fuse_options)
    except ConfigError as error:
        raise ConfigError(attributed(str(error), merged)) from None


def _settings(effective: Mapping[str, EffectiveSetting], fuse_options: tuple[str, ...]) -> Settings:
    values = {field: each.value for field, each in effective.items()}
    check_options(
        fuse_options,
        values["mountpoint"],
        allow_other=values["allow_other"],
        user=os.geteuid(),
    )
    _check_machine(values["memory_bytes"], values["kernel_read_ahead_bytes"])
    values.pop(CONFIG.field, None)
    written = values.pop("bucket")
    name, prefix = parse_bucket(written, values.pop("only_dir"))
    return Settings(
        bucket=name,
        prefix=prefix,
        written_source=written,
        effective=tuple(effective.values()),
        **{**values, "fuse_options": fuse_options},
    )


def _all_mount_options(text: str, written: tuple[str, ...]) -> tuple[str, ...]:
    """Join the mount options of `-o` with those of the configuration file or the environment."""
    names = {setting.long_name: not setting.type.is_flag for setting in SETTINGS}
    options = sort_options([text], names)
    if options.own:
        name = options.own[0][0].replace("-", "_")
        raise ConfigError(f"mount_options contains {name}: write {name} as a key of its own.")
    return tuple(dict.fromkeys(options.fuse + written))


def _without_labels(options: tuple[str, ...]) -> tuple[str, ...]:
    """Leave out SELinux labels if SELinux is off; mount(8) does the same."""
    if _SELINUX.exists():
        return options
    return tuple(option for option in options if not is_for_selinux(option))


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
