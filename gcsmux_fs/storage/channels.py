"""Opens gRPC channels to the service, and makes the headers of calls.

As in Google's SDKs there are two kinds of channels. The first kind uses TLS with Application
Default Credentials, a key file, or no credentials (for public buckets). The second kind uses
plaintext without credentials, for an emulator.
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
# Part of gRPC's error message if no token could be fetched for a call.
_PLUGIN_FAILED = "Getting metadata from plugin failed"

_SCOPE = "https://www.googleapis.com/auth/devstorage.read_only"

# Limit for the size of one response. A BidiReadObject response holds chunks of 2 MiB. A listing
# page of 1,000 objects can have several MiB, because each object can have 8 KiB of custom metadata.
# With gRPC's default limit of 4 MiB, such a page would fail. Without a limit, one response could
# use any amount of memory.
_MAX_MESSAGE_BYTES = 16 * 1024 * 1024

# Interval between keepalive pings, and timeout for the answer to a ping. A connection can die
# without an error (a lost route, a suspended laptop). Keepalive detects a dead connection after one
# interval plus the timeout. 60 s is the shortest interval that all Google front ends are known to
# accept.
_KEEPALIVE_SECONDS = 60
_KEEPALIVE_TIMEOUT_SECONDS = 20

# First and longest delay between gRPC's attempts to connect. gRPC's default maximum is 120 s, far
# longer than a server needs to restart. The mux adds its own delays, with jitter.
_FIRST_RECONNECT_SECONDS = 0.2
_MAX_RECONNECT_SECONDS = 5.0
# Time limit of one attempt to connect. With TLS, an attempt takes three or four round trips. gRPC
# calls this option `min_reconnect_backoff`, but the option does not lengthen the backoff.
_CONNECT_SECONDS = 10


@dataclass(frozen=True, slots=True)
class ChannelSettings:
    """Settings of a channel. `endpoint` is `host:port`; `anonymous` means no credentials."""

    endpoint: str = DEFAULT_ENDPOINT
    plaintext: bool = False
    anonymous: bool = False
    key_file: Path | None = None
    billing_project: str = ""


class Channels:
    """Opens and closes channels with equal settings. Each channel has its own connection.

    `open` and `close` run in the asyncio thread.

    Attributes:
        tokens: adds an access token to each call; None if calls need no token.
    """

    def __init__(self, make: Callable[[], grpc.aio.Channel], tokens: Tokens | None) -> None:
        self._make = make
        self.tokens = tokens
        self._open: set[grpc.aio.Channel] = set()
        self._closed = False
        self._closing: set[asyncio.Task[None]] = set()

    def open(self) -> grpc.aio.Channel:
        """Make a channel. The channel connects when its first call starts.

        Raises:
            grpc.aio.UsageError: `close_all` has been called.
        """
        if self._closed:
            raise grpc.aio.UsageError("the channels are closed")
        channel = self._make()
        self._open.add(channel)
        return channel

    def close(self, channel: grpc.aio.Channel) -> None:
        """Start to close a channel that carries no call."""
        if channel not in self._open:
            return
        self._open.remove(channel)
        task = asyncio.get_running_loop().create_task(channel.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def connections(
        self, most: int, silence_seconds: float = CONNECTION_SILENCE_SECONDS
    ) -> Connections[grpc.aio.Channel]:
        """Return a `Connections` that opens up to `most` connections for one kind of calls."""
        return Connections(
            self.open,
            self.close,
            most=most,
            call_later=_call_later,
            silence_seconds=silence_seconds,
        )

    async def close_all(self) -> None:
        """Close all channels, which ends their calls."""

        async def close_on_asyncio() -> None:
            self._closed = True
            while self._open:
                await self._open.pop().close()
            await asyncio.gather(*self._closing)

        await await_asyncio(close_on_asyncio())


def _call_later(seconds: float, call: Callable[[float], None]) -> None:
    loop = asyncio.get_running_loop()
    loop.call_later(seconds, lambda: call(loop.time()))


async def open_channels(settings: ChannelSettings) -> Channels:
    """Return a factory for channels to the service.

    Raises:
        ConfigError: there are no credentials, or the key file cannot be used.
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
        # Without these two options, gRPC would use an HTTP proxy even for an emulator, and would
        # look for a service config in the DNS.
        ("grpc.enable_http_proxy", 0 if settings.plaintext else 1),
        ("grpc.service_config_disable_resolution", 1),
        # Without this option, channels with equal arguments would share one connection.
        ("grpc.use_local_subchannel_pool", 1),
    ]
    if settings.plaintext:
        return Channels(partial(grpc.aio.insecure_channel, settings.endpoint, options), None)
    credentials = grpc.ssl_channel_credentials()
    tokens = None
    if not settings.anonymous:
        # Loading google-auth takes 0.1 s of CPU time, so an anonymous mount does not load it.
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
            # google-auth warns about key files of unknown origin. Here the user names the file, so
            # the warning is hidden.
            warnings.filterwarnings("ignore", category=PendingDeprecationWarning)
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            credentials, _ = google.auth.load_credentials_from_file(os.fspath(key_file))
        # Set the scope only if the credentials require one, as google.auth.default does. The
        # credentials of a user keep the scopes of the login, and a renewal with other scopes fails.
        return google.auth.credentials.with_scopes_if_required(credentials, [_SCOPE])
    except google.auth.exceptions.GoogleAuthError as error:
        # `error.args` holds the message, and often also the cause.
        reason = ": ".join(str(part).rstrip(".") for part in error.args)
    except OSError as error:
        reason = error.strerror or str(error)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # The JSON in the key file is not an object, or its values have wrong types.
        reason = f"it does not hold credentials ({error})"
    raise ConfigError(_without_credentials(key_file, " ".join(reason.split()).rstrip(".")))


def _without_credentials(key_file: Path | None, reason: str) -> str:
    if key_file is not None:
        return f"cannot use the key file {key_file}: {reason}."
    if path := os.environ.get(_CREDENTIALS_VARIABLE):
        return f"cannot use {path}, which {_CREDENTIALS_VARIABLE} names: {reason}."
    return (
        f"no credentials were found ({reason}): run `gcloud auth application-default login`, name"
        " the key of a service account with --key-file, or use --anonymous for a public bucket."
    )


def renewal_failure(message: str) -> str | None:
    """Return why no token could be fetched, or None if gRPC's message reports another failure."""
    _, separator, reason = message.partition(_PLUGIN_FAILED)
    return " ".join(reason.removeprefix(" with error:").split()).rstrip(".") if separator else None


def request_headers(settings: ChannelSettings, bucket_path: str, routing_token: str) -> Metadata:
    """Return the gRPC headers of one call on a bucket. The routing token is not URL-encoded."""
    params = f"bucket={bucket_path}"
    if routing_token:
        params += f"&routing_token={routing_token}"
    client = f"gl-python/{platform.python_version()} grpc/{grpc.__version__} gcsmux/{__version__}"
    headers = [("x-goog-request-params", params), ("x-goog-api-client", client)]
    if settings.billing_project:
        headers.append(("x-goog-user-project", settings.billing_project))
    return tuple(headers)
