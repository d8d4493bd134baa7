"""Tests of all kinds of credentials with google-auth's own code and a local identity server."""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import google.auth.iam
import google.oauth2.credentials
import pytest
from google.auth.compute_engine import _metadata

from gcsmux_fs.model.errors import CredentialsError
from gcsmux_fs.storage.credentials import CredentialSettings, load_credentials
from gcsmux_fs.storage.credentials_source import BoundedRequest, CredentialsSource
from tests.support.identity_server import MACHINE_EMAIL, identity_server, private_key
from tests.support.tls import certificate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gcsmux_fs.storage.fetched_token import FetchedToken
    from tests.support.identity_server import IdentityServer

pytestmark = pytest.mark.real_time

EMAIL = "reader@test.iam.gserviceaccount.com"
TARGET = "target@test.iam.gserviceaccount.com"
AUDIENCE = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q"
ADC = "GOOGLE_APPLICATION_CREDENTIALS"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[IdentityServer]:
    """A server of tokens; no other source of credentials can be reached."""
    for name in (ADC, "GOOGLE_CLOUD_PROJECT", "GOOGLE_CLOUD_QUOTA_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))
    monkeypatch.setattr(_metadata, "_NO_GCE_CHECK", True)
    with identity_server() as one:
        # google-auth ignores these addresses in the file of a user and of an impersonation.
        monkeypatch.setattr(
            google.oauth2.credentials, "_GOOGLE_OAUTH2_TOKEN_ENDPOINT", f"{one.url}/token"
        )
        monkeypatch.setattr(
            google.auth.iam,
            "_IAM_ENDPOINT",
            f"{one.url}/v1/projects/-/serviceAccounts/{{}}:generateAccessToken",
        )
        yield one


def service_account(server: IdentityServer) -> dict[str, Any]:
    return {
        "type": "service_account",
        "project_id": "test",
        "private_key_id": "0123456789abcdef",
        "private_key": private_key(),
        "client_email": EMAIL,
        "token_uri": f"{server.url}/token",
    }


def user(server: IdentityServer) -> dict[str, Any]:
    return {
        "type": "authorized_user",
        "account": "me@example.com",
        "client_id": "id",
        "client_secret": "secret",
        "refresh_token": "refresh",
        "token_uri": f"{server.url}/token",
        "quota_project_id": "my-quota",
    }


def workload(server: IdentityServer, source: dict[str, Any], **others: str) -> dict[str, Any]:
    return {
        "type": "external_account",
        "audience": AUDIENCE,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": f"{server.url}/sts",
        "credential_source": source,
        **others,
    }


def impersonation_url(server: IdentityServer) -> str:
    return f"{server.url}/v1/projects/-/serviceAccounts/{TARGET}:generateAccessToken"


def kinds(server: IdentityServer, folder: Path) -> dict[str, tuple[dict[str, Any], str]]:
    """Return all types of credential files, each with the identity that is logged for it."""
    (folder / "subject").write_text("subject-token")
    program = folder / "program"
    answer = {
        "version": 1,
        "success": True,
        "token_type": "urn:ietf:params:oauth:token-type:jwt",
        "id_token": "subject-token",
        "expiration_time": 9999999999,
    }
    program.write_text(f"#!{sys.executable}\nprint({json.dumps(json.dumps(answer))})\n")
    program.chmod(0o700)
    aws = {
        "environment_id": "aws1",
        "region_url": f"{server.url}/region",
        "url": f"{server.url}/credentials",
        "regional_cred_verification_url": "https://sts.{region}.amazonaws.com?Action="
        "GetCallerIdentity&Version=2011-06-15",
    }
    by_workload = f"the workload identity of {AUDIENCE}"
    return {
        "service account": (service_account(server), f"service account {EMAIL}"),
        "user": (user(server), "user me@example.com"),
        "workload, file": (workload(server, {"file": str(folder / "subject")}), by_workload),
        "workload, URL": (workload(server, {"url": f"{server.url}/subject"}), by_workload),
        "workload, executable": (
            workload(server, {"executable": {"command": str(program)}}),
            by_workload,
        ),
        "workload, AWS": (
            workload(server, aws, subject_token_type="urn:ietf:params:aws:token-type:aws4_request"),
            by_workload,
        ),
        "workload, impersonating": (
            workload(
                server,
                {"file": str(folder / "subject")},
                service_account_impersonation_url=impersonation_url(server),
            ),
            f"service account {TARGET}, impersonated by a workload identity",
        ),
        "workforce": (
            {
                "type": "external_account_authorized_user",
                "audience": "//iam.googleapis.com/locations/global/workforcePools/p/providers/q",
                "client_id": "id",
                "client_secret": "secret",
                "refresh_token": "refresh",
                "token_url": f"{server.url}/sts",
                "token_info_url": f"{server.url}/info",
            },
            "the workforce identity of a user",
        ),
        "impersonating": (
            {
                "type": "impersonated_service_account",
                "service_account_impersonation_url": impersonation_url(server),
                "source_credentials": user(server),
                "delegates": [],
            },
            f"service account {TARGET}, impersonated",
        ),
        "distributed cloud": (
            {
                "type": "gdch_service_account",
                "format_version": "1",
                "project": "test",
                "private_key_id": "1",
                "private_key": private_key(elliptic=True),
                "name": "reader",
                "token_uri": f"{server.url}/token",
            },
            "service identity reader of the project test",
        ),
    }


KINDS = (
    "service account",
    "user",
    "workload, file",
    "workload, URL",
    "workload, executable",
    "workload, AWS",
    "workload, impersonating",
    "workforce",
    "impersonating",
    "distributed cloud",
)


def source_of(settings: CredentialSettings, **options: Any) -> CredentialsSource:
    load = partial(load_credentials, settings, "storage.googleapis.com")
    return CredentialsSource(load, BoundedRequest(), **options)


def token_in(fetched: FetchedToken) -> str:
    return dict(fetched.headers)["authorization"].removeprefix("Bearer ")


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES", "1")


# -- kinds of credentials


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize(
    ("kind", "named_by"),
    [
        *((kind, "key file") for kind in KINDS),
        *((kind, place) for kind in ("user", "workload, file") for place in ("variable", "login")),
    ],
)
def test_each_kind_of_credential_file_brings_tokens(
    server: IdentityServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    named_by: str,
) -> None:
    content, identity = kinds(server, tmp_path)[kind]
    path = tmp_path / "key.json"
    settings = CredentialSettings()
    if named_by == "key file":
        settings = CredentialSettings(key_file=path)
    elif named_by == "variable":
        monkeypatch.setenv(ADC, str(path))
    else:
        path = tmp_path / "gcloud" / "application_default_credentials.json"
        path.parent.mkdir()
    path.write_text(json.dumps(content))
    source = source_of(settings)
    assert source.identity == f"{identity} from {path}"
    first = source.fetch()
    assert 3590 < first.lifetime_seconds <= 3600
    second = source.fetch()
    assert token_in(first) != token_in(second)
    assert token_in(second) == f"token-{server.issued}"


def use_metadata_server(server: IdentityServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Do what GCE_METADATA_HOST does in a new process; google-auth reads it at the import."""
    monkeypatch.setattr(_metadata, "_NO_GCE_CHECK", False)
    monkeypatch.setattr(_metadata, "_GCE_METADATA_HOST", server.address)
    monkeypatch.setenv("GCE_METADATA_IP", server.address)


def test_the_metadata_server_brings_tokens(
    server: IdentityServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_metadata_server(server, monkeypatch)
    source = source_of(CredentialSettings())
    assert token_in(source.fetch()) == "token-1"
    assert source.identity == f"service account {MACHINE_EMAIL} from the metadata server"


def test_a_machine_without_a_service_account_is_named(
    server: IdentityServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_metadata_server(server, monkeypatch)
    source = source_of(CredentialSettings())
    server.refusals = [(404, "not found")] * 9
    with pytest.raises(CredentialsError, match="attach a service account to this") as caught:
        source.fetch()
    assert caught.value.permanent


@pytest.mark.parametrize("base", ["key file", "token file"])
def test_an_account_is_impersonated_through_its_delegates(
    server: IdentityServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, base: str
) -> None:
    monkeypatch.setenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_IAMCREDENTIALS", f"{server.url}/")
    path = tmp_path / "file"
    chain = ("delegate@a", TARGET)
    if base == "key file":
        path.write_text(json.dumps(service_account(server)))
        settings = CredentialSettings(key_file=path, impersonate=chain)
        by = f"service account {EMAIL} from {path}"
    else:
        path.write_text("own-token")
        settings = CredentialSettings(token_file=path, impersonate=chain)
        by = f"the access token in {path}"
    source = source_of(settings, target=TARGET)
    assert token_in(source.fetch()) == f"token-{server.issued}"
    assert source.identity == f"service account {TARGET}, impersonated by {by}"
    _, asked, body = server.asked[-1]
    assert asked == f"/v1/projects/-/serviceAccounts/{TARGET}:generateAccessToken"
    assert json.loads(body)["delegates"] == ["delegate@a"]


def test_a_billing_project_replaces_the_quota_project_of_the_credentials(
    server: IdentityServer, tmp_path: Path
) -> None:
    """With both headers, the service would get two projects."""
    path = tmp_path / "key.json"
    path.write_text(json.dumps(user(server)))
    settings = CredentialSettings(key_file=path)
    headers = dict(source_of(settings).fetch().headers)
    assert headers["x-goog-user-project"] == "my-quota"
    assert set(dict(source_of(settings, with_project=False).fetch().headers)) == {"authorization"}


# -- files that change


def replaced(path: Path, text: str) -> None:
    """Replace a file as tools do that rotate secrets: by a rename."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.rename(path)


def test_a_rotated_key_is_used_for_the_next_token(server: IdentityServer, tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    path.write_text(json.dumps(service_account(server)))
    source = source_of(CredentialSettings(key_file=path))
    source.fetch()
    assert not source.changed()
    replaced(path, json.dumps(user(server)))
    assert source.changed()
    source.fetch()
    assert not source.changed()
    assert source.identity == f"user me@example.com from {path}"
    assert "refresh_token=refresh" in server.asked[-1][2]


@pytest.mark.expects_log("the old credentials stay in use")
def test_a_broken_new_key_leaves_the_old_key_in_use(server: IdentityServer, tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    path.write_text(json.dumps(service_account(server)))
    source = source_of(CredentialSettings(key_file=path))
    replaced(path, "half of a fi")
    assert token_in(source.fetch()) == "token-1"
    replaced(path, json.dumps(user(server)))
    assert token_in(source.fetch()) == "token-2"
    assert source.identity.startswith("user")


@pytest.mark.parametrize("replace", [replaced, lambda path, text: path.write_text(text)])
def test_a_rotated_token_file_is_read_again(tmp_path: Path, replace: Any) -> None:
    path = tmp_path / "token"
    path.write_text("first\n")
    source = source_of(CredentialSettings(token_file=path))
    assert token_in(source.fetch()) == "first"
    replace(path, json.dumps({"access_token": "second", "expires_in": 60}))
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 1))
    assert source.changed()
    fetched = source.fetch()
    assert token_in(fetched) == "second"
    assert 50 < fetched.lifetime_seconds <= 60


# -- failures


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("no key", "it is not JSON"),
        ("[]", "it does not hold credentials"),
        ("{}", "it has no field `type`"),
        ('{"type": "else"}', "its type 'else' is unknown (known types: authorized_user, service"),
        ('{"installed": {}}', "it holds an OAuth client and no login"),
        ('{"type": "authorized_user", "client_id": "a", "client_secret": "b"}', "`refresh_token`"),
        (
            '{"type": "service_account", "client_email": "a", "token_uri": "b"}',
            "it has no field `private_key`, which the type 'service_account' requires",
        ),
        (
            '{"type": "service_account", "client_email": "a", "token_uri": "b", "private_key":"c"}',
            "its fields are malformed",
        ),
        (
            json.dumps(
                {"type": "external_account", "credential_source": {"else": 1}}
                | dict.fromkeys(("audience", "subject_token_type", "token_url"), "a")
            ),
            "its fields are malformed",
        ),
        (None, "it does not exist"),
    ],
)
def test_the_error_for_a_bad_file_names_the_file_and_the_reason(
    server: IdentityServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: str | None,
    reason: str,
) -> None:
    path = tmp_path / "key.json"
    if content is not None:
        path.write_text(content)
    starts = {
        f"cannot use the key file {path}: ": CredentialSettings(key_file=path),
        f"cannot use {path}, which {ADC} names: ": CredentialSettings(),
    }
    monkeypatch.setenv(ADC, str(path))
    for start, settings in starts.items():
        with pytest.raises(CredentialsError) as caught:
            source_of(settings)
        assert caught.value.permanent
        assert str(caught.value).startswith(start)
        assert reason in str(caught.value)
    assert server.asked == []


