"""Tests of the emulator with TLS: certificates, credentials and expired tokens."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
from typing import TYPE_CHECKING

import grpc
import grpc.aio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gcsmux_fs.emulator.faults import ExpireToken, Fault, Goaway, Reset, RstStream
from gcsmux_fs.emulator.injection import Faults, Rule
from gcsmux_fs.emulator.rpc_error import RpcError
from gcsmux_fs.emulator.server import Emulator, EmulatorError
from gcsmux_fs.storage.pb import storage_pb2 as pb

from .clients import BUCKET

if TYPE_CHECKING:
    from pathlib import Path

_DAY = dt.timedelta(days=1)


@pytest.fixture
def tls(tmp_path: Path) -> tuple[Path, Path]:
    """The PEM files of a certificate for 127.0.0.1 and of its private key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "emulator")])
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + _DAY)
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = (tmp_path / "certificate.pem", tmp_path / "key.pem")
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files


async def outcome(address: str, roots: bytes | None, token: str) -> grpc.StatusCode:
    """Call GetObject with this access token and these root certificates; return the status code."""
    credentials = grpc.composite_channel_credentials(
        grpc.ssl_channel_credentials(roots), grpc.access_token_call_credentials(token)
    )
    async with grpc.aio.secure_channel(address, credentials) as channel:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            "/google.storage.v2.Storage/GetObject"
        )
        request = pb.GetObjectRequest(bucket=BUCKET, object="f").SerializeToString()
        try:
            await call(request, timeout=60)
        except grpc.aio.AioRpcError as error:
            return error.code()
        return grpc.StatusCode.OK


def test_expired_credentials_fail_and_new_credentials_work(
    served: Path, bucket: Path, tls: tuple[Path, Path]
) -> None:
    (bucket / "f").touch()

    async def scenario() -> None:
        async with Emulator(served, tls=tls, relay_port=0) as emulator:
            emulator.control.order(Faults((Rule(ExpireToken()),)))
            roots = tls[0].read_bytes()
            for address in (emulator.address, emulator.relay_address):
                codes = [await outcome(address, roots, token) for token in ("old", "old", "new")]
                assert [code.name for code in codes] == ["UNAUTHENTICATED"] * 2 + ["OK"]
            # The client trusts the server only if it has the server's certificate as a root.
            assert await outcome(emulator.address, None, "new") == grpc.StatusCode.UNAVAILABLE

    asyncio.run(scenario())


def test_only_the_tokens_of_the_file_are_accepted(
    served: Path, bucket: Path, tls: tuple[Path, Path], tmp_path: Path
) -> None:
    (bucket / "f").touch()
    tokens = tmp_path / "tokens"

    async def scenario() -> None:
        async with Emulator(served, tls=tls, tokens_file=tokens) as emulator:
            roots = tls[0].read_bytes()
            codes = []
            for accepted in (None, "first second", "second"):
                if accepted is not None:
                    tokens.write_text(accepted)
                codes.append((await outcome(emulator.address, roots, "first")).name)
            assert codes == ["UNAUTHENTICATED", "OK", "UNAUTHENTICATED"]
            assert emulator.control.counters.tokens == {"first": 3}

    asyncio.run(scenario())


@pytest.mark.parametrize("fault", [Goaway(), RstStream()])
def test_faults_of_frames_are_refused_over_tls(
    served: Path, tls: tuple[Path, Path], fault: Fault
) -> None:
    emulator = Emulator(served, tls=tls, relay_port=0)
    emulator.control.order(Faults((Rule(Reset()),)))
    with pytest.raises(RpcError, match="cannot insert frames into TLS"):
        emulator.control.order(Faults((Rule(fault),)))


def test_a_certificate_with_a_wrong_key_is_an_error(served: Path, tls: tuple[Path, Path]) -> None:
    certificate, _ = tls
    with pytest.raises(EmulatorError, match=f"{certificate} with the key {certificate}"):
        Emulator(served, tls=(certificate, certificate))
