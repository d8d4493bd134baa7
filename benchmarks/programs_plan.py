"""The user programs of the benchmark: what users run, from a model loader to a data loader.

`benchmarks.user_programs` contains the programs. The client without FUSE runs a task that reads the
same bytes, if there is such a task: it is the limit for the mount.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks import user_objects as objects
from benchmarks.tasks import Kind, Task

__all__ = [
    "ALL",
    "CONTENDERS",
    "LIMIT_SECONDS",
    "PROGRAMS",
    "WARM_UP",
    "WARM_UP_TASK",
    "Program",
    "titled",
]

# The limit of a run in seconds. A table shows a slower contender as ">20".
LIMIT_SECONDS = 20.0
# The contenders by latency in milliseconds. Google documents about 1 ms for zonal buckets and tens
# of milliseconds for regional buckets, so zonal buckets are measured at 1 ms only.
CONTENDERS = {
    1: ("client", "mount", "mount, zonal", "gcsfuse", "gcsfuse, zonal"),
    20: ("client", "mount", "mount, 128 KiB", "mount, tuned", "gcsfuse", "rclone"),
    50: ("mount", "gcsfuse"),
}
# In these programs, gcsfuse can be faster without its kernel reader, whose requests are larger.
_BETTER_BY_DEFAULT = ("gcsfuse, defaults",)
_BIG = objects.TENSOR_BYTES * objects.MODEL_TENSORS
_SHARD = objects.TENSOR_BYTES * objects.SHARD_TENSORS
_SMALL = Task(Kind.FILES, (objects.SMALL,), limit_seconds=LIMIT_SECONDS)


@dataclass(frozen=True, slots=True)
class Program:
    """A user program: its name in `benchmarks.user_programs`, and its title in tables and charts.

    `files` is the number of files that the program opens. `client` is the task of the client.
    `also` are contenders that run only this program.
    """

    name: str
    title: str
    files: int = 1
    client: Task | None = None
    also: tuple[str, ...] = ()

    @property
    def task(self) -> Task:
        """The task that runs the program."""
        names = tuple(self.name.split())
        return Task(Kind.PROGRAM, names, count=self.files, limit_seconds=LIMIT_SECONDS * len(names))


def _in_order(size: int, *names: str, threads: int = 1) -> Task:
    return Task(Kind.SEQUENTIAL, names, size, threads=threads, limit_seconds=LIMIT_SECONDS)


PROGRAMS = (
    Program("in-order", "721 MB in order", client=_in_order(_BIG, objects.MODEL)),
    Program("safetensors", "the same by safetensors", client=_in_order(_BIG, objects.MODEL)),
    Program("shards", "model of 8 shards", 8, _in_order(_SHARD, *objects.SHARDS, threads=8)),
    Program("random-rows", "600 random rows, mapped (numpy)"),
    Program("slices", "16 slices across chunks (HDF5)"),
    Program("columns", "2 of 20 columns, mapped (Parquet)"),
    Program(
        "interleaved",
        "8 threads, interleaved 1 MiB",
        client=_in_order(objects.RECORDS_BYTES, objects.RECORDS, threads=8),
    ),
    Program(
        "shuffled-records",
        "8 threads, shuffled 256 KiB",
        client=_in_order(objects.RECORDS_BYTES, objects.RECORDS, threads=8),
    ),
    Program("mapped-backward", "64 MiB mapped, backward"),
    Program("preads-backward", "64 MiB in 64 KiB preads, backward"),
    Program("strides", "64 KiB of every MiB, 600 times"),
    Program("tar", "tar file of 268 MB (tarfile)"),
    Program("files-in-order", "2,000 small files, walk in order", 2_000, _SMALL),
    Program(
        "files-shuffled",
        "2,000 small files, shuffled",
        2_000,
        Task(Kind.FILES, (objects.SMALL,), threads=16, shuffled=True, limit_seconds=LIMIT_SECONDS),
        _BETTER_BY_DEFAULT,
    ),
    Program("single-pages", "200 pages of a mapped 4 GiB file", also=_BETTER_BY_DEFAULT),
    Program("first-bytes", "first 100 bytes of 300 files", 300),
    Program("media-heads", "first 256 KiB of 20 files", 20),
)

# All programs run one after the other on one mount, which then has its largest size.
ALL = Program(
    " ".join(each.name for each in PROGRAMS),
    "all programs on one mount",
    sum(each.files for each in PROGRAMS),
)
# The emulator computes the checksum of a chunk at its first request and keeps it. So the client
# reads all objects before the programs run.
WARM_UP = "all objects of the programs"
WARM_UP_TASK = Task(Kind.FILES, objects.FOLDERS, threads=16)


def titled(name: str) -> str:
    """Return the title of a program, which is the name of its case."""
    return next(each.title for each in PROGRAMS if each.name == name)
