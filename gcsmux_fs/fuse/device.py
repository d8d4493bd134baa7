"""Finds out whether this user can mount by FUSE on this machine, and says what to do if not."""

from __future__ import annotations

import errno
import os
import re
import resource
import shutil
from dataclasses import dataclass
from pathlib import Path

from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.process.shell_commands import command

__all__ = ["FuseAccess", "check_fuse_access", "fuse_refusal", "is_privileged", "look_at_fuse"]

_DEVICE = Path("/dev/fuse")
_CONF = Path("/etc/fuse.conf")
_STATUS = Path("/proc/self/status")
# The directories in which `look_at_fuse` looks for fusermount3 before PATH. libfuse also looks
# first in a fixed directory, chosen when libfuse was built, and then in PATH.
_FUSERMOUNT_DIRECTORIES = "/usr/bin:/bin"

_CAP_SYS_ADMIN = 21

# The lowest limit of open files with which a mount is allowed. A mount has 13 files and up to 12
# connections open, and more while it looks at its mount point or replaces connections. If
# descriptors run out, gRPC ends the process without a message.
_MIN_FILES = 64


@dataclass(frozen=True, slots=True)
class FuseAccess:
    """The facts that decide whether this process can mount by FUSE.

    `device_errno` is the errno with which opening /dev/fuse failed, or 0. `can_mount` says whether
    the process has CAP_SYS_ADMIN. `max_files` is the limit of open file descriptors, -1 for no
    limit.
    """

    device_errno: int
    is_root: bool
    can_mount: bool
    has_fusermount: bool
    no_new_privileges: bool
    user_allow_other: bool
    max_files: int


def look_at_fuse() -> FuseAccess:
    """Find out on this machine whether this process can mount by FUSE."""
    status = _process_status()
    search_path = f"{_FUSERMOUNT_DIRECTORIES}:{os.environ.get('PATH', '')}"
    return FuseAccess(
        device_errno=_open_errno(_DEVICE),
        is_root=os.geteuid() == 0,
        can_mount=_has_sys_admin(status),
        has_fusermount=shutil.which("fusermount3", path=search_path) is not None,
        no_new_privileges=status.get("NoNewPrivs") == "1",
        user_allow_other=_user_allow_other(_CONF),
        max_files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
    )


def is_privileged() -> bool:
    """Return whether the process has CAP_SYS_ADMIN, which the kernel requires for higher limits."""
    return _has_sys_admin(_process_status())


def _process_status() -> dict[str, str]:
    return dict(re.findall(r"^(\w+):\s*(\w+)$", _STATUS.read_text(), re.MULTILINE))


def _has_sys_admin(status: dict[str, str]) -> bool:
    return bool(int(status.get("CapEff", "0"), 16) & (1 << _CAP_SYS_ADMIN))


def check_fuse_access(*, allow_other: bool) -> None:
    """Check that a mount can succeed.

    Raises:
        ConfigError: a mount would fail; the message says what is missing and how to get it.
    """
    sentence = fuse_refusal(look_at_fuse(), allow_other=allow_other)
    if sentence is not None:
        raise ConfigError(sentence)


def fuse_refusal(access: FuseAccess, *, allow_other: bool) -> str | None:
    """Return a sentence that says what is missing and how to get it; None if nothing is missing."""
    if access.device_errno == errno.ENOENT:
        return (
            f"there is no /dev/fuse: {_by_root('modprobe', 'fuse', is_root=access.is_root)}, or"
            " start the container with --device /dev/fuse."
        )
    if access.device_errno:
        return _refusal_of_device(access)
    if 0 <= access.max_files < _MIN_FILES:
        return (
            f"this process may open only {access.max_files} files, and a mount needs"
            f" {_MIN_FILES}: raise the limit by {command('ulimit', '-n', '1024')}, or by"
            " LimitNOFILE=1024 in a unit."
        )
    if access.can_mount:
        return None
    if access.is_root:
        return "root may not mount here: start the container with --cap-add SYS_ADMIN."
    if not access.has_fusermount:
        return (
            "there is no fusermount3, which a user needs to mount: have root install the package"
            " fuse3."
        )
    if access.no_new_privileges:
        return (
            "fusermount3 cannot mount for a process with NoNewPrivileges: unset NoNewPrivileges, or"
            " mount as root."
        )
    if allow_other and not access.user_allow_other:
        return (
            "only root may use allow_other and allow_root: leave them out, or have root add the"
            " line user_allow_other to /etc/fuse.conf."
        )
    return None


def _refusal_of_device(access: FuseAccess) -> str:
    failed = f"/dev/fuse cannot be opened ({os.strerror(access.device_errno)})"
    if access.device_errno == errno.EACCES and not access.is_root:
        return f"{failed}: mount as root, or have root run {command('chmod', '666', '/dev/fuse')}."
    return (
        f"{failed}: {_by_root('modprobe', 'fuse', is_root=access.is_root)}, or start the container"
        " with --device /dev/fuse."
    )


def _by_root(*words: str, is_root: bool) -> str:
    return f"run {command(*words)}" if is_root else f"have root run {command(*words)}"


def _open_errno(path: Path) -> int:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def _user_allow_other(path: Path) -> bool:
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return False
    return "user_allow_other" in (line.strip() for line in lines)
