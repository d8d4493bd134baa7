"""Users and groups as a command line names them: by number or by name."""

from __future__ import annotations

import grp
import pwd
import re

from gcsmux_fs.model.errors import ConfigError

__all__ = ["parse_group", "parse_user"]

# As many digits as the largest number has, 2^32 - 2.
_NUMBER = re.compile(r"[0-9]{1,10}")


def parse_user(text: str) -> int:
    """Return the number of a user."""
    try:
        return int(text) if _NUMBER.fullmatch(text) else pwd.getpwnam(text).pw_uid
    except KeyError:
        raise ConfigError(f"there is no user {text!r}: write a number or a user's name.") from None


def parse_group(text: str) -> int:
    """Return the number of a group."""
    try:
        return int(text) if _NUMBER.fullmatch(text) else grp.getgrnam(text).gr_gid
    except KeyError:
        raise ConfigError(
            f"there is no group {text!r}: write a number or a group's name."
        ) from None
