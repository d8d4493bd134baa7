"""Rules that say which faults happen when, and the code that causes these faults in calls."""

from __future__ import annotations

from gcsmux_fs.emulator.injection.rules import FOR_EVER, Faults, Rule

__all__ = ["FOR_EVER", "Faults", "Rule"]
