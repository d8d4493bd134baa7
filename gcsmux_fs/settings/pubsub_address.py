"""The address of Pub/Sub, which tells a mount what changes in its bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.settings.defaults import DEFAULT_PUBSUB_ENDPOINT
from gcsmux_fs.settings.service_address import ServiceAddress, is_loopback, parse_endpoint

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PUBSUB_EMULATOR_VARIABLE", "parse_pubsub_endpoint", "pubsub_address", "pubsub_endpoint"]

PUBSUB_EMULATOR_VARIABLE = "PUBSUB_EMULATOR_HOST"
"""The environment variable with the address of an emulator of Pub/Sub. Google's SDKs read it."""

_PLAINTEXT = "http://"


def parse_pubsub_endpoint(text: str) -> str:
    """Return `text` as HOST:PORT, or as http://HOST:PORT for a connection without TLS.

    Raises:
        ConfigError: the text is not an endpoint.
    """
    if not text.startswith(_PLAINTEXT):
        return parse_endpoint(text)
    return _PLAINTEXT + parse_endpoint(text.removeprefix(_PLAINTEXT).removesuffix("/"))


def pubsub_endpoint(
    given: str | None, storage: ServiceAddress, environment: Mapping[str, str]
) -> tuple[str, str]:
    """Return the endpoint of Pub/Sub that has an effect, and the reason if it is not the default.

    `given` is the setting. Without it, PUBSUB_EMULATOR_HOST counts, then a server of Cloud Storage
    without TLS, because an emulator of both services usually has one port.

    Raises:
        ConfigError: the variable is wrong, or Pub/Sub would need credentials.
    """
    if given is not None:
        endpoint, reason = given, ""
    elif emulator := environment.get(PUBSUB_EMULATOR_VARIABLE):
        endpoint = _emulator_endpoint(emulator)
        reason = f"{PUBSUB_EMULATOR_VARIABLE} names an emulator"
    elif storage.plaintext:
        endpoint = _PLAINTEXT + storage.endpoint
        reason = "the server of the bucket is connected without TLS, so it is an emulator"
    else:
        endpoint, reason = DEFAULT_PUBSUB_ENDPOINT, ""
    if storage.anonymous and not endpoint.startswith(_PLAINTEXT):
        raise ConfigError(
            "--changes needs credentials, because Pub/Sub answers no anonymous requests: leave"
            " --anonymous out."
        )
    return endpoint, reason


def pubsub_address(endpoint: str, *, anonymous: bool) -> ServiceAddress:
    """Return the address of a parsed endpoint. Credentials are never sent without TLS."""
    plaintext = endpoint.startswith(_PLAINTEXT)
    return ServiceAddress(
        endpoint.removeprefix(_PLAINTEXT), plaintext=plaintext, anonymous=plaintext or anonymous
    )


def _emulator_endpoint(text: str) -> str:
    try:
        endpoint = parse_endpoint(text.removeprefix(_PLAINTEXT).removesuffix("/"))
    except ConfigError as error:
        raise ConfigError(f"{PUBSUB_EMULATOR_VARIABLE}: {error}") from None
    if not is_loopback(endpoint):
        raise ConfigError(
            f"{PUBSUB_EMULATOR_VARIABLE} names {endpoint}, which is on another machine: write"
            f" --pubsub-endpoint {_PLAINTEXT}{endpoint} to send the names of objects unencrypted"
            " over the network."
        )
    return _PLAINTEXT + endpoint
