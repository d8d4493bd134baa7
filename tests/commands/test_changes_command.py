"""Tests of `gcsmux changes` against an emulator of Cloud Storage and Pub/Sub."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.commands import gcsmux
from gcsmux_fs.settings.json_address import JSON_EMULATOR_VARIABLE
from gcsmux_fs.settings.service_address import EMULATOR_VARIABLE
from tests.support.emulator_process import BUCKET, EmulatorProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

SUBSCRIPTION = "projects/my-project/subscriptions/mine"
OPTIONS = ("--project=my-project", "--subscription=mine", BUCKET)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    with EmulatorProcess(tmp_path_factory.mktemp("buckets"), json_api=True) as process:
        process.place("object", b"content")
        yield process


@pytest.fixture
def emulator(server: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> EmulatorProcess:
    """The emulator; commands connect to it."""
    monkeypatch.setenv(EMULATOR_VARIABLE, server.endpoint)
    monkeypatch.setenv(JSON_EMULATOR_VARIABLE, server.json_endpoint)
    return server


def findings(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    capsys.readouterr()
    gcsmux.run(["doctor", "--json", f"--changes={SUBSCRIPTION}", BUCKET])
    rows = json.loads(capsys.readouterr().out)
    return {
        row["check"]: f"{row['result']}: {row['detail']}"
        for row in rows
        if row["check"] in ("subscription", "notifications", "lag")
    }


def test_setup_creates_what_delivers_changes_and_teardown_takes_it_back(
    emulator: EmulatorProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gcsmux.run(["changes", "setup", *OPTIONS]) == 0
    plan = capsys.readouterr().out
    assert plan.count("\n        gcloud ") == 4
    assert "Nothing was changed" in plan
    assert findings(capsys)["subscription"].startswith("failure")

    assert gcsmux.run(["changes", "setup", *OPTIONS, "--apply"]) == 0
    applied = capsys.readouterr().out
    assert applied.count("\ncreated ") == 4
    assert f"gcsmux-mount --changes={SUBSCRIPTION} gs://{BUCKET} MOUNTPOINT" in applied
    assert f"gcsmux doctor --changes={SUBSCRIPTION} gs://{BUCKET}\n" in applied
    assert gcsmux.run(["changes", "setup", *OPTIONS, "--apply"]) == 0
    assert "create" not in capsys.readouterr().out

    emulator.write("new", b"1")
    assert emulator.subscription(SUBSCRIPTION).waiting == 1
    found = findings(capsys)
    assert [text.partition(":")[0] for text in found.values()] == ["ok"] * 3
    # The doctor gives the message back.
    assert emulator.subscription(SUBSCRIPTION).waiting == 1

    assert gcsmux.run(["changes", "teardown", *OPTIONS]) == 0
    assert "Nothing was changed" in capsys.readouterr().out
    assert gcsmux.run(["changes", "teardown", *OPTIONS, "--apply"]) == 0
    assert capsys.readouterr().out.count("\ndeleted ") == 3
    assert gcsmux.run(["changes", "teardown", *OPTIONS]) == 0
    assert capsys.readouterr().out == "There is nothing to delete.\n"


def test_a_wrong_part_is_named_and_nothing_is_created(
    emulator: EmulatorProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    other = ("--project=my-project", "--topic=other", "--subscription=mine", BUCKET)
    assert gcsmux.run(["changes", "setup", *other, "--apply"]) == 0
    capsys.readouterr()
    assert gcsmux.run(["changes", "setup", *OPTIONS, "--apply"]) == 1
    output = capsys.readouterr()
    assert "wrong   subscription " in output.out
    assert "it belongs to projects/my-project/topics/other" in output.out
    assert "created" not in output.out
    assert output.err.startswith("gcsmux: nothing was changed, because the subscription ")
    assert gcsmux.run(["changes", "teardown", *other, "--apply"]) == 0


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["setup", "--project=p"], "BUCKET is missing"),
        (["setup", BUCKET], "the project is missing: name the project"),
        (["setup", "--project=p/q", BUCKET], "'p/q' is not a project"),
        (["setup", "--project=p", "--topic=x", BUCKET], "'x' is not an ID of Pub/Sub"),
        (["setup", "--changes=mine", BUCKET], "'mine' is not a subscription"),
        (
            ["setup", f"--changes={SUBSCRIPTION}", "--subscription=s", BUCKET],
            "--changes and --subscription name two subscriptions",
        ),
        (["setup", "--project=p", "--account=me", BUCKET], "'me' is not the e-mail address"),
        (["teardown", "--project=p", "gs://"], "the bucket name is empty"),
        (["clean"], "unknown command clean"),
    ],
)
def test_bad_input_gets_one_sentence(
    emulator: EmulatorProcess,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    reason: str,
) -> None:
    for name in ("GOOGLE_CLOUD_PROJECT", "CLOUDSDK_CORE_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    assert gcsmux.run(["changes", *arguments]) == 2
    error = capsys.readouterr().err
    assert reason in error
    assert error.count("\n") == 1


def test_the_http_address_of_an_emulator_must_be_named(
    emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(JSON_EMULATOR_VARIABLE)
    assert gcsmux.run(["changes", "setup", *OPTIONS]) == 2
    assert "STORAGE_EMULATOR_HOST is not set: set it to the HTTP" in capsys.readouterr().err