@pytest.mark.expects_log("Authentication failed using Compute Engine")
def test_the_error_without_credentials_says_how_to_get_some(server: IdentityServer) -> None:
    with pytest.raises(CredentialsError, match="no credentials were found") as caught:
        source_of(CredentialSettings())
    assert caught.value.permanent
    assert "gcloud auth application-default login" in str(caught.value)


SKEW = (
    "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe."
    " Check your iat and exp values in the JWT claim."
)


def oauth(error: str, description: str) -> tuple[int, object]:
    return 400, {"error": error, "error_description": description}


def iam(code: int, message: str) -> tuple[int, object]:
    return code, {"error": {"code": code, "message": message, "status": "S"}}


@pytest.mark.parametrize(
    ("kind", "refusal", "reason", "permanent"),
    [
        ("service account", oauth("invalid_grant", SKEW), "the clock of this machine is wrong", 1),
        (
            "service account",
            oauth("invalid_grant", "Invalid JWT Signature."),
            "the key was deleted or disabled: create a new key",
            1,
        ),
        (
            "service account",
            oauth("invalid_grant", "Invalid grant: account not found"),
            "the service account does not exist",
            1,
        ),
        ("service account", (400, {"odd": "ya29.secret"}), "the answer has no error code", 1),
        ("service account", (200, {"id_token": "ya29.secret"}), "No access token in response", 1),
        ("service account", (503, "busy"), "the token server fails", 0),
        (
            "user",
            oauth("invalid_grant", "Token has been expired or revoked."),
            "the login has ended: run `gcloud auth application-default login` again",
            1,
        ),
        ("user", oauth("invalid_grant", "reauth related error (invalid_rapt)"), "a new login", 1),
        (
            "workload, file",
            oauth("unauthorized_client", "rejected by the attribute condition."),
            "the condition of the workload identity provider",
            1,
        ),
        ("workload, file", oauth("invalid_target", "The target is invalid."), "the audience", 1),
        (
            "impersonating",
            iam(403, "Permission 'iam.serviceAccounts.getAccessToken' denied on resource"),
            f"grant the caller the role roles/iam.serviceAccountTokenCreator on {TARGET}",
            1,
        ),
        ("impersonating", iam(404, f"Not found; {TARGET}"), f"check the e-mail {TARGET}", 1),
        ("impersonating", iam(503, "The service is unavailable"), "is unavailable", 0),
    ],
)
def test_a_refused_token_is_explained(
    server: IdentityServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    refusal: tuple[int, object],
    reason: str,
    permanent: int,
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    path = tmp_path / "key.json"
    content, _ = kinds(server, tmp_path)[kind]
    path.write_text(json.dumps(content))
    target = TARGET if kind == "impersonating" else ""
    source = source_of(CredentialSettings(key_file=path), target=target)
    if kind == "impersonating":
        # The first request fetches the token of the user.
        source.fetch()
    server.refusals = [refusal] * 9
    with pytest.raises(CredentialsError) as caught:
        source.fetch()
    sentence = str(caught.value)
    assert reason in sentence
    assert caught.value.permanent == bool(permanent)
    assert "\n" not in sentence
    assert "secret" not in sentence
    server.refusals = []
    source.fetch()


@pytest.mark.usefixtures("aws")
def test_the_output_of_a_failed_executable_is_not_shown(
    server: IdentityServer, tmp_path: Path
) -> None:
    content = workload(server, {"executable": {"command": "sh -c 'echo secret; exit 3'"}})
    path = tmp_path / "key.json"
    path.write_text(json.dumps(content))
    with pytest.raises(CredentialsError, match="failed with exit code 3") as caught:
        source_of(CredentialSettings(key_file=path)).fetch()
    assert "secret" not in str(caught.value)


def test_an_unreachable_token_server_is_transient(server: IdentityServer, tmp_path: Path) -> None:
    for url, reason in (
        ("http://127.0.0.1:1/token", "cannot be reached for service account .*: connection refus"),
        ("http://no-such-host.invalid/token", "its name cannot be resolved"),
    ):
        path = tmp_path / "key.json"
        path.write_text(json.dumps(service_account(server) | {"token_uri": url}))
        with pytest.raises(CredentialsError, match=reason) as caught:
            source_of(CredentialSettings(key_file=path)).fetch()
        assert not caught.value.permanent


def test_a_ca_file_makes_a_private_token_server_trusted(
    server: IdentityServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate(tmp_path, name="other").path))
    own = certificate(tmp_path)
    with identity_server(own) as private:
        path = tmp_path / "key.json"
        address = {"token_uri": f"https://{private.address}/token"}
        path.write_text(json.dumps(service_account(server) | address))
        load = partial(load_credentials, CredentialSettings(key_file=path), "host")
        with pytest.raises(CredentialsError, match=r"not trusted.*--ca-file") as caught:
            CredentialsSource(load, BoundedRequest()).fetch()
        assert caught.value.permanent
        assert token_in(CredentialsSource(load, BoundedRequest(own.path)).fetch()) == "token-1"


def test_a_token_file_that_does_not_exist_yet_is_transient(tmp_path: Path) -> None:
    for path, permanent in ((tmp_path / "token", False), (tmp_path, True)):
        with pytest.raises(CredentialsError, match=f"the token file {path} cannot be") as caught:
            source_of(CredentialSettings(token_file=path)).fetch()
        assert caught.value.permanent == permanent


def test_an_expired_token_names_the_clock(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(json.dumps({"token": "secret", "expiry": "2020-01-02T03:04:05Z"}))
    with pytest.raises(CredentialsError, match=r"has expired .* check the clock") as caught:
        source_of(CredentialSettings(token_file=path)).fetch()
    assert "secret" not in str(caught.value)
