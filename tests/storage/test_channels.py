"""Tests of credentials: accepted key files, and the messages for rejected key files."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import TYPE_CHECKING

import grpc
import grpc.aio
import pytest

from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.storage import asyncio_bridge
from gcsmux_fs.storage.channels import (
    ChannelSettings,
    open_channels,
    renewal_failure,
)

if TYPE_CHECKING:
    from pathlib import Path

USER = {
    "type": "authorized_user",
    "client_id": "id",
    "client_secret": "secret",
    "refresh_token": "token",
}
WORKLOAD = {
    "type": "external_account",
    "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p",
    "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
    "token_url": "https://sts.googleapis.com/v1/token",
    "credential_source": {"file": "/no/such/token"},
}


async def open_and_close(settings: ChannelSettings) -> None:
    channels = await open_channels(settings)
    await channels.close_all()


def refusal(settings: ChannelSettings) -> str:
    with pytest.raises(ConfigError) as caught:
        asyncio_bridge.run(partial(open_and_close, settings))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("content", [USER, WORKLOAD], ids=["user", "workload"])
def test_key_files_of_users_and_workloads_are_accepted(tmp_path: Path, content: object) -> None:
    key = tmp_path / "key.json"
    key.write_text(json.dumps(content))
    asyncio_bridge.run(partial(open_and_close, ChannelSettings(key_file=key)))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("no key", "is not a valid json file"),
        ("[]", "it does not hold credentials"),
        ('{"type": "else"}', "does not have a valid type"),
        ('{"type": "authorized_user"}', "refresh_token"),
        ('{"type": "service_account", "client_email": "a", "token_uri": "b"}', "service account"),
    ],
)
def test_the_error_for_a_bad_key_file_names_the_file_and_the_reason(
    tmp_path: Path, content: str, reason: str
) -> None:
    key = tmp_path / "key.json"
    key.write_text(content)
    sentence = refusal(ChannelSettings(key_file=key))
    assert sentence.startswith(f"cannot use the key file {key}: ")
    assert reason in sentence


def test_the_error_for_a_bad_file_in_the_environment_names_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = "GOOGLE_APPLICATION_CREDENTIALS"
    for path, reason in ((tmp_path / "absent", "was not found"), (tmp_path, "Is a directory")):
        monkeypatch.setenv(variable, str(path))
        sentence = refusal(ChannelSettings())
        assert sentence.startswith(f"cannot use {path}, which {variable} names: ")
        assert reason in sentence


class _FailingPlugin(grpc.AuthMetadataPlugin):
    """A gRPC plugin that fails to fetch a token."""

    def __call__(
        self, context: grpc.AuthMetadataContext, callback: grpc.AuthMetadataPluginCallback
    ) -> None:
        callback((), ValueError("invalid_grant:\n Bad Request."))


async def _details_of_a_call_without_token() -> str | None:
    server = grpc.aio.server()
    port = server.add_secure_port("localhost:0", grpc.local_server_credentials())
    await server.start()
    credentials = grpc.composite_channel_credentials(
        grpc.local_channel_credentials(), grpc.metadata_call_credentials(_FailingPlugin())
    )
    try:
        async with grpc.aio.secure_channel(f"localhost:{port}", credentials) as channel:
            call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/a/b")
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(b"", timeout=20)
    finally:
        await server.stop(None)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    return caught.value.details()


def test_a_failed_renewal_is_distinguished_from_an_unreachable_service() -> None:
    details = asyncio.run(_details_of_a_call_without_token())
    assert renewal_failure(details or "") == "invalid_grant: Bad Request"
    assert renewal_failure("failed to connect to all addresses") is None
