"""Programs whose READs are recorded: each reads files of a folder through a common library.

The recorder runs this module with a Python that has numpy, h5py, pyarrow, safetensors, duckdb, lmdb
and imageio-ffmpeg: `python -m tests.support.traced_programs prepare NAME FOLDER` writes the files,
and `run NAME FOLDER` reads them.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support import array_programs, library_programs
from tests.support.program_registry import PROGRAMS

# The import of these modules adds their programs to `PROGRAMS`.
__all__ = ["PROGRAMS", "array_programs", "library_programs"]


def main() -> None:
    step, name, folder = sys.argv[1:]
    prepare, run = PROGRAMS[name]
    (prepare if step == "prepare" else run)(Path(folder))


if __name__ == "__main__":
    main()
