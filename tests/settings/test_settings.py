from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.settings.defaults import (
    DEFAULT_ENDPOINT,
)
from gcsmux_fs.settings.settings import (
    ServiceAddress,
    Settings,
    parse_bucket,
    parse_endpoint,
    read_ahead_for,
    resolve_connection,
)

MIB = 1024 * 1024
SETTINGS = Settings(bucket="bucket", mountpoint=Path("/mnt/data"))


@pytest.mark.parametrize(
    ("text", "only_dir", "expected"),
    [
        ("my-bucket", "", ("my-bucket", "")),
        ("gs://my-bucket", "", ("my-bucket", "")),
        ("gs://my-bucket/", "", ("my-bucket", "")),
        ("gs://my-bucket/a/b", "", ("my-bucket", "a/b/")),
        ("gs://my-bucket/a/b/", "", ("my-bucket", "a/b/")),
        ("my-bucket", "a/b", ("my-bucket", "a/b/")),
        ("gs://my-bucket/a", "b/", ("my-bucket", "a/b/")),
        ("gs://my-bucket//a", "", ("my-bucket", "/a/")),
        ("gs://my-bucket/a//", "", ("my-bucket", "a//")),
        ("my-bucket", "größe, und mehr", ("my-bucket", "größe, und mehr/")),
        ("my_bucket.example.com", "", ("my_bucket.example.com", "")),
        ("b" * 63, "", ("b" * 63, "")),
        (".".join(["b" * 55] * 3), "", (".".join(["b" * 55] * 3), "")),
    ],
)
def test_a_bucket_and_its_prefix_are_read(
    text: str, only_dir: str, expected: tuple[str, str]
) -> None:
    assert parse_bucket(text, only_dir) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("gs://", "is empty"),
        ("ab", "it has 2 characters"),
        ("b" * 64, "it has 64 characters"),
        ("b" * 64 + ".com", "63 between two"),
        (".".join(["b" * 63] * 4), "it has 255 characters"),
        ("My-Bucket", "only lower-case"),
        ("my bucket", "only lower-case"),
        ("-bucket", "only lower-case"),
        ("bucket.", "only lower-case"),
        ("s3://bucket", "is not in Google Cloud Storage"),
        ("bucket/prefix", "is not a bucket: write gs://bucket/prefix,"),
        ("gs:/bucket", "is not a bucket: write gs://bucket,"),
        ("/bucket", "is not a bucket: write gs://bucket,"),
        ("bucket\n", "only lower-case"),
        ("bücket", "only lower-case"),
        ("bucket/a", "write gs://bucket/a"),
        ("gs://bucket/" + "x" * 1024, "has 1025 bytes"),
        ("gs://bucket/\udcff", "is not UTF-8"),
    ],
)
def test_what_is_no_bucket_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        parse_bucket(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("localhost:9000", "localhost:9000"),
        ("storage.googleapis.com:443", "storage.googleapis.com:443"),
        ("10.0.0.1:1", "10.0.0.1:1"),
        ("[::1]:65535", "[::1]:65535"),
        ("host:0080", "host:80"),
    ],
)
def test_an_endpoint_is_host_and_port(text: str, expected: str) -> None:
    assert parse_endpoint(text) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("localhost", "write HOST:PORT"),
        ("https://localhost:1", "write HOST:PORT"),
        ("::1:9000", "write HOST:PORT"),
        ("host:port", "write HOST:PORT"),
        (":9000", "write HOST:PORT"),
        ("", "write HOST:PORT"),
        ("host:0", "ports go from 1 to 65535"),
        ("host:65536", "ports go from 1 to 65535"),
        ("[::g]:1", "write HOST:PORT"),
        ("[1.2.3.4]:1", "is not an IPv6 address"),
    ],
)
def test_what_is_no_endpoint_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        parse_endpoint(text)


def connection(
    endpoint: str | None = None,
    *,
    plaintext: bool = False,
    anonymous: bool = False,
    with_key: bool = False,
    emulator: str = "",
) -> ServiceAddress:
    return resolve_connection(
        endpoint,
        plaintext=plaintext,
        anonymous=anonymous,
        with_key=with_key,
        emulator=emulator,
    )


