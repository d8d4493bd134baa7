"""Tests of the judgements about names, connections, certificates and clocks."""

from __future__ import annotations

import datetime as dt
import socket

import pytest

from gcsmux_fs.doctor.checklist import CheckResult
from gcsmux_fs.doctor.network_findings import (
    ServerCertificate,
    clock_finding,
    connection_finding,
    name_finding,
    tls_finding,
)
from gcsmux_fs.doctor.network_probes import ConnectionAttempt, TlsFacts

HOST = "storage.googleapis.com"
NOW = dt.datetime(2026, 11, 30, tzinfo=dt.UTC)
GOOGLE = ServerCertificate(
    "Google Trust Services WR2", (HOST,), NOW - dt.timedelta(9), NOW + dt.timedelta(9)
)
COMPANY = ServerCertificate("Zscaler Inc.", ("*.googleapis.com",), GOOGLE.not_before, NOW)
SIX = (socket.AF_INET6, "2a00::1", 443)
FOUR = (socket.AF_INET, "142.250.1.207", 443)


@pytest.mark.parametrize(
    ("facts", "certificate", "result", "detail"),
    [
        (
            TlsFacts(version="TLSv1.3", protocol="h2"),
            GOOGLE,
            CheckResult.OK,
            "TLSv1.3, certificate from Google Trust Services WR2",
        ),
        (
            TlsFacts(version="TLSv1.3", protocol="h2"),
            COMPANY,
            CheckResult.WARNING,
            f"a proxy inspects the connection: the certificate of {HOST} is from Zscaler Inc.",
        ),
        (
            TlsFacts("unable to get local issuer certificate", 20),
            COMPANY,
            CheckResult.FAILURE,
            f"a proxy inspects the connection: the certificate of {HOST} is from Zscaler Inc.",
        ),
        (
            TlsFacts("certificate has expired", 10),
            COMPANY,
            CheckResult.FAILURE,
            (
                f"the certificate of {HOST} expired on 2026-11-30, and the local clock shows"
                " 2026-11-30"
            ),
        ),
        (
            TlsFacts("certificate is not yet valid", 9),
            GOOGLE,
            CheckResult.FAILURE,
            (
                f"the certificate of {HOST} is not valid before 2026-11-21, and the local clock"
                " shows 2026-11-30"
            ),
        ),
        (
            TlsFacts("Hostname mismatch", 62),
            COMPANY,
            CheckResult.FAILURE,
            f"the certificate of {HOST} is for *.googleapis.com",
        ),
        (
            TlsFacts(version="TLSv1.3", protocol="http/1.1"),
            GOOGLE,
            CheckResult.FAILURE,
            f"{HOST} does not offer HTTP/2, which gRPC needs",
        ),
        (
            TlsFacts("[SSL: WRONG_VERSION_NUMBER]", reason="WRONG_VERSION_NUMBER"),
            None,
            CheckResult.FAILURE,
            f"{HOST} does not speak TLS (WRONG_VERSION_NUMBER)",
        ),
        (
            TlsFacts("no answer to the TLS handshake"),
            None,
            CheckResult.FAILURE,
            f"the TLS handshake with {HOST} failed (no answer to the TLS handshake)",
        ),
    ],
)
def test_the_tls_handshake(
    facts: TlsFacts, certificate: ServerCertificate | None, result: CheckResult, detail: str
) -> None:
    finding = tls_finding(HOST, facts, certificate, NOW)
    assert (finding.result, finding.detail) == (result, detail)
    assert bool(finding.remedy) == (result is not CheckResult.OK)


def test_one_reachable_address_is_enough() -> None:
    attempts = [
        ConnectionAttempt(SIX, 0.0, "Network is unreachable"),
        ConnectionAttempt(FOUR, 0.012),
    ]
    finding = connection_finding(attempts, None)
    assert finding.result is CheckResult.OK
    assert finding.detail == (
        "142.250.1.207:443 accepts connections after 12.0 ms, [2a00::1]:443 does not (Network is"
        " unreachable)"
    )


def test_no_reachable_address_is_a_failure_with_the_reasons() -> None:
    silent = connection_finding([ConnectionAttempt(FOUR, 5.0, "no answer")], None)
    assert silent.result is CheckResult.FAILURE
    assert "firewall" in silent.remedy
    refused = connection_finding([ConnectionAttempt(FOUR, 0.0, "Connection refused")], None)
    assert "port" in refused.remedy


def test_a_name_is_shown_with_its_addresses() -> None:
    assert name_finding(HOST, [FOUR, SIX], None).detail == f"{HOST} is 142.250.1.207, 2a00::1"
    assert name_finding(HOST, "Name or service not known", None).result is CheckResult.FAILURE


@pytest.mark.parametrize(
    ("skew", "result"),
    [
        (5.0, CheckResult.OK),
        (60.0, CheckResult.WARNING),
        (-60.0, CheckResult.WARNING),
        (3600.0, CheckResult.FAILURE),
    ],
)
def test_the_clock(skew: float, result: CheckResult) -> None:
    finding = clock_finding((NOW, NOW.timestamp() + skew))
    assert finding.result is result
    if skew == -60.0:
        assert "60 s behind" in finding.detail
    assert clock_finding(None).result is CheckResult.SKIPPED
