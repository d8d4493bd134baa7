"""Runs `killed_writer` in forked children, because a new interpreter takes 300 times as long.

Run: `python -m tests.caching.crashes.forked_writers SIZE_BYTES`. Each line of the input is
`ROOT KILL_AT`; the exit code of the child is printed in return.
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

from .killed_writer import main


def serve(size_bytes: int) -> None:
    """Fork a child for each line."""
    for line in sys.stdin:
        root, kill_at = line.split()
        child = os.fork()
        if not child:
            code = 1
            try:
                sys.stdout = sys.stderr
                main(Path(root), size_bytes, int(kill_at))
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
