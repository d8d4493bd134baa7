"""Tests that no file contains a phrase that reviewers did not understand at first reading.

The reviewers read docstrings, comments, messages and documents. CONTRIBUTING.md contains the rules
for these texts.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# The unclear phrases, as regular expressions, and what to write instead of each.
UNCLEAR = {
    r"(is|are|was|were) to be (had|got)": "is available",
    r"(?<!to )be had\b": "be available",
    r"\btells? of\b": "reports",
    r"\bwho(so)?ever\b": "name the reader, the caller or the program",
    r"\b(of|as) ours\b": "name the thing",
    r"\bis believed\b": "is valid",
    r"\bsomebody\b|\banybody\b|\beverybody\b": "name the reader, the caller or the program",
    r"\bhad better\b": "should",
    r"\bin earnest\b": "say what the condition is",
    r"\bin vain\b": "without effect",
    r"\bstands? in for\b": "replaces",
    r"\bno longer believe": "invalidate",
    r"\bbe it\b": "write two sentences",
    r"\bany more\b": "no longer",
    r"\bfor good\b": "permanently",
    r"\btime and again\b": "repeatedly",
    r"\bthe (latter|former)\b": "repeat the noun",
    r"\b(comes|came) to (this|that|what|be)\b": "state the result",
    r"\bas (it|they|one) likes?\b": "state the limit",
    r"\btells? (its?|them|that|whether|how|which)\b": "reports, shows or contains",
    r"\bmended\b": "fixed",
    r"\bso much (the|earlier|later)\b": "state the difference",
    r"\bstarts? anew\b|\bbegins? anew\b": "starts again",
    r"\bthereby\b|\bhence\b|\bwherefore\b": "so",
}
# The files that are not checked: the history, generated text, and the licence, which others wrote.
EXEMPT = ("CHANGELOG.md", "LICENSE", "docs/soak/", "docs/machines/", "benchmarks/results/")
SUFFIXES = {".py", ".md", ".toml", ".service", ".env", ".proto", ".sh", ""}


def texts() -> list[Path]:
    names = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\n")
    return [
        ROOT / name
        for name in names
        if name
        and not name.startswith(EXEMPT)
        and Path(name).suffix in SUFFIXES
        and "_pb2" not in name
        and ROOT / name != Path(__file__)
        and (ROOT / name).is_file()
    ]


@pytest.mark.parametrize("phrase", UNCLEAR)
def test_no_unclear_phrase(phrase: str) -> None:
    pattern = re.compile(phrase, re.IGNORECASE)
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in texts()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if pattern.search(line)
    ]
    assert not found, f"write instead: {UNCLEAR[phrase]}\n" + "\n".join(found)
