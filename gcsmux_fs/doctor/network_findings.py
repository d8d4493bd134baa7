"""Judges what the network probes found: names, connections, certificates and clocks; sans-IO."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcsmux_fs.doctor.checklist import Finding, failure, healthy, skipped, warning
from gcsmux_fs.process.shell_commands import command

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    from gcsmux_fs.doctor.network_probes import Address, ConnectionAttempt, TlsFacts
    from gcsmux_fs.doctor.proxy_rules import HttpProxy

__all__ = [
    "ServerCertificate",
    "clock_finding",
    "connection_finding",
    "name_finding",
    "tls_finding",
]

# OpenSSL's reasons for refusing a certificate (x509_vfy.h).
_NOT_YET_VALID = 9
_EXPIRED = 10
_OTHER_NAME = frozenset({62, 64})
_UNKNOWN_ISSUER = frozenset({2, 18, 19, 20, 21})

# OpenSSL's names of errors that occur if the server does not speak TLS.
_NO_TLS = frozenset(
    {
        "WRONG_VERSION_NUMBER",
        "PACKET_LENGTH_TOO_LONG",
        "RECORD_LAYER_FAILURE",
        "HTTP_REQUEST",
        "UNEXPECTED_EOF_WHILE_READING",
    }
)

_GOOGLE_HOST = ".googleapis.com"
_GOOGLE_ISSUER = "Google Trust Services"
_ROOTS = "name with --ca-file a file with"

# A Date header has a resolution of one second. Tokens are signed with the local time, and a token
# server refuses a time that differs by several minutes.
_TOLERATED_SKEW_SECONDS = 30
_MAX_SKEW_SECONDS = 300


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """The parts of a certificate that decide whether a client accepts it."""

    issuer: str
    names: tuple[str, ...]
    not_before: dt.datetime
    not_after: dt.datetime


def name_finding(host: str, answer: Sequence[Address] | str, proxy: HttpProxy | None) -> Finding:
    """Judge the addresses of `host` (the proxy's if there is a proxy), or why it has none."""
    if isinstance(answer, str):
        source = f", which {proxy.variable} names," if proxy is not None else ""
        return failure(
            f"{host}{source} has no address ({answer})",
            "check the spelling, then the name servers in /etc/resolv.conf",
        )
    addresses = [address for _, address, _ in answer]
    if addresses == [host]:
        return healthy(f"{host} is an address")
    shown = ", ".join(addresses[:3]) + (", ..." if len(addresses) > 3 else "")
    return healthy(f"{host} is {shown}")


def connection_finding(attempts: Sequence[ConnectionAttempt], proxy: HttpProxy | None) -> Finding:
    """Judge the attempts to connect."""
    target = "the proxy" if proxy is not None else "the service"
    reached = [attempt for attempt in attempts if not attempt.error]
    if reached:
        fastest = min(reached, key=lambda attempt: attempt.seconds)
        detail = f"{shown_address(fastest.address)} accepts connections"
        detail += f" after {fastest.seconds * 1000:.1f} ms"
        failed = [attempt for attempt in attempts if attempt.error]
        if failed:
            detail += f", {shown_address(failed[0].address)} does not ({failed[0].error})"
        return healthy(detail)
    reasons = "; ".join(
        f"{shown_address(attempt.address)}: {attempt.error}" for attempt in attempts[:2]
    )
    if any(attempt.error == "Connection refused" for attempt in attempts):
        return failure(
            f"{target} refuses connections ({reasons})",
            "check the port, and whether the server runs",
        )
    return failure(
        f"{target} cannot be reached ({reasons})",
        "check the firewall and the route to this address, and set https_proxy if the network"
        " requires a proxy",
    )


def tls_finding(
    host: str, facts: TlsFacts, certificate: ServerCertificate | None, now: dt.datetime
) -> Finding:
    """Judge a TLS handshake with `host`."""
    if facts.verify_code:
        return _refused_certificate(host, facts, certificate, now)
    if facts.reason in _NO_TLS:
        return failure(
            f"{host} does not speak TLS ({facts.reason})",
            "add --plaintext and --anonymous for a local server without TLS, or correct the port",
        )
    if facts.error:
        return failure(
            f"the TLS handshake with {host} failed ({facts.error})",
            "check firewalls and proxies between this machine and the service",
        )
    if facts.protocol != "h2":
        return failure(
            f"{host} does not offer HTTP/2, which gRPC needs",
            "let connections to the service bypass the inspecting proxy, or correct the endpoint",
        )
    issuer = certificate.issuer if certificate is not None else "an unknown issuer"
    if host.endswith(_GOOGLE_HOST) and _GOOGLE_ISSUER not in issuer:
        return warning(
            f"a proxy inspects the connection: the certificate of {host} is from {issuer}",
            "if streams are slow or break, let connections to the service bypass the proxy",
        )
    return healthy(f"{facts.version}, certificate from {issuer}")


def _refused_certificate(
    host: str, facts: TlsFacts, certificate: ServerCertificate | None, now: dt.datetime
) -> Finding:
    if facts.verify_code == _EXPIRED:
        end = f" on {_day(certificate.not_after)}" if certificate is not None else ""
        return failure(
            f"the certificate of {host} expired{end}, and the local clock shows {_day(now)}",
            f"if {command('date')} is wrong, set the clock; otherwise renew the certificate of the"
            " server",
        )
    if facts.verify_code == _NOT_YET_VALID:
        start = f" before {_day(certificate.not_before)}" if certificate is not None else " yet"
        return failure(
            f"the certificate of {host} is not valid{start}, and the local clock shows {_day(now)}",
            f"set the clock: {command('timedatectl', 'set-ntp', 'true')}",
        )
    if facts.verify_code in _OTHER_NAME:
        names = ", ".join(certificate.names[:3]) if certificate is not None else "another name"
        return failure(
            f"the certificate of {host} is for {names}",
            "use a name in the certificate as the endpoint",
        )
    issuer = f"from {certificate.issuer}" if certificate is not None else "from an unknown issuer"
    if facts.verify_code in _UNKNOWN_ISSUER and host.endswith(_GOOGLE_HOST):
        return failure(
            f"a proxy inspects the connection: the certificate of {host} is {issuer}",
            f"{_ROOTS} the root certificate of the proxy, or let connections to the service bypass"
            " the proxy",
        )
    return failure(
        f"the certificate of {host} is not trusted: it is {issuer} ({facts.error})",
        f"if the server is yours, {_ROOTS} its root certificate",
    )


def clock_finding(answer: tuple[dt.datetime, float] | None) -> Finding:
    """Judge the difference between the clocks of the server and of this machine, in seconds."""
    if answer is None:
        return skipped("the service does not send its time")
    date, local = answer
    skew = local - date.timestamp()
    # The header has no fractions of a second, so its time is up to a second too early.
    if abs(skew) <= _TOLERATED_SKEW_SECONDS:
        return healthy("the local clock agrees with the clock of the service")
    direction = "ahead of" if skew > 0 else "behind"
    detail = f"the local clock is {abs(skew):.0f} s {direction} the clock of the service"
    remedy = f"set the clock: {command('timedatectl', 'set-ntp', 'true')}"
    return (failure if abs(skew) > _MAX_SKEW_SECONDS else warning)(detail, remedy)


def shown_address(address: Address) -> str:
    """Return an address as text, with an IPv6 address in brackets."""
    _, host, port = address
    return f"[{host}]:{port}" if ipaddress.ip_address(host).version == 6 else f"{host}:{port}"


def _day(moment: dt.datetime) -> str:
    return f"{moment:%Y-%m-%d}"
