"""Tests that options override the environment, which overrides the file and the defaults."""

from __future__ import annotations

from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.settings.config_file import FileValue
from gcsmux_fs.settings.setting import DEFAULT, Origin
from gcsmux_fs.settings.setting_sources import attributed, merge_sources
from gcsmux_fs.settings.setting_table import HEADINGS, SETTINGS
from gcsmux_fs.settings.settings import Settings
from tests.support.sizes import GIB, MIB

IN_FILE = FileValue(2 * GIB, "/etc/data.toml, line 3")


def test_each_source_is_stronger_than_the_ones_before() -> None:
    def memory(
        options: dict[str, object], environment: dict[str, str], file: dict[str, FileValue]
    ) -> tuple[object, Origin]:
        effective = merge_sources(options, environment, file)["memory_bytes"]
        return effective.value, effective.origin

    option: dict[str, object] = {"memory_bytes": 1}
    variable, file = {"GCSMUX_MEMORY": "1GiB"}, {"memory": IN_FILE}
    assert memory({}, {}, {}) == (256 * MIB, DEFAULT)
    assert memory({}, {}, file) == (2 * GIB, Origin("file", IN_FILE.place))
    assert memory({}, variable, file) == (GIB, Origin("environment", "GCSMUX_MEMORY"))
    assert memory(option, variable, file) == (1, Origin("option", "--memory"))
    assert memory({"memory_bytes": None}, {"GCSMUX_MEMORY": ""}, file)[0] == 2 * GIB


def test_a_flag_of_a_weaker_source_can_be_turned_off() -> None:
    file = {"posix": FileValue(value=True, place="x, line 1")}
    assert merge_sources({}, {}, file)["posix"].value is True
    assert merge_sources({}, {"GCSMUX_POSIX": "no"}, file)["posix"].value is False
    assert merge_sources({"posix": False}, {"GCSMUX_POSIX": "1"}, file)["posix"].value is False


def test_a_setting_displaces_the_ones_that_it_excludes_in_weaker_sources_only() -> None:
    file = {
        "log_file": FileValue(Path("/log"), "x, line 1"),
        "key_file": FileValue(Path("/key"), "x, line 2"),
    }
    merged = merge_sources({"log_to": "stderr"}, {"GCSMUX_ANONYMOUS": "true"}, file)
    assert (merged["log_to"].value, merged["log_file"].value) == ("stderr", None)
    assert (merged["anonymous"].value, merged["key_file"].value) == (True, None)
    assert merged["key_file"].origin == DEFAULT
    assert merged["key_file"].reason == "GCSMUX_ANONYMOUS overrides key_file of x, line 2"
    # A flag that is turned off excludes nothing, and in one source both stay, which is an error.
    merged = merge_sources({"anonymous": False}, {"GCSMUX_LOG_TO": "stderr"}, file)
    assert merged["key_file"].value == Path("/key")
    merged = merge_sources({"anonymous": True, "key_file": Path("/other")}, {}, file)
    assert (merged["anonymous"].value, merged["key_file"].value) == (True, Path("/other"))


def test_settings_exclude_each_other_in_both_directions() -> None:
    excluded = {setting.field: setting.displaces for setting in SETTINGS}
    for field, others in excluded.items():
        assert all(field in excluded[other] for other in others), field


def test_a_derived_default_follows_the_value_that_it_depends_on() -> None:
    merged = merge_sources({}, {"GCSMUX_MEMORY": "128MiB"}, {})
    assert merged["read_ahead_bytes"].value == 32 * MIB
    assert merged["read_ahead_bytes"].origin == DEFAULT


@pytest.mark.parametrize(
    ("variable", "text", "sentence"),
    [
        ("GCSMUX_MEMORY", "12x", "GCSMUX_MEMORY: '12x' is not a size"),
        ("GCSMUX_POSIX", "maybe", "GCSMUX_POSIX: 'maybe' is not true or false"),
        ("GCSMUX_MEMROY", "1GiB", "variable GCSMUX_MEMROY: did you mean GCSMUX_MEMORY?"),
    ],
)
def test_a_wrong_environment_variable_is_refused(variable: str, text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        merge_sources({}, {variable: text}, {})
    assert sentence in str(caught.value)


def test_variables_that_other_programs_set_are_ignored() -> None:
    """Kubernetes sets these variables in every container if a service has the name gcsmux."""
    names = ("PORT", "SERVICE_HOST", "SERVICE_PORT", "PORT_9000_TCP_ADDR", "PORT_9000_TCP")
    merge_sources({}, {f"GCSMUX_{name}": "tcp://10.0.0.1:9000" for name in names}, {})


def test_a_message_names_an_option_as_the_user_set_it() -> None:
    merged = merge_sources({"uid": 7}, {"GCSMUX_READ_AHEAD": "1GiB"}, {"memory": IN_FILE})
    message = "--read-ahead 1GiB is larger than --memory 16MiB: --uid, --gid, --read-timeout."
    assert attributed(message, merged) == (
        "/etc/data.toml, line 3: GCSMUX_READ_AHEAD 1GiB is larger than memory 16MiB:"
        " --uid, --gid, --read-timeout."
    )


def test_every_row_of_the_table_has_a_field_with_the_same_default() -> None:
    """`Settings(...)` in a program and a command without options must give the same mount."""
    merged = merge_sources({}, {}, {})
    by_name = {field.name: field for field in fields(Settings)}
    assert len({setting.name for setting in SETTINGS}) == len(SETTINGS)
    assert {setting.heading for setting in SETTINGS} == set(HEADINGS)
    mount = Settings(bucket="bucket", mountpoint=Path("/mnt"))
    computed = {"only_dir", "fuse_options", "endpoint", "pubsub_endpoint"}
    for setting in SETTINGS:
        if setting.field in computed or by_name[setting.field].default is MISSING:
            continue
        assert merged[setting.field].value == getattr(mount, setting.field), setting.name
    rows = {setting.field for setting in SETTINGS} | {"prefix", "written_source", "effective"}
    assert set(by_name) <= rows


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_a_default_is_shown_as_users_write_it_and_has_a_reason(setting: object) -> None:
    assert isinstance(setting, type(SETTINGS[0]))
    if setting.default not in (None, ""):
        assert setting.type.parse(setting.type.show(setting.default)) == setting.default
    if not setting.is_argument and setting.default_words not in (
        "none",
        "the whole bucket",
        "the owner of the bucket pays",
    ):
        assert setting.reason
