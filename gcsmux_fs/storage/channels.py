"""Opens gRPC channels to the service, and makes the headers of calls.

As in Google's SDKs there are two kinds of channels. The first kind uses TLS with credentials (see
`credentials.py`), or without credentials for public buckets. The second kind uses plaintext without
credentials, for an emulator.
"""

from __future__ import annotations

import asyncio
import logging
import platform
import threading
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar

import grpc
import grpc.aio

from gcsmux_fs import __version__
from gcsmux_fs.model.errors import CredentialsError
from gcsmux_fs.settings.defaults import DEFAULT_DIRECT_PATH, DEFAULT_ENDPOINT
from gcsmux_fs.storage.asyncio_bridge import await_asyncio
from gcsmux_fs.storage.connections import CONNECTION_SILENCE_SECONDS, Connections
from gcsmux_fs.storage.credentials import (
    PUBSUB_SCOPE,
    READ_SCOPE,
    CredentialSettings,
    load_credentials,
)
from gcsmux_fs.storage.direct_path import direct_path_target, is_google_machine
from gcsmux_fs.storage.tokens import Tokens

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gcsmux_fs.settings.service_address import ServiceAddress

__all__ = [
    "ChannelSettings",
    "Channels",
    "Metadata",
    "call_headers",
    "open_channels",
    "request_headers",
    "root_certificates",
]

log = logging.getLogger(__name__)

_Result = TypeVar("_Result")

Metadata = tuple[tuple[str, str], ...]

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
    """Settings of a channel. `endpoint` is `host:port`; `anonymous` means no credentials.

    See `CredentialSettings` for the settings that choose the credentials, and `direct_path.py` for
    `direct_path`. `ca_file` replaces the certificates that gRPC and google-auth trust.
    `scopes` are those of the tokens.
    """

    endpoint: str = DEFAULT_ENDPOINT
    plaintext: bool = False
    anonymous: bool = False
    key_file: Path | None = None
    billing_project: str = ""
    token_file: Path | None = None
    token_command: tuple[str, ...] = ()
    impersonate: tuple[str, ...] = ()
    ca_file: Path | None = None
    direct_path: str = DEFAULT_DIRECT_PATH
    scopes: tuple[str, ...] = (READ_SCOPE,)

    @classmethod
    def of(cls, setting: Callable[[str], Any]) -> Self:
        """Return the settings of a channel; `setting` returns a field of `Settings` by name."""
        return cls(
            setting("endpoint"),
            plaintext=setting("plaintext"),
            anonymous=setting("anonymous"),
            key_file=setting("key_file"),
            token_file=setting("token_file"),
            token_command=setting("token_command"),
            impersonate=setting("impersonate_service_account"),
            ca_file=setting("ca_file"),
            billing_project=setting("billing_project"),
            direct_path=setting("direct_path"),
        )

    def for_pubsub(self, address: ServiceAddress) -> ChannelSettings:
        """Return the settings of a channel to Pub/Sub with the same credentials."""
        return replace(
            self,
            endpoint=address.endpoint,
            plaintext=address.plaintext,
            anonymous=address.anonymous,
            billing_project="",
            direct_path=DEFAULT_DIRECT_PATH,
            scopes=(PUBSUB_SCOPE,),
        )

    @property
    def credentials(self) -> CredentialSettings:
        """Which credentials the calls use."""
        return CredentialSettings(
            self.key_file, self.token_file, self.token_command, self.impersonate, self.scopes
        )


class Channels:
    """Opens and closes channels with equal settings. Each channel has its own connection.

    `open` and `close` run in the asyncio thread.

    Args:
        make: makes a channel.
        tokens: adds an access token to each call; None if calls need no token.
        opened: the set in which the open channels are kept; None for a new set.
    """

    def __init__(
        self,
        make: Callable[[], grpc.aio.Channel],
        tokens: Tokens | None,
        opened: set[grpc.aio.Channel] | None = None,
    ) -> None:
        self._make = make
        self.tokens = tokens
        self._open = set() if opened is None else opened
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
            if self.tokens is not None:
                self.tokens.close()
            while self._open:
                await self._open.pop().close()
            await asyncio.gather(*self._closing)

        await await_asyncio(close_on_asyncio())


def _call_later(seconds: float, call: Callable[[float], None]) -> None:
    loop = asyncio.get_running_loop()
    loop.call_later(seconds, lambda: call(loop.time()))


