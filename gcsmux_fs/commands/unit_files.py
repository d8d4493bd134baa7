"""The files of a mount at boot: their paths and their texts.

A mount named NAME is the instance gcsmux@NAME of the unit gcsmux@.service. The unit reads the
configuration /etc/gcsmux/NAME.toml.
"""

from __future__ import annotations

import difflib
import importlib.resources
import os
import re
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

from gcsmux_fs.model.errors import ConfigError, GcsmuxError

if TYPE_CHECKING:
    from gcsmux_fs.commands.installation_plan import SystemRoot

__all__ = [
    "UNIT_PATH",
    "cache_directory",
    "check_name",
    "config_path",
    "created_directory",
    "created_note",
    "drop_in_path",
    "drop_in_text",
    "has_unit",
    "mount_command",
    "packaged_unit",
    "unit_differences",
    "unit_text",
    "variables_path",
]

UNIT_PATH = "/etc/systemd/system/gcsmux@.service"
"""Where install-unit writes the unit. A unit there has precedence over the one of a package."""

_MOUNT_COMMAND = "gcsmux-mount"
_TEMPLATE = "gcsmux@.service"
# The folder of the commands in the template.
_TEMPLATE_FOLDER = "/usr/local/bin/"
# Where packages of distributions install units.
_PACKAGED = (f"/usr/lib/systemd/system/{_TEMPLATE}", f"/lib/systemd/system/{_TEMPLATE}")
_CREATED = re.compile(r"^# install-unit has created the directory (.*)\.$", re.MULTILINE)
_CACHE = re.compile(r"^cache_dir *= *[\"'](.*)[\"']", re.MULTILINE)
# systemd keeps these characters in the name of an instance. Others would be escaped.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def check_name(name: str) -> str:
    """Return the name of a mount, if systemd does not escape it.

    Raises:
        ConfigError: the name is not allowed.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} cannot be the name of a unit: add --name with letters, digits, _, . and -."
        )
    return name


def config_path(name: str) -> str:
    """Return the path of the configuration of a mount."""
    return f"/etc/gcsmux/{name}.toml"


def variables_path(name: str) -> str:
    """Return the path of the environment variables of a mount, which override the configuration."""
    return f"/etc/gcsmux/{name}.env"


def created_note(directory: Path) -> str:
    """Return the line of a configuration which says that install-unit has created a directory."""
    return f"# install-unit has created the directory {directory}.\n"


def created_directory(config: str | None) -> str | None:
    """Return the directory that a `created_note` in a configuration names; None without a note."""
    match = _CREATED.search(config or "")
    return match[1] if match else None


def cache_directory(config: str | None) -> str | None:
    """Return the directory of the cache on disk that a configuration names; None for no cache."""
    match = _CACHE.search(config or "")
    return match[1] if match else None


def drop_in_path(name: str) -> str:
    """Return the path of the drop-in that sets the user of a mount, or shares its cache."""
    return f"/etc/systemd/system/gcsmux@{name}.service.d/user.conf"


def drop_in_text(user: str | None, *, shares_cache: bool) -> str:
    """Return the drop-in of a mount that has another user or a --cache-group; "" if not needed.

    The user may mount, but has no other right. fusermount3 does not work in the unit, because
    NoNewPrivileges= disables set-user-ID programs. With the UMask= of the unit, new directories of
    a shared cache would be private.
    """
    lines = ["[Service]"]
    if user is not None:
        lines += [f"User={user}", "AmbientCapabilities=CAP_SYS_ADMIN"]
    if shares_cache:
        lines.append("UMask=0007")
    return "".join(f"{line}\n" for line in lines) if len(lines) > 1 else ""


def mount_command() -> Path:
    """Return the path of `gcsmux-mount` of this installation.

    Raises:
        GcsmuxError: there is no such command, for example because only the modules were copied.
    """
    started = shutil.which(sys.argv[0]) or sys.argv[0]
    folders = (
        Path(started).absolute().parent,
        Path(sys.executable).parent,
        Path(sysconfig.get_path("scripts")),
    )
    for folder in folders:
        if os.access(folder / _MOUNT_COMMAND, os.X_OK):
            return folder / _MOUNT_COMMAND
    raise GcsmuxError(
        f"{_MOUNT_COMMAND} is not installed next to this command: install gcsmux-fs with pip."
    )


def has_unit(system: SystemRoot) -> bool:
    """Return whether install-unit or a distribution has installed the unit."""
    return any(system.file(path).exists() for path in (UNIT_PATH, *_PACKAGED))


def packaged_unit(system: SystemRoot, command: Path) -> str | None:
    """Return the path of a distribution's unit that runs `command`; None if there is none."""
    for path in _PACKAGED:
        try:
            text = system.file(path).read_text()
        except OSError:
            continue
        match = re.search(rf"^ExecStart=(\S*/{_MOUNT_COMMAND})\s", text, re.MULTILINE)
        if match and os.path.realpath(system.file(match[1])) == os.path.realpath(command):
            return path
    return None


def unit_text(command: Path) -> str:
    """Return the text of the unit, with the folder of this installation.

    Raises:
        ConfigError: systemd would not read the path as one word.
    """
    folder = os.fspath(command.parent)
    if not re.fullmatch(r"[\w/.+@,:=~-]+", folder):
        raise ConfigError(
            f"{folder} has characters that a unit cannot contain: install gcsmux-fs elsewhere."
        )
    return _template().replace(_TEMPLATE_FOLDER, f"{folder}/")


def unit_differences(text: str) -> list[str]:
    """Return the lines of a unit that differ from the template of this package."""
    lines = difflib.ndiff(_template().splitlines(), text.splitlines())
    return [line for line in lines if line.startswith(("- ", "+ "))]


def _template() -> str:
    return (importlib.resources.files("gcsmux_fs") / "systemd" / _TEMPLATE).read_text()
