"""One target under atheris: `python -m tests.fuzz.one TARGET [OPTIONS OF LIBFUZZER]`."""

from __future__ import annotations

import sys

import atheris


def main() -> None:
    """Run until something fails or the options end it."""
    with atheris.instrument_imports(include=["gcsmux_fs"]):
        from .targets import TARGETS

    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
