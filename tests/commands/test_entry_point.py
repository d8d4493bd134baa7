"""Tests of the entry points: the command that each runs, an early Ctrl+C, and relative paths."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from gcsmux_fs import cli
from gcsmux_fs.commands.mount import make_paths_absolute

if TYPE_CHECKING:
    import pytest

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


def test_every_function_of_cli_is_the_script_of_a_command() -> None:
    scripts = tomllib.loads(PYPROJECT.read_text())["project"]["scripts"]
    for function in cli.__all__:
        name = function.removesuffix("_command")
        script = "gcsmux" if name == "gcsmux" else f"gcsmux-{name}"
        assert scripts[script] == f"gcsmux_fs.cli:{function}"
        assert callable(importlib.import_module(f"gcsmux_fs.commands.{name}").run)


def test_an_interrupt_while_the_command_loads_is_reported_in_one_sentence() -> None:
    code = """
import signal, sys

class Interrupting:
    def find_spec(self, name, path, target=None):
        if name == "click":
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
from gcsmux_fs.cli import mount_command
mount_command()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=20
    )
    assert (done.returncode, done.stdout, done.stderr) == (
        130,
        "",
        "gcsmux-mount: interrupted, nothing is mounted.\n",
    )


def test_a_reader_that_has_gone_causes_no_traceback() -> None:
    # rich ends the program in a trio task, so the exception arrives in a group.
    code = """
import sys, types

def run(arguments):
    raise BaseExceptionGroup("tasks", [SystemExit(1)])

sys.modules["gcsmux_fs.commands.mount"] = types.SimpleNamespace(run=run)
from gcsmux_fs.cli import mount_command
mount_command()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=20
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")


def test_paths_in_the_environment_become_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    environment = {
        "GOOGLE_APPLICATION_CREDENTIALS": "keys/key.json",
        "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": "/etc/roots.pem",
        "CLOUDSDK_CONFIG": "",
        "HOME": "relative",
    }
    make_paths_absolute(environment)
    assert environment == {
        "GOOGLE_APPLICATION_CREDENTIALS": f"{tmp_path}/keys/key.json",
        "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": "/etc/roots.pem",
        "CLOUDSDK_CONFIG": "",
        "HOME": "relative",
    }
