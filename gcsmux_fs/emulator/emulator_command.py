"""The command `gcsmux-emulator`: parses the arguments, and runs the emulator until a signal."""

from __future__ import annotations

import asyncio
import logging
import resource
import selectors
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from gcsmux_fs.commands.click_command import usage_error
from gcsmux_fs.emulator.buckets.placement import LOCATION_TYPES
from gcsmux_fs.emulator.rpc_error import RpcError
from gcsmux_fs.emulator.server import Emulator, EmulatorError
from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.process import malloc
from gcsmux_fs.process.standard_streams import open_missing_streams, print_error
from gcsmux_fs.settings.units import parse_duration, parse_size

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["emulator_arguments", "main"]

_PROGRAM = "gcsmux-emulator"
_EXIT_FAILURE = 1
_EXIT_USAGE = 2
_ValueT = TypeVar("_ValueT")


class _Parsed(click.ParamType[object]):
    """A click type for an option: the function `parse` converts the text of the option."""

    def __init__(self, name: str, parse: Callable[[str], object]) -> None:
        self.name = name
        self._parse = parse

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> object:
        """Return the parsed value. If `parse` raises a ConfigError, report a usage error."""
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except ConfigError as error:
            self.fail(str(error), param, ctx)


@click.command(name=_PROGRAM, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    default=0,
    type=click.IntRange(0, 65535),
    metavar="N",
    help="Port to listen on. Without this option, or with 0, the emulator picks a free port.",
)
@click.option(
    "--latency",
    "latency_seconds",
    default="0s",
    type=_Parsed("duration", parse_duration),
    help="Delay of every response after its request, such as 5ms.",
)
@click.option(
    "--bandwidth",
    "bandwidth_bytes",
    default=None,
    type=_Parsed("size", parse_size),
    help="Maximum bytes of content per second on each stream, such as 100MiB. Without this option,"
    " there is no limit.",
)
@click.option(
    "--location-type",
    default=LOCATION_TYPES[0],
    show_default=True,
    type=click.Choice(LOCATION_TYPES),
    help="Location type of all buckets except those that CreateBucket creates. Zonal buckets are"
    " hierarchical.",
)
@click.option(
    "--versioning",
    is_flag=True,
    help="Keep overwritten and deleted generations as noncurrent ones. CreateBucket can choose this"
    " for each bucket.",
)
@click.option(
    "--soft-delete",
    "soft_delete_seconds",
    default="0s",
    type=_Parsed("duration", parse_duration),
    help="How long generations that would be lost can be restored, such as 7d. CreateBucket can"
    " choose this for each bucket. Without this option, they are lost.",
)
@click.option(
    "--faults",
    "faults_file",
    type=click.Path(path_type=Path),
    help="JSON file that lists the faults to cause. The emulator reads the file again when it"
    " changes.",
)
@click.option(
    "--tls-cert",
    type=click.Path(path_type=Path),
    help="PEM file with the server's certificate. The emulator then uses TLS. Requires --tls-key.",
)
@click.option(
    "--tls-key",
    type=click.Path(path_type=Path),
    help="PEM file with the private key of the certificate. Requires --tls-cert.",
)
@click.option(
    "--tokens",
    "tokens_file",
    type=click.Path(path_type=Path),
    help="File with one access token per line. A call without one of these tokens fails with"
    " UNAUTHENTICATED. The emulator reads the file for each call.",
)
@click.option(
    "--relay-port",
    default=None,
    type=click.IntRange(0, 65535),
    metavar="N",
    help="Port of a TCP proxy in front of the emulator; 0 picks a free port. Faults of connections"
    " need this proxy. Without this option, there is no proxy.",
)
@click.option(
    "--json-port",
    default=None,
    type=click.IntRange(0, 65535),
    metavar="N",
    help="Port of the JSON API for notification configurations, over HTTP without TLS; 0 picks a"
    " free port. Without this option, there is no JSON API.",
)
@click.option(
    "--changes",
    multiple=True,
    metavar="SUBSCRIPTION[=BUCKET]",
    help="Create the Pub/Sub subscription projects/P/subscriptions/S and its topic, and publish all"
    " changes of the bucket to it. Without a bucket, publish the changes of all buckets. May be"
    " repeated.",
)
def emulator_arguments(
    folder: Path,
    host: str,
    port: int,
    latency_seconds: float,
    bandwidth_bytes: int | None,
    location_type: str,
    versioning: bool,
    soft_delete_seconds: float,
    faults_file: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    tokens_file: Path | None,
    relay_port: int | None,
    json_port: int | None,
    changes: tuple[str, ...],
) -> None:
    """Serve the folders in DIR as Google Cloud Storage buckets, over gRPC with or without TLS."""
    if (tls_cert is None) != (tls_key is None):
        raise click.UsageError("--tls-cert and --tls-key belong together: write both or none.")
    emulator = Emulator(
        folder,
        host=host,
        port=port,
        latency_seconds=latency_seconds,
        bandwidth_bytes=bandwidth_bytes or 0,
        location_type=location_type,
        versioning=versioning,
        soft_delete_seconds=soft_delete_seconds,
        faults_file=faults_file,
        relay_port=relay_port,
        tokens_file=tokens_file,
        json_port=json_port,
        changes=[(name, bucket) for name, _, bucket in (text.partition("=") for text in changes)],
        tls=None if tls_cert is None or tls_key is None else (tls_cert, tls_key),
    )
    _raise_file_limit()
    malloc.tune()
    # With a TCP proxy, the loop watches the connections of the proxy. Their descriptors may be
    # above 1,023, so the loop must not use select().
    loop = asyncio.new_event_loop if relay_port is not None else _precise_loop
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(
            _serve(emulator, has_proxy=relay_port is not None, has_json=json_port is not None)
        )


def _precise_loop() -> asyncio.AbstractEventLoop:
    """Return an event loop whose timers are exact to microseconds.

    epoll rounds timeouts up to milliseconds. select() does not round timeouts, but select() cannot
    watch descriptors above 1,023. Without a TCP proxy this is no problem, because the loop watches
    only two descriptors, which are opened at the start.
    """
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


def main() -> None:
    """Run the command. Print an error as one line on stderr."""
    open_missing_streams()
    logging.basicConfig(format=f"{_PROGRAM}: %(message)s")
    try:
        code = emulator_arguments.main(prog_name=_PROGRAM, standalone_mode=False)
    except click.ClickException as error:
        _print_prefixed(usage_error(error, emulator_arguments, _PROGRAM, sys.argv[1:]))
        code = _EXIT_USAGE
    except (EmulatorError, RpcError) as error:
        _print_prefixed(str(error))
        code = _EXIT_FAILURE
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _print_prefixed(f"{where}{error.strerror or error}.")
        code = _EXIT_FAILURE
    sys.exit(code)


async def _serve(emulator: Emulator, *, has_proxy: bool, has_json: bool) -> None:
    """Serve until SIGTERM or SIGINT."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with emulator:
        print(f"{_PROGRAM} listening on {emulator.address}", flush=True)
        if has_proxy:
            print(f"{_PROGRAM} relaying on {emulator.relay_address}", flush=True)
        if has_json:
            print(f"{_PROGRAM} serving the JSON API on {emulator.json_address}", flush=True)
        await stopped.wait()


def _raise_file_limit() -> None:
    """Raise this process's limit of open files to its hard limit.

    A high limit is necessary because each stream and each connection uses a file descriptor.
    """
    _, maximum = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (maximum, maximum))


def _print_prefixed(message: str) -> None:
    print_error(f"{_PROGRAM}: {message}")
