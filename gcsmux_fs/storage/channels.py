"""Channels to the service: endpoint, credentials, headers.

Two ways in, as Google's SDKs have them: TLS with Application Default Credentials (or a key file),
and plaintext without credentials for an emulator.
"""

from __future__ import annotations

import asyncio
import os
import platform
import warnings
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from gcsmux_fs import __version__
from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.settings.defaults import DEFAULT_ENDPOINT
from gcsmux_fs.storage.asyncio_bridge import await_asyncio
from gcsmux_fs.storage.connections import CONNECTION_SILENCE_SECONDS, Connections
from gcsmux_fs.storage.tokens import Tokens

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import google.auth.credentials

__all__ = [
    "ChannelSettings",
    "Channels",
    "Metadata",
    "open_channels",
    "renewal_failure",
    "request_headers",
]

Metadata = tuple[tuple[str, str], ...]

_CREDENTIALS_VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"
# How gRPC's core words that the credentials of a call, not its server, failed.
_PLUGIN_FAILED = "Getting metadata from plugin failed"

_SCOPE = "https://www.googleapis.com/auth/devstorage.read_only"

# Answers of BidiReadObject hold chunks of 2 MiB, a page of 1,000 objects at most some MiB (custom
# metadata is capped at 8 KiB an object); gRPC's own default of 4 MiB would end such a call, and no
# limit at all would let one message claim any amount of memory.
_MAX_MESSAGE_BYTES = 16 * 1024 * 1024

# A connection that died without a word (a lost route, a sleeping laptop) is found after one ping
# interval plus its timeout; 60 s is the shortest interval that Google's front ends are known to
# accept everywhere.
_KEEPALIVE_SECONDS = 60
_KEEPALIVE_TIMEOUT_SECONDS = 20

# gRPC waits up to 120 s between attempts to connect, far longer than a server takes to restart;
# the mux has its own jittered backoff above this one.
_FIRST_RECONNECT_SECONDS = 0.2
# An attempt takes three round trips or four with TLS. gRPC names the time that it gets by the pause
# between attempts, which it does not lengthen.
_CONNECT_SECONDS = 10
_MAX_RECONNECT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class ChannelSettings:
    """Where the service is and who asks; `endpoint` is `host:port`."""

    endpoint: str = DEFAULT_ENDPOINT
    plaintext: bool = False
    anonymous: bool = False
    key_file: Path | None = None
    billing_project: str = ""


class Channels:
    """Makes channels of equal settings, each a connection of its own, and closes them.

    `tokens` are what gives their calls tokens, if anything does. All but `close_all` is for
    asyncio's side.
    """

    def __init__(self, make: Callable[[], grpc.aio.Channel], tokens: Tokens | None) -> None:
        self._make = make
        self.tokens = tokens
        self._open: set[grpc.aio.Channel] = set()
        self._closed = False
        self._closing: set[asyncio.Task[None]] = set()

    def open(self) -> grpc.aio.Channel:
        """Make a channel, which connects at its first call.

        Raises:
            grpc.aio.UsageError: all have been closed.
        """
        if self._closed:
            raise grpc.aio.UsageError("the channels are closed")
        channel = self._make()
        self._open.add(channel)
        return channel

    def close(self, channel: grpc.aio.Channel) -> None:
        """Close a channel that carries no call, without waiting for it."""
        if channel not in self._open:
            return
        self._open.remove(channel)
        task = asyncio.get_running_loop().create_task(channel.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def connections(
        self, most: int, silence_seconds: float = CONNECTION_SILENCE_SECONDS
    ) -> Connections[grpc.aio.Channel]:
        """Return connections for one kind of calls, none of which is made yet."""
        return Connections(
            self.open,
            self.close,
            most=most,
            call_later=_call_later,
            silence_seconds=silence_seconds,
        )

    async def close_all(self) -> None:
        """Close all channels, ending their calls."""

        async def close_all() -> None:
            self._closed = True
            while self._open:
                await self._open.pop().close()
            await asyncio.gather(*self._closing)

        await await_asyncio(close_all())


def _call_later(seconds: float, call: Callable[[float], None]) -> None:
    loop = asyncio.get_running_loop()
    loop.call_later(seconds, lambda: call(loop.time()))


async def open_channels(settings: ChannelSettings) -> Channels:
    """Return what makes channels to the service.

    Raises:
        ConfigError: no credentials, or a key file that is none.
    """
    return await await_asyncio(_open(settings))


async def _open(settings: ChannelSettings) -> Channels:
    options: list[tuple[str, str | int]] = [
        ("grpc.primary_user_agent", f"gcsmux-fs/{__version__}"),
        ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
        ("grpc.keepalive_time_ms", _KEEPALIVE_SECONDS * 1000),
        ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_SECONDS * 1000),
        ("grpc.initial_reconnect_backoff_ms", int(_FIRST_RECONNECT_SECONDS * 1000)),
        ("grpc.min_reconnect_backoff_ms", _CONNECT_SECONDS * 1000),
        ("grpc.max_reconnect_backoff_ms", int(_MAX_RECONNECT_SECONDS * 1000)),
        # gRPC would otherwise look for a proxy and a service config of its own.
        ("grpc.enable_http_proxy", 0 if settings.plaintext else 1),
        ("grpc.service_config_disable_resolution", 1),
        # Channels with equal arguments would otherwise share one connection.
        ("grpc.use_local_subchannel_pool", 1),
    ]
    if settings.plaintext:
        return Channels(partial(grpc.aio.insecure_channel, settings.endpoint, options), None)
    credentials = grpc.ssl_channel_credentials()
    tokens = None
    if not settings.anonymous:
        # google-auth takes a third of the time of a start: an anonymous mount does not load it.
        import google.auth.transport.requests

        tokens = Tokens(_credentials(settings.key_file), google.auth.transport.requests.Request())
        credentials = grpc.composite_channel_credentials(
            credentials, grpc.metadata_call_credentials(tokens)
        )
    make = partial(grpc.aio.secure_channel, settings.endpoint, credentials, options)
    return Channels(make, tokens)


