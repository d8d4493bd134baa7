"""Fuzz targets: text that users write in arguments, in fstab and in the environment."""

from __future__ import annotations

import contextlib
import io
from contextlib import suppress

import click

from gcsmux_fs.commands.click_command import usage_error
from gcsmux_fs.commands.mount_arguments import mount_arguments
from gcsmux_fs.commands.mount_options import sort_options, split_options
from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.process.logs import printable, sentence
from gcsmux_fs.settings.bucket_address import parse_bucket
from gcsmux_fs.settings.permissions import parse_mode
from gcsmux_fs.settings.service_address import parse_endpoint, resolve_service_address
from gcsmux_fs.settings.settings import Settings
from gcsmux_fs.settings.units import parse_duration, parse_size, parse_ttl, show_size

from .source import Source

__all__ = ["arguments", "units"]

_WORDS = (
    *("my-bucket", "gs://my-bucket/dir", "/mnt", "--", "-f", "-o", "-s", "-n", "-v", "-h", "-N"),
    *("--only-dir", "--endpoint", "--plaintext", "--anonymous", "--billing-project", "--memory"),
    *("--read-ahead", "--read-timeout", "--kernel-read-ahead", "--uid", "--gid", "--file-mode"),
    *("--dir-mode", "--allow-other", "--log-file", "--log-level", "--metadata-ttl", "--version"),
    *("64MiB", "1s", "0", "=", "localhost:9000", "ro,nodev", "allow_other", "debug", "644"),
)


def units(data: bytes) -> None:
    """Give one text to each parser of the settings; only ConfigError may be raised."""
    text = data.decode("utf-8", "surrogateescape")
    with suppress(ConfigError):
        size = parse_size(text)
        assert size >= 0
        assert parse_size(show_size(size)) == size
    for parse in (parse_duration, parse_ttl):
        with suppress(ConfigError):
            assert parse(text) >= 0
    with suppress(ConfigError):
        assert 0 <= parse_mode(text) <= 0o777
    with suppress(ConfigError):
        bucket, prefix = parse_bucket(text)
        assert bucket.isascii()
        assert prefix == "" or prefix.endswith("/")
        assert parse_bucket(f"gs://{bucket}/{prefix}") == (bucket, prefix)
    with suppress(ConfigError):
        endpoint = parse_endpoint(text)
        assert parse_endpoint(endpoint) == endpoint
    with suppress(ConfigError):
        address = resolve_service_address(None, plaintext=False, anonymous=False, emulator=text)
        assert address.anonymous == address.plaintext
    assert all(split_options(text))
    with suppress(ConfigError):
        sort_options([text], {"memory": True, "allow-other": False})
    for line in (printable(text), sentence(text)):
        assert line.isprintable()


def arguments(data: bytes) -> None:
    """Parse any command line; the result must be settings, the help, or an error sentence."""
    source = Source(data)
    words: list[str] = []
    while source:
        word = source.choice(_WORDS) if source.flag() else ""
        if source.flag():
            word += source.take(source.number() % 12).decode("utf-8", "surrogateescape")
            word *= source.choice((1, 1, 1, 1, 1, 1, 1, 1000))
        words.append(word.replace("\0", ""))  # arguments of a program contain no NUL
    # Skip --key-file, because the command opens the file. If the file is a named pipe, opening the
    # file waits for ever.
    if any("key" in word for word in words) or any(word.startswith("--k") for word in words):
        return
    settings: object = None
    message = ""
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # --help and --version print to stdout
            settings = mount_arguments.main(words, prog_name="x", standalone_mode=False)
    except ConfigError as error:
        message = str(error)
    except click.ClickException as error:
        message = usage_error(error, mount_arguments, "x", words)
    assert sentence(message).isprintable()
    if isinstance(settings, Settings):
        assert settings.fsname.isascii()
        assert settings.fsname.isprintable()
        assert "," not in settings.fsname
        assert not settings.plaintext or settings.anonymous
        assert settings.mountpoint.is_absolute()
