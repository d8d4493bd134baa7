"""Tests of the settings that choose credentials, and of the rules between them."""

from __future__ import annotations

from pathlib import Path

import pytest

from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.settings.credential_options import (
    check_credential_options,
    parse_accounts,
    parse_command,
)


def test_a_command_is_split_without_a_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/usr")
    assert parse_command("gcloud auth 'print access' $HOME") == (
        "gcloud",
        "auth",
        "print access",
        "$HOME",
    )
    assert parse_command("./token a/b") == ("/usr/token", "a/b")
    assert parse_command(" ") == ()
    with pytest.raises(ConfigError, match="close each quote"):
        parse_command("a 'b")


def test_a_chain_of_accounts_keeps_its_order() -> None:
    assert parse_accounts("a@b, c@d") == ("a@b", "c@d")
    assert parse_accounts("") == ()
    for text in ("a", "a@b,", "a@b c@d", "a@b/c"):
        with pytest.raises(ConfigError, match="is not the e-mail address"):
            parse_accounts(text)


FILE = Path("/file")


@pytest.mark.parametrize(
    ("values", "anonymous", "error"),
    [
        ({"key_file": FILE}, False, ""),
        ({"token_file": FILE, "impersonate_service_account": ("a@b",)}, False, ""),
        ({"key_file": FILE, "token_file": FILE}, False, "--key-file and --token-file exclude"),
        ({"token_file": FILE, "token_command": ("a",)}, False, "--token-file and --token-command"),
        ({"billing_project": "p"}, False, ""),
        ({"billing_project": "p"}, True, "--billing-project needs credentials"),
        ({"direct_path": "try"}, False, ""),
        ({"direct_path": "try"}, True, "--direct-path needs TLS and credentials"),
        ({"direct_path": "require", "ca_file": FILE}, False, "--direct-path and --ca-file exclude"),
    ],
)
def test_contradictions_are_one_sentence(
    values: dict[str, object], anonymous: bool, error: str
) -> None:
    def check() -> None:
        settings = {"direct_path": "off"} | values
        check_credential_options(settings.get, plaintext=False, anonymous=anonymous)

    if not error:
        check()
        return
    with pytest.raises(ConfigError) as caught:
        check()
    assert str(caught.value).startswith(error)
    assert str(caught.value).endswith(".")