def _credentials(key_file: Path | None) -> google.auth.credentials.Credentials:
    import google.auth
    import google.auth.exceptions

    try:
        if key_file is None:
            credentials, _ = google.auth.default(scopes=[_SCOPE])
            return credentials
        with warnings.catch_warnings():
            # google-auth warns of files from strangers; whoever mounts names a file of their own.
            warnings.filterwarnings("ignore", category=PendingDeprecationWarning)
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            credentials, _ = google.auth.load_credentials_from_file(os.fspath(key_file))
        # As google.auth.default does it: a user's own credentials have the scopes they were given
        # at login, and asking for others makes their renewal fail.
        return google.auth.credentials.with_scopes_if_required(credentials, [_SCOPE])
    except google.auth.exceptions.GoogleAuthError as error:
        # What failed, and often the error that it failed by.
        reason = ": ".join(str(part).rstrip(".") for part in error.args)
    except OSError as error:
        reason = error.strerror or str(error)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # JSON that is no object, or an object with values of other types.
        reason = f"it does not hold credentials ({error})"
    raise ConfigError(_without_credentials(key_file, " ".join(reason.split()).rstrip(".")))


def _without_credentials(key_file: Path | None, reason: str) -> str:
    if key_file is not None:
        return f"cannot use the key file {key_file}: {reason}."
    if path := os.environ.get(_CREDENTIALS_VARIABLE):
        return f"cannot use {path}, which {_CREDENTIALS_VARIABLE} names: {reason}."
    return (
        f"no credentials were found ({reason}); run `gcloud auth application-default login`, name"
        " a service account's key with --key-file, or use --anonymous for a public bucket"
    )


def renewal_failure(message: str) -> str | None:
    """Return why a token could not be had, if that is what gRPC's UNAVAILABLE means."""
    _, found, reason = message.partition(_PLUGIN_FAILED)
    return " ".join(reason.removeprefix(" with error:").split()).rstrip(".") if found else None


def request_headers(settings: ChannelSettings, bucket_path: str, routing_token: str) -> Metadata:
    """Return the metadata of one call on a bucket; the routing token travels verbatim."""
    params = f"bucket={bucket_path}"
    if routing_token:
        params += f"&routing_token={routing_token}"
    client = f"gl-python/{platform.python_version()} grpc/{grpc.__version__} gcsmux/{__version__}"
    headers = [("x-goog-request-params", params), ("x-goog-api-client", client)]
    if settings.billing_project:
        headers.append(("x-goog-user-project", settings.billing_project))
    return tuple(headers)
