"""Tests of the judgements about credentials, tokens and DirectPath."""

from __future__ import annotations

import ipaddress
from types import SimpleNamespace

import pytest

from gcsmux_fs.doctor.checklist import CheckResult
from gcsmux_fs.doctor.identity_findings import (
    credentials_finding,
    direct_path_finding,
    token_finding,
    token_host,
)
from gcsmux_fs.model.errors import CredentialsError
from gcsmux_fs.storage.direct_path import ConnectedPaths

FRONT_END = ipaddress.ip_address("142.250.1.207")
DIRECT = ipaddress.ip_address("34.126.0.5")


def test_missing_credentials_keep_their_own_remedy() -> None:
    error = CredentialsError("no credentials were found (none): run `gcloud auth login`")
    finding = credentials_finding(error)
    assert finding.result is CheckResult.FAILURE
    assert finding.detail == "no credentials were found (none)"
    assert finding.remedy == "run `gcloud auth login`"


def test_an_error_without_a_remedy_gets_one() -> None:
    finding = token_finding(CredentialsError("the token server refuses me (bad)"), 0.0)
    assert finding.detail == "the token server refuses me (bad)"
    assert "log in again" in finding.remedy


def test_the_owner_of_the_token_is_shown() -> None:
    assert token_finding("a@b", 0.05).detail == "a token for a@b arrived after 50.0 ms"
    assert token_finding(None, 0.0).detail == "no token is needed"


@pytest.mark.parametrize(
    ("credentials", "host"),
    [
        (
            SimpleNamespace(_token_uri="https://oauth2.googleapis.com/token"),
            "oauth2.googleapis.com",
        ),
        (SimpleNamespace(_token_url="https://sts.googleapis.com/v1/token"), "sts.googleapis.com"),
        (SimpleNamespace(), ""),
        (SimpleNamespace(_token_uri=None), ""),
    ],
)
def test_the_token_server_is_read_from_the_credentials(credentials: object, host: str) -> None:
    assert token_host(credentials) == host


@pytest.mark.parametrize(
    ("mode", "direct", "result", "part"),
    [
        ("off", False, CheckResult.OK, "not asked for"),
        ("try", True, CheckResult.OK, "in use: the server is 34.126.0.5"),
        ("try", False, CheckResult.OK, "not available: the servers are 142.250.1.207"),
        ("require", True, CheckResult.OK, "in use"),
        ("require", False, CheckResult.FAILURE, "not available"),
    ],
)
def test_direct_path(mode: str, direct: bool, result: CheckResult, part: str) -> None:
    paths = ConnectedPaths((DIRECT,) if direct else (), (FRONT_END,))
    finding = direct_path_finding(mode, paths)
    assert finding.result is result
    assert part in finding.detail
