"""Tests of the removal of what other versions of the format have left."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from gcsmux_fs.caching.cache_directory import open_cache_directory
from gcsmux_fs.caching.old_versions import remove_old_versions

if TYPE_CHECKING:
    from pathlib import Path

DAY_SECONDS = 86400


def test_only_unused_versions_are_removed_in_short_steps(tmp_path: Path) -> None:
    open_cache_directory(str(tmp_path)).close()
    (tmp_path / "thesis").mkdir()
    (tmp_path / "gcsmux-cache-vault").mkdir()
    now = time.time()
    for version, age in ((0, 2 * DAY_SECONDS), (2, 2 * DAY_SECONDS), (3, 60)):
        root = tmp_path / f"gcsmux-cache-v{version}"
        for folder in ("chunks/00", "chunks/01", "ledgers"):
            (root / folder).mkdir(parents=True)
            for number in range(150):
                (root / folder / str(number)).write_text("x")
                os.utime(root / folder / str(number), (now - age, now - age))
        (root / "link").symlink_to(tmp_path / "thesis")
        for folder in ("ledgers", "."):
            os.utime(root / folder, (now - 2 * DAY_SECONDS, now - 2 * DAY_SECONDS))
    steps = list(remove_old_versions(str(tmp_path), now))
    assert len(steps) >= 2 * 3 * 150 / 100
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "gcsmux-cache-v1",
        "gcsmux-cache-v3",
        "gcsmux-cache-vault",
        "thesis",
    ]


def test_a_directory_that_has_gone_is_no_error(tmp_path: Path) -> None:
    assert list(remove_old_versions(str(tmp_path / "absent"), 0)) == []