def test_without_a_word_the_public_service_is_spoken_to_with_tls_and_credentials() -> None:
    assert connection() == ServiceAddress(DEFAULT_ENDPOINT, plaintext=False, anonymous=False)


@pytest.mark.parametrize(
    "variable",
    ["localhost:9000", "http://localhost:9000", "http://localhost:9000/", "LOCALHOST:9000"],
)
def test_the_emulators_variable_stands_for_all_three_flags(variable: str) -> None:
    expected = ServiceAddress("localhost:9000", plaintext=True, anonymous=True)
    found = connection(emulator=variable)
    assert replace(found, endpoint=found.endpoint.lower()) == expected


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "[::1]", "localhost"])
def test_the_emulators_variable_may_name_any_loopback_address(host: str) -> None:
    assert connection(emulator=f"{host}:1").plaintext


@pytest.mark.parametrize("host", ["10.0.0.1", "0.0.0.0", "[2001:db8::1]", "localhost.example.com"])
def test_plaintext_to_another_machine_needs_its_flag(host: str) -> None:
    with pytest.raises(ConfigError, match="is another machine: add --plaintext"):
        connection(emulator=f"{host}:9000")
    assert connection(emulator=f"{host}:9000", plaintext=True).anonymous


def test_an_endpoint_on_the_command_line_silences_the_emulators_variable() -> None:
    found = connection("other:443", emulator="localhost:9000")
    assert found == ServiceAddress("other:443", plaintext=False, anonymous=False)


def test_a_mistake_in_the_emulators_variable_is_told_with_its_name() -> None:
    with pytest.raises(ConfigError, match="STORAGE_EMULATOR_HOST_GRPC: 'localhost' is not"):
        connection(emulator="localhost")


def test_credentials_never_go_over_plaintext() -> None:
    with pytest.raises(ConfigError, match="add --anonymous, or leave --plaintext out"):
        connection("localhost:9000", plaintext=True)
    with pytest.raises(ConfigError, match="add --anonymous, or leave --key-file out"):
        connection(emulator="localhost:9000", with_key=True)


def test_a_key_contradicts_anonymity() -> None:
    with pytest.raises(ConfigError, match="exclude each other"):
        connection(anonymous=True, with_key=True)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"memory_bytes": 16 * MIB - 1}, "--memory 16777215B is too small: 16MiB at least"),
        ({"read_ahead_bytes": 8192 * MIB}, "--read-ahead 8GiB is too large: 4GiB at most"),
        ({"read_ahead_bytes": 257 * MIB}, "--read-ahead 257MiB does not fit into --memory 256MiB"),
        ({"kernel_read_ahead_bytes": 32 * MIB}, "--kernel-read-ahead 32MiB is too large"),
        ({"read_timeout_seconds": 0.0}, "--read-timeout is out of range"),
        ({"read_timeout_seconds": 3601.0}, "--read-timeout is out of range"),
        ({"uid": 2**32 - 1}, "--uid 4294967295 is out of range"),
        ({"gid": -1}, "--gid -1 is out of range"),
        ({"log_file": Path("/mnt/data/log")}, "would be written into the mount itself"),
    ],
)
def test_a_setting_out_of_range_is_refused_with_the_range(
    change: dict[str, int | float | Path], reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason):
        replace(SETTINGS, **change)  # type: ignore[arg-type]


def test_the_default_read_ahead_shrinks_with_the_memory() -> None:
    assert read_ahead_for(1024 * MIB) == 64 * MIB
    assert read_ahead_for(256 * MIB) == 64 * MIB
    assert read_ahead_for(16 * MIB) == 4 * MIB


def test_the_mount_table_shows_what_was_written_as_far_as_fuse_can_take_it() -> None:
    assert SETTINGS.fsname == "gs://bucket"
    assert replace(SETTINGS, written_source="bucket").fsname == "bucket"
    assert replace(SETTINGS, written_source="gs://b/a b#%c/").fsname == "gs://b/a b#%c/"
    assert replace(SETTINGS, written_source="gs://b/a,\\ä\n").fsname == "gs://b/a%2C%5C%C3%A4%0A"


def test_the_log_calls_a_mount_by_bucket_and_prefix() -> None:
    assert SETTINGS.source == "gs://bucket"
    assert replace(SETTINGS, prefix="a/b/").source == "gs://bucket/a/b"
