"""Fuzz one target with atheris: `python -m tests.fuzz.one TARGET [LIBFUZZER OPTIONS]`."""

from __future__ import annotations

import sys

import atheris


def main() -> None:
    """Fuzz until an input fails, or until a limit in the options of libFuzzer is reached."""
    with atheris.instrument_imports(include=["gcsmux_fs"]):
        from .targets import TARGETS

    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
