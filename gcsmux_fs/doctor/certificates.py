"""Reads certificates, and finds the root certificates that gRPC trusts."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from gcsmux_fs.doctor.network_findings import ServerCertificate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography import x509

__all__ = ["parse_certificate", "trusted_roots"]

_ROOTS_VARIABLE = "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"
_BUNDLED_ROOTS = Path("_cython/_credentials/roots.pem")


def trusted_roots(ca_file: Path | None, environment: Mapping[str, str]) -> Path:
    """Return the file with the root certificates that gRPC uses: the user's, or its own.

    `ca_file` is the value of --ca-file.
    """
    if ca_file is not None:
        return ca_file
    if path := environment.get(_ROOTS_VARIABLE):
        return Path(path)
    spec = importlib.util.find_spec("grpc")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / _BUNDLED_ROOTS


def parse_certificate(data: bytes | None) -> ServerCertificate | None:
    """Return the parts of a certificate in DER; None if it is absent or malformed."""
    if data is None:
        return None
    # Imported here, because the import takes time, and only some checks need it.
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    try:
        certificate = x509.load_der_x509_certificate(data)
        issuer = [
            str(attribute.value)
            for oid in (NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME)
            for attribute in certificate.issuer.get_attributes_for_oid(oid)
        ]
        names = _alternative_names(certificate)
    except ValueError:
        return None
    return ServerCertificate(
        " ".join(issuer) or "an unnamed issuer",
        names,
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
    )


def _alternative_names(certificate: x509.Certificate) -> tuple[str, ...]:
    from cryptography import x509

    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    return tuple(str(name.value) for name in extension.value)
