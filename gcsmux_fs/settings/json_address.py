"""The address of the JSON API of Cloud Storage, which configures the notifications of buckets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcsmux_fs.model.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gcsmux_fs.settings.service_address import ServiceAddress

__all__ = ["JSON_EMULATOR_VARIABLE", "json_address"]

JSON_EMULATOR_VARIABLE = "STORAGE_EMULATOR_HOST"
"""The environment variable with the HTTP address of an emulator. Google's SDKs read it too."""


def json_address(storage: ServiceAddress, environment: Mapping[str, str]) -> str:
    """Return the start of all URLs of the JSON API, without a slash at the end.

    The server of the gRPC API also has the JSON API. An emulator has it at an address of its own.

    Raises:
        ConfigError: the address of the emulator is missing.
    """
    if not storage.plaintext:
        host, _, port = storage.endpoint.rpartition(":")
        return f"https://{host}" if port == "443" else f"https://{storage.endpoint}"
    text = environment.get(JSON_EMULATOR_VARIABLE, "").rstrip("/")
    if not text:
        raise ConfigError(
            f"{JSON_EMULATOR_VARIABLE} is not set: set it to the HTTP address of the emulator, such"
            " as http://localhost:9001, because notifications are configured over HTTP."
        )
    return text if "://" in text else f"http://{text}"
