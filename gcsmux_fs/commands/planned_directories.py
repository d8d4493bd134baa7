"""The directories that `gcsmux install-unit` creates, or whose owner it changes."""

from __future__ import annotations

import os
from pathlib import Path

from gcsmux_fs.commands.installation_plan import Plan, PlannedStep, SystemRoot
from gcsmux_fs.fuse.mountinfo import mount_table
from gcsmux_fs.model.errors import ConfigError, GcsmuxError
from gcsmux_fs.settings.permissions import parse_user

__all__ = ["prepare_cache", "prepare_mountpoint"]

# The modes of a cache directory: of its user alone, and of a group. New files in the directory of a
# group get this group by the set-group-ID bit.
_PRIVATE_MODE, _GROUP_MODE = 0o700, 0o2770


def prepare_mountpoint(
    plan: Plan, system: SystemRoot, directory: Path, user: str | None, *, make_directory: bool
) -> bool:
    """Plan the mount point, and return whether it is created."""
    # A mount that hangs would block stat(), so look into the mount table first.
    if any(entry.path == str(directory) and entry.is_gcsmux for entry in mount_table()):
        return False
    path = system.file(directory)
    owner = parse_user(user) if user is not None else None
    if path.is_dir():
        if owner is not None and path.stat().st_uid != owner:
            plan.steps.append(
                PlannedStep(
                    f"chown {user} {path}", (), lambda: _give_directory(system, directory, owner)
                )
            )
        return False
    if path.exists():
        raise ConfigError(f"{path} is not a directory: write the path of an empty directory.")
    if not make_directory:
        raise ConfigError(f"{path} does not exist: add --mkdir to create it.")

    def create() -> None:
        path.mkdir(parents=True)
        if owner is not None:
            _give_directory(system, directory, owner)

    plan.steps.append(PlannedStep(f"create the directory {path}", (), create))
    return True


def prepare_cache(
    plan: Plan,
    system: SystemRoot,
    directory: Path | None,
    user: str | None,
    group: int | None,
) -> None:
    """Plan the directory of the cache on disk, unless it exists or `directory` is None.

    The mount creates only its last part, and cannot give it to a group, because the unit forbids
    to change owners and to set the set-group-ID bit.
    """
    if directory is None or system.file(directory).exists():
        return
    path = system.file(directory)
    owner = parse_user(user) if user is not None else -1
    mode = _PRIVATE_MODE if group is None else _GROUP_MODE

    def create() -> None:
        path.mkdir(parents=True)
        _give_directory(system, directory, owner, -1 if group is None else group)
        path.chmod(mode)

    plan.steps.append(PlannedStep(f"create the directory {path} for the cache", (), create))


def _give_directory(system: SystemRoot, directory: Path, owner: int, group: int = -1) -> None:
    """Make `owner` the owner of a directory, if the path leads there without symbolic links.

    The ID -1 changes nothing, also as `group`.

    A user who can write to a directory above could replace a part of the path by a link to a
    directory of the system, and would become the owner of that directory.

    Raises:
        GcsmuxError: a part of the path is a symbolic link.
        OSError: the directory cannot be opened, or its owner cannot be changed.
    """
    path = SystemRoot(system.path.resolve()).file(directory)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = Path(f"/proc/self/fd/{descriptor}").readlink()
        if found != path:
            raise GcsmuxError(
                f"{path} is {found}, whose owner is not changed: write the path without symbolic"
                " links."
            )
        os.fchown(descriptor, owner, group)
    finally:
        os.close(descriptor)
