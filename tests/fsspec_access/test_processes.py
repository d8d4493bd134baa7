"""Processes: forks, new processes, the end of the interpreter, Ctrl+C. Each runs a real program."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.emulator_process import END_SECONDS
from tests.support.sizes import MIB

if TYPE_CHECKING:
    from tests.support.emulator_process import EmulatorProcess

CONTENT = bytes(range(256)) * (4 * MIB // 256)

# The functions are at the top level of the module, because a spawned process imports them.
PRELUDE = """
import multiprocessing, os, sys, threading
import fsspec

CONTENT = bytes(range(256)) * (4 * 1024 * 1024 // 256)
PATH = sys.argv[1] + "/file"

def read(arguments):
    fs, file, offset = arguments
    fs_content = fs.cat_file(PATH, offset, offset + 5000)
    file.seek(offset)
    assert fs_content == file.read(5000) == CONTENT[offset:offset + 5000]
    assert fs.ls(sys.argv[1], detail=False) == [PATH]
    return os.getpid()

if __name__ == "__main__":
    fs = fsspec.filesystem("gcsmux")
"""


def run(emulator: EmulatorProcess, program: str) -> subprocess.CompletedProcess[str]:
    """Run a Python program, with all warnings as errors, and return what it wrote."""
    code = PRELUDE + textwrap.indent(textwrap.dedent(program), "    ")
    script = emulator.folder / ".program.py"
    script.write_text(code)
    return subprocess.run(
        [
            *(sys.executable, "-X", "dev", "-W", "error"),
            # Python 3.12 warns about every fork of a process with threads, such as that of fsspec.
            *("-W", "ignore:This process:DeprecationWarning"),
            *(script, emulator.bucket_name),
        ],
        env=os.environ | {"STORAGE_EMULATOR_HOST_GRPC": emulator.endpoint},
        capture_output=True,
        text=True,
        timeout=END_SECONDS,
        check=False,
    )


# In Python's development mode, asyncio reports each step of a task that takes longer than 0.1 s. On
# a busy machine, any step may.
SLOW_STEP = re.compile(r"^Executing <.* took [\d.]+ seconds\n", flags=re.MULTILINE)


def assert_clean(done: subprocess.CompletedProcess[str], output: str) -> None:
    stderr = SLOW_STEP.sub("", done.stderr)
    assert (done.returncode, done.stdout, stderr) == (0, output, "")


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_worker_processes_read_what_their_parent_has_opened(
    emulator: EmulatorProcess, method: str
) -> None:
    emulator.place("file", CONTENT)
    done = run(
        emulator,
        f"""
        file = fs.open(PATH)
        assert file.read(10) == CONTENT[:10]
        if {method!r} == "fork":
            # The children inherit the objects, as the workers of a DataLoader do.
            children = []
            for number in range(3):
                child = os.fork()
                if not child:
                    read((fs, file, number * 1000))
                    os._exit(0)
                children.append(child)
            assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
        context = multiprocessing.get_context({method!r})
        with context.Pool(2) as pool:
            workers = set(pool.map(read, [(fs, file, number * 999) for number in range(20)]))
            pool.close()
            pool.join()
        assert os.getpid() not in workers
        assert file.read(10) == CONTENT[10:20]
        print("done")
        """,
    )
    assert_clean(done, "done\n")


def test_a_fork_does_not_disturb_the_reads_of_other_threads(emulator: EmulatorProcess) -> None:
    emulator.place("file", CONTENT)
    done = run(
        emulator,
        """
        ends = threading.Event()
        counts = []
        def read_always():
            count = 0
            with fs.open(PATH) as file:
                while not ends.is_set():
                    read((fs, file, count % 1000))
                    count += 1
            counts.append(count)
        threads = [threading.Thread(target=read_always) for _ in range(4)]
        for thread in threads:
            thread.start()
        for number in range(5):
            child = os.fork()
            if not child:
                os._exit(0 if fs.cat_file(PATH) == CONTENT else 1)
            assert os.waitpid(child, 0)[1] == 0
        ends.set()
        for thread in threads:
            thread.join()
        assert len(counts) == 4 and all(counts)
        print("done")
        """,
    )
    assert_clean(done, "done\n")


@pytest.mark.parametrize(
    "end",
    [
        "",
        "sys.exit(0)",
        "del fs, file",
        "threading.Thread(target=fs.cat_file, args=(PATH,)).start()",
    ],
)
def test_the_interpreter_ends_without_a_hang_or_a_warning(
    emulator: EmulatorProcess, end: str
) -> None:
    emulator.place("file", CONTENT)
    begun = time.monotonic()
    done = run(
        emulator,
        f"""
        file = fs.open(PATH)
        assert file.read() == CONTENT
        print("done", flush=True)
        {end}
        """,
    )
    assert_clean(done, "done\n")
    assert time.monotonic() - begun < END_SECONDS


def test_an_engine_ends_with_its_last_file_system(emulator: EmulatorProcess) -> None:
    emulator.place("file", CONTENT)
    done = run(
        emulator,
        """
        import gc, time
        def names():
            return {thread.name for thread in threading.enumerate()}
        file = fs.open(PATH)
        other = fsspec.filesystem("gcsmux", skip_instance_cache=True)
        del fs
        type(other).clear_instance_cache()
        other.invalidate_cache()
        assert "gcsmux" in names()
        file.close()
        del file, other
        gc.collect()
        end = time.monotonic() + 20
        while "gcsmux" in names() and time.monotonic() < end:
            time.sleep(0.01)
        print(names() & {"gcsmux", "asyncio"})
        """,
    )
    assert_clean(done, "set()\n")


def test_ctrl_c_ends_a_read_that_waits(emulator: EmulatorProcess) -> None:
    emulator.place("file", CONTENT)
    script = emulator.folder / ".program.py"
    script.write_text(
        PRELUDE
        + """
    file = fs.open(PATH)
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        file.pread(10, 3_000_000)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    sys.stdin.readline()
    assert file.pread(10, 3_000_000) == CONTENT[3_000_000:3_000_010]
    print("done", flush=True)
"""
    )
    with subprocess.Popen(
        [sys.executable, script, emulator.bucket_name],
        env=os.environ | {"STORAGE_EMULATOR_HOST_GRPC": emulator.endpoint},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        try:
            assert program.stdout.readline() == "ready\n"
            with emulator.stopped():
                program.stdin.write("\n")
                program.stdin.flush()
                time.sleep(0.3)
                program.send_signal(signal.SIGINT)
                assert program.stdout.readline() == "interrupted\n"
            program.stdin.write("\n")
            program.stdin.flush()
            assert program.stdout.readline() == "done\n"
            assert program.wait(END_SECONDS) == 0
        finally:
            program.kill()


def test_the_import_loads_neither_grpc_nor_trio() -> None:
    code = """
import sys
import gcsmux_fs.fsspec_access.file_system
print([name for name in ("grpc", "trio", "uvloop", "google.auth") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
