"""Tests of the parsers of permission bits, users and groups."""

from __future__ import annotations

import pytest

from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.settings.permissions import parse_group, parse_mode, parse_user


@pytest.mark.parametrize(("text", "mode"), [("644", 0o644), ("0755", 0o755), ("0o600", 0o600)])
def test_a_mode_is_octal(text: str, mode: int) -> None:
    assert parse_mode(text) == mode


@pytest.mark.parametrize("text", ["", "rw", "888", "1777", "-644", "00000644"])
def test_an_invalid_mode_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a mode"):
        parse_mode(text)


def test_an_owner_is_a_name_or_an_id() -> None:
    assert (parse_user("root"), parse_user("7")) == (0, 7)
    assert (parse_group("root"), parse_group("7")) == (0, 7)


def test_an_unknown_owner_is_refused() -> None:
    with pytest.raises(ConfigError, match="there is no user 'no-such-user': write a user ID"):
        parse_user("no-such-user")
    with pytest.raises(ConfigError, match="there is no group '99999999999': write a group ID"):
        parse_group("9" * 11)
