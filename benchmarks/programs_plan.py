"""The user programs of the benchmark: what users run, from a model loader to a data loader.

Each case runs one program of `benchmarks.user_programs`. The client without FUSE runs a task that
reads the same bytes, if there is such a task: it is the limit for the mount.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.tasks import Kind, Task

__all__ = ["CONTENDERS", "LATENCIES_MS", "LIMIT_SECONDS", "PROGRAMS", "Program"]

LATENCIES_MS = (1, 20, 50)
CONTENDERS = ("mount", "mount, 128 KiB", "gcsfuse", "gcsfuse, zonal")
# The limit of a run. A table shows a slower contender as ">60".
LIMIT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Program:
    """A user program: its name in `benchmarks.user_programs`, and its title in tables and charts.

    `files` is the number of files that the program opens.
    """

    name: str
    title: str
    files: int = 1

    @property
    def task(self) -> Task:
        """The task that runs the program."""
        return Task(Kind.PROGRAM, (self.name,), count=self.files, limit_seconds=LIMIT_SECONDS)


PROGRAMS = (
    Program("in-order", "721 MB in order"),
    Program("safetensors", "the same by safetensors (mmap)"),
    Program("shards", "8 shards of 67 MB by safetensors", 8),
    Program("random-rows", "600 random rows of a mapped matrix (numpy)"),
    Program("slices", "16 slices across chunks (HDF5)"),
    Program("columns", "2 of 20 columns, mapped (Parquet)"),
    Program("interleaved", "8 threads, interleaved blocks of 1 MiB"),
    Program("shuffled-records", "8 threads, shuffled records of 256 KiB"),
    Program("mapped-backward", "64 MiB mapped, backward"),
    Program("preads-backward", "64 MiB in preads of 64 KiB, backward"),
    Program("strides", "64 KiB of every MiB, 600 times"),
    Program("tar", "tar file of 268 MB (tarfile)"),
    Program("files-in-order", "2,000 small files, walk in order", 2_000),
    Program("files-shuffled", "2,000 small files, shuffled, 16 threads", 2_000),
    Program("single-pages", "200 single pages of a mapped 4 GiB file"),
    Program("first-bytes", "first 100 bytes of 300 files of 1 MB", 300),
    Program("media-heads", "first 256 KiB of 20 files of 20 MB", 20),
)
