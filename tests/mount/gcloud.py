"""A replacement for the command `gcloud` in the examples of docs/SEMANTICS.md.

It writes and deletes objects in the emulator.

python -m tests.mount.gcloud PORT storage cp SOURCE gs://BUCKET/NAME [--content-type=TYPE]
    [--custom-metadata=KEY=VALUE]
python -m tests.mount.gcloud PORT storage rm gs://BUCKET/NAME
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.support.emulator_process import BUCKET, EmulatorProcess


def main() -> None:
    """Write or delete one object, as the command line says."""
    parser = argparse.ArgumentParser(prog="gcloud")
    parser.add_argument("port", type=int)
    parser.add_argument("storage", choices=["storage"])
    parser.add_argument("command", choices=["cp", "rm"])
    parser.add_argument("source", nargs="?", default="")
    parser.add_argument("target")
    parser.add_argument("--content-type", default="")
    parser.add_argument("--custom-metadata", default="")
    arguments = parser.parse_args()
    source: str = arguments.source
    target: str = arguments.target
    key, _, value = str(arguments.custom_metadata).partition("=")
    emulator = EmulatorProcess(Path(), port=arguments.port)
    name = target.removeprefix(f"gs://{BUCKET}/")
    if arguments.command == "rm":
        emulator.delete(name)
        return
    emulator.write(
        name,
        sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes(),
        content_type=arguments.content_type,
        metadata={key: value} if key else None,
    )


if __name__ == "__main__":
    main()
