"""The command `gcsmux-emulator`: arguments, signals, exit codes."""

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

from gcsmux_fs.emulator.buckets.placement import LOCATION_TYPES
from gcsmux_fs.emulator.rpc_error import RpcError
from gcsmux_fs.emulator.server import Emulator, EmulatorError
from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.process import malloc
from gcsmux_fs.process.standard_streams import open_missing_streams, print_error
from gcsmux_fs.settings.units import parse_duration, parse_size

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["main"]

_PROGRAM = "gcsmux-emulator"
_EXIT_FAILURE = 1
_EXIT_USAGE = 2
_ValueT = TypeVar("_ValueT")


class _Parsed(click.ParamType[object]):
    """An option whose text is read by one of our own parsers."""

    def __init__(self, name: str, parse: Callable[[str], object]) -> None:
        self.name = name
        self._parse = parse

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> object:
        """Return the parsed value; a parser's refusal becomes a usage error."""
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
    help="Port to listen on; a free one is picked if this is left out or 0.",
)
@click.option(
    "--latency",
    "latency_seconds",
    default="0s",
    type=_Parsed("duration", parse_duration),
    help="Delay of every answer, counted from its asking, such as 5ms.",
)
@click.option(
    "--bandwidth",
    "bandwidth_bytes",
    default=None,
    type=_Parsed("size", parse_size),
    help="Bytes of content per second and stream, such as 100MiB; without it, no limit.",
)
@click.option(
    "--location-type",
    default=LOCATION_TYPES[0],
    show_default=True,
    type=click.Choice(LOCATION_TYPES),
    help="What buckets say of themselves; zone makes them hierarchical. CreateBucket may differ.",
)
@click.option(
    "--faults",
    "faults_file",
    type=click.Path(path_type=Path),
    help="JSON file that orders faults, read again when it changes.",
)
@click.option(
    "--tls-cert",
    type=click.Path(path_type=Path),
    help="PEM file of a certificate, to speak TLS; needs --tls-key.",
)
@click.option("--tls-key", type=click.Path(path_type=Path), help="PEM file of its key.")
@click.option(
    "--relay-port",
    default=None,
    type=click.IntRange(0, 65535),
    metavar="N",
    help="A second port, for faults below gRPC; 0 picks a free one. Without it, there is none.",
)
def _command(
    folder: Path,
    host: str,
    port: int,
    latency_seconds: float,
    bandwidth_bytes: int | None,
    location_type: str,
    faults_file: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    relay_port: int | None,
) -> None:
    """Serve the folders in DIR as Google Cloud Storage buckets, over plaintext gRPC or TLS."""
    if (tls_cert is None) != (tls_key is None):
        raise click.UsageError("--tls-cert and --tls-key need each other.")
    emulator = Emulator(
        folder,
        host=host,
        port=port,
        latency_seconds=latency_seconds,
        bandwidth_bytes=bandwidth_bytes or 0,
        location_type=location_type,
        faults_file=faults_file,
        relay_port=relay_port,
        tls=None if tls_cert is None or tls_key is None else (tls_cert, tls_key),
    )
    _raise_file_limit()
    malloc.tune()
    # The relay's own connections may have any descriptor.
    loop = asyncio.new_event_loop if relay_port is not None else _precise_loop
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(_serve(emulator, relaying=relay_port is not None))


def _precise_loop() -> asyncio.AbstractEventLoop:
    """Return a loop whose timers are exact to microseconds: epoll rounds up to milliseconds.

    select() cannot watch descriptors above 1,023; the loop watches two, opened before any other.
    """
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


def main() -> None:
    """Run the command; any error is one sentence on stderr."""
    open_missing_streams()
    logging.basicConfig(format=f"{_PROGRAM}: %(message)s")
    try:
        code = _command.main(prog_name=_PROGRAM, standalone_mode=False)
    except click.ClickException as error:
        _complain(error.format_message())
        code = _EXIT_USAGE
    except (EmulatorError, RpcError, OSError) as error:
        _complain(str(error))
        code = _EXIT_FAILURE
    sys.exit(code)


async def _serve(emulator: Emulator, *, relaying: bool) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    async with emulator:
        print(f"{_PROGRAM} listening on {emulator.address}", flush=True)
        if relaying:
            print(f"{_PROGRAM} relaying on {emulator.relay_address}", flush=True)
        await ended.wait()


def _raise_file_limit() -> None:
    """Allow as many open files as the system lets us: each stream holds one, and its connection."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _complain(message: str) -> None:
    print_error(f"{_PROGRAM}: {message}")
