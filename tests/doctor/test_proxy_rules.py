"""Tests of the rules by which gRPC chooses an HTTP proxy. The rules were measured with grpcio."""

from __future__ import annotations

import pytest

from gcsmux_fs.doctor.checklist import CheckResult
from gcsmux_fs.doctor.proxy_rules import HttpProxy, proxy_finding, proxy_for

HOST = "storage.googleapis.com"
PROXY = "http://proxy.local:3128"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"https_proxy": PROXY}, HttpProxy("proxy.local", 3128, "https_proxy")),
        ({"http_proxy": PROXY}, HttpProxy("proxy.local", 3128, "http_proxy")),
        (
            {"grpc_proxy": "http://a:b%40@first:1", "https_proxy": PROXY},
            HttpProxy("first", 1, "grpc_proxy", "a:b@"),
        ),
        ({"https_proxy": "http://proxy.local"}, HttpProxy("proxy.local", 80, "https_proxy")),
        ({"HTTPS_PROXY": PROXY}, None),
        ({"https_proxy": "https://proxy.local:3128"}, None),
        ({"https_proxy": "proxy.local:3128"}, None),
        ({"https_proxy": "http://proxy.local:port"}, None),
        ({"https_proxy": PROXY, "no_proxy": "localhost,.googleapis.com"}, None),
        ({"https_proxy": PROXY, "no_proxy": "googleapis.com"}, None),
        ({"https_proxy": PROXY, "no_grpc_proxy": HOST}, None),
        (
            {"https_proxy": PROXY, "no_proxy": "apis.com,*"},
            HttpProxy("proxy.local", 3128, "https_proxy"),
        ),
        (
            {"https_proxy": PROXY, "NO_PROXY": HOST},
            HttpProxy("proxy.local", 3128, "https_proxy"),
        ),
    ],
)
def test_the_proxy_is_that_of_grpc(environment: dict[str, str], expected: HttpProxy | None) -> None:
    assert proxy_for(HOST, environment, plaintext=False) == expected
    assert proxy_for(HOST, environment, plaintext=True) is None


def test_an_address_is_excepted_by_its_network() -> None:
    environment = {"https_proxy": PROXY, "no_proxy": "10.0.0.0/8"}
    assert proxy_for("10.1.2.3", environment, plaintext=False) is None
    assert proxy_for("11.1.2.3", environment, plaintext=False) is not None


@pytest.mark.parametrize(
    ("environment", "result", "part"),
    [
        ({}, CheckResult.OK, "no proxy variable is set"),
        ({"https_proxy": PROXY}, CheckResult.OK, "through proxy.local:3128"),
        ({"HTTPS_PROXY": PROXY}, CheckResult.WARNING, "gRPC ignores HTTPS_PROXY"),
        ({"https_proxy": "proxy:1"}, CheckResult.WARNING, "does not begin with http://"),
        ({"https_proxy": PROXY, "no_proxy": HOST}, CheckResult.OK, "connects directly"),
    ],
)
def test_variables_without_effect_are_warnings(
    environment: dict[str, str], result: CheckResult, part: str
) -> None:
    finding = proxy_finding(HOST, environment, plaintext=False)
    assert finding.result is result
    assert part in finding.detail


def test_the_password_of_a_proxy_is_not_shown() -> None:
    finding = proxy_finding(HOST, {"https_proxy": "http://me:secret@p:1"}, plaintext=False)
    assert "secret" not in finding.detail
