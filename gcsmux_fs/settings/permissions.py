"""Owners and permission bits, as users write them."""

from __future__ import annotations

import grp
import pwd
import re

from gcsmux_fs.model.errors import ConfigError

__all__ = ["parse_group", "parse_mode", "parse_user"]

# Matches a user or group ID. The largest possible ID, 2^32 - 2, has ten digits.
_ID = re.compile(r"[0-9]{1,10}")


def parse_user(text: str) -> int:
    """Return the ID of a user, given as a name or as the ID.

    Raises:
        ConfigError: no user has this name.
    """
    try:
        return int(text) if _ID.fullmatch(text) else pwd.getpwnam(text).pw_uid
    except KeyError:
        raise ConfigError(f"there is no user {text!r}: write a user ID or a user name.") from None


def parse_group(text: str) -> int:
    """Return the ID of a group, given as a name or as the ID.

    Raises:
        ConfigError: no group has this name.
    """
    try:
        return int(text) if _ID.fullmatch(text) else grp.getgrnam(text).gr_gid
    except KeyError:
        raise ConfigError(
            f"there is no group {text!r}: write a group ID or a group name."
        ) from None


def parse_mode(text: str) -> int:
    """Return the permission bits of an octal number: `644`, `0644` or `0o644`.

    Raises:
        ConfigError: the text is not an octal number, or sets bits that are not permission bits.
    """
    digits = text.strip().lower().removeprefix("0o")
    if not re.fullmatch(r"[0-7]{1,4}", digits) or int(digits, 8) > 0o777:
        raise ConfigError(f"{text!r} is not a mode: write three octal digits, such as 640.")
    return int(digits, 8)
