"""Storage options: how they become the settings of an engine, and what is refused."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import fsspec
import pytest

from gcsmux_fs.fsspec_access.access_settings import AccessSettings, settings_from_options
from gcsmux_fs.settings.cache_options import CacheOptions
from tests.support.sizes import MIB

DEFAULTS = settings_from_options(environment={})


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        ({}, {"endpoint": "storage.googleapis.com:443", "memory_bytes": 256 * MIB}),
        ({"token": "anon"}, {"anonymous": True}),
        ({"token": "google_default"}, {"anonymous": False, "key_file": None}),
        ({"token": "/keys/key.json"}, {"key_file": Path("/keys/key.json")}),
        ({"key_file": "key.json"}, {"key_file": Path("key.json")}),
        ({"token_file": "token"}, {"token_file": Path("token")}),
        ({"token_command": "print-token --short"}, {"token_command": ("print-token", "--short")}),
        ({"project": "p"}, {"billing_project": ""}),
        ({"project": "p", "requester_pays": True}, {"billing_project": "p"}),
        ({"requester_pays": "payer"}, {"billing_project": "payer"}),
        ({"memory": "64MiB"}, {"memory_bytes": 64 * MIB, "read_ahead_bytes": 16 * MIB}),
        ({"memory": 32 * MIB, "read_ahead": 0}, {"read_ahead_bytes": 0}),
        ({"read_timeout": "5s"}, {"read_timeout_seconds": 5}),
        ({"metadata_ttl": math.inf, "negative_ttl": 0}, {"negative_ttl_seconds": 0}),
        (
            {"cache_dir": "/c/x/..", "cache_size": "1GiB", "cache_min_free": 0, "cache_group": 7},
            {"cache": CacheOptions(Path("/c"), 1024 * MIB, 0, 7)},
        ),
    ],
)
def test_options_become_settings(options: dict[str, Any], fields: dict[str, object]) -> None:
    settings = settings_from_options(**options, environment={})
    assert {name: getattr(settings, name) for name in fields} == fields


def test_the_defaults_are_those_of_the_mount() -> None:
    assert AccessSettings() == DEFAULTS


def test_an_emulator_is_used_without_credentials_unless_an_endpoint_is_given() -> None:
    environment = {"STORAGE_EMULATOR_HOST_GRPC": "http://localhost:9000/"}
    settings = settings_from_options(environment=environment)
    assert (settings.endpoint, settings.plaintext, settings.anonymous) == (
        "localhost:9000",
        True,
        True,
    )
    other = settings_from_options(endpoint="example.com:443", environment=environment)
    assert (other.endpoint, other.plaintext, other.anonymous) == ("example.com:443", False, False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cache_size": "1GiB"}, "cache_size needs a cache: name its directory with cache_dir"),
        (
            {"cache_dir": "/c", "cache_size": 0},
            "cache_size 0B is too small: .* leave cache_dir out",
        ),
        ({"cache_dir": "~/c"}, "'~/c' begins with ~"),
        ({"memory": "1MiB"}, "memory 1MiB is too small"),
        ({"memory": "many"}, "many"),
        ({"memory": "16MiB", "read_ahead": "17MiB"}, "read_ahead 17MiB is larger"),
        ({"read_timeout": 0.5}, "read_timeout is out of range"),
        ({"endpoint": "nowhere"}, "'nowhere' is not an endpoint"),
        ({"plaintext": True}, "^credentials are never sent in plaintext: add anonymous"),
        ({"token": "anon", "key_file": "key.json"}, "^anonymous and key_file exclude each other"),
        ({"token": "a.json", "key_file": "key.json"}, "token and key_file both name a key"),
        ({"token_file": "a", "key_file": "b"}, "^key_file and token_file exclude each other"),
        ({"requester_pays": True}, "needs the project"),
        ({"impersonate_service_account": "x"}, "is not the e-mail address"),
    ],
)
def test_invalid_options_are_refused_with_one_sentence(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        settings_from_options(**options, environment={})


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(TypeError, match="unknown option consistency of gcsmux://: the options are"):
        fsspec.filesystem("gcsmux", consistency="md5")
    with pytest.raises(
        TypeError, match=r"unknown option memroy of gcsmux://: did you mean memory\?"
    ):
        fsspec.filesystem("gcsmux", memroy="1GiB")


def test_missing_credentials_are_a_permission_error(tmp_path: Path) -> None:
    fs = fsspec.filesystem("gcsmux", key_file=tmp_path / "absent.json")
    with pytest.raises(PermissionError, match="cannot use the key file"):
        fs.ls("my-bucket")