async def open_channels(settings: ChannelSettings, *, needs_token: bool = True) -> Channels:
    """Return a factory for channels to the service.

    Without `needs_token`, the token server need not be reachable yet.

    Raises:
        CredentialsError: there are no credentials, or no token could be fetched.
    """
    return await await_asyncio(_open(settings, needs_token=needs_token))


async def _open(settings: ChannelSettings, *, needs_token: bool) -> Channels:
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
    roots = root_certificates(settings.ca_file)
    if settings.anonymous:
        make = partial(
            grpc.aio.secure_channel,
            settings.endpoint,
            grpc.ssl_channel_credentials(roots),
            options,
        )
        return Channels(make, None)
    opened: set[grpc.aio.Channel] = set()
    tokens = await _in_thread(
        partial(_first_token, settings, lambda: bool(opened), needs_token=needs_token)
    )
    log.info("using %s", tokens.identity)
    tokens.start()
    call_credentials = grpc.metadata_call_credentials(tokens)
    if settings.direct_path != DEFAULT_DIRECT_PATH and is_google_machine():
        credentials = grpc.compute_engine_channel_credentials(call_credentials)
        target = direct_path_target(settings.endpoint)
    else:
        credentials = grpc.composite_channel_credentials(
            grpc.ssl_channel_credentials(roots), call_credentials
        )
        target = settings.endpoint
    make = partial(grpc.aio.secure_channel, target, credentials, options)
    return Channels(make, tokens, opened)


def _first_token(
    settings: ChannelSettings, busy: Callable[[], bool], *, needs_token: bool
) -> Tokens:
    """Load the credentials and fetch the first token, so that a mistake shows at once."""
    # Loading google-auth takes 0.1 s of CPU time, so an anonymous mount does not load it.
    from gcsmux_fs.storage.credentials_source import BoundedRequest, CredentialsSource

    host = settings.endpoint.rpartition(":")[0]
    source = CredentialsSource(
        partial(load_credentials, settings.credentials, host),
        BoundedRequest(settings.ca_file),
        target=settings.impersonate[-1] if settings.impersonate else "",
        with_project=not settings.billing_project,
    )
    tokens = Tokens(source, busy=busy)
    try:
        tokens.first()
    except CredentialsError as error:
        if needs_token or error.permanent:
            raise
        log.info("there is no access token yet: %s", error)
    return tokens


def root_certificates(path: Path | None) -> bytes | None:
    """Return the certificates in --ca-file; None for gRPC's own.

    Raises:
        CredentialsError: the file cannot be read, or holds no certificate.
    """
    if path is None:
        return None
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise CredentialsError(
            f"--ca-file {path} cannot be read: {reason}", permanent=True
        ) from None
    if b"-----BEGIN CERTIFICATE-----" not in data:
        raise CredentialsError(
            f"--ca-file {path} holds no certificate in PEM format", permanent=True
        )
    return data


async def _in_thread(function: Callable[[], _Result]) -> _Result:
    """Run a blocking function in a daemon thread, which does not delay the end of the process."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[_Result] = loop.create_future()

    def report(set_result: Callable[[], None]) -> None:
        if not result.done():
            set_result()

    def run() -> None:
        try:
            value = function()
        except BaseException as error:
            outcome = partial(result.set_exception, error)
        else:
            outcome = partial(result.set_result, value)
        # The loop is closed if the start of the mount was cancelled.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(report, outcome)

    threading.Thread(target=run, name="first token", daemon=True).start()
    return await result


def request_headers(settings: ChannelSettings, bucket_path: str, routing_token: str) -> Metadata:
    """Return the gRPC headers of one call on a bucket. The routing token is not URL-encoded."""
    params = f"bucket={bucket_path}"
    if settings.direct_path == "require":
        params += "&force_direct_connectivity=ENFORCED"
    if routing_token:
        params += f"&routing_token={routing_token}"
    return call_headers(settings, params)


def call_headers(settings: ChannelSettings, params: str) -> Metadata:
    """Return the gRPC headers of one call; a front end routes the call by `params`."""
    client = f"gl-python/{platform.python_version()} grpc/{grpc.__version__} gcsmux/{__version__}"
    headers = [("x-goog-request-params", params), ("x-goog-api-client", client)]
    if settings.billing_project:
        headers.append(("x-goog-user-project", settings.billing_project))
    return tuple(headers)
