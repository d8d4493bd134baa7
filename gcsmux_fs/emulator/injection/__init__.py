"""Rules that order faults, and the code that makes these faults happen to calls."""

from __future__ import annotations

from gcsmux_fs.emulator.injection.rules import FOR_EVER, Faults, Rule

__all__ = ["FOR_EVER", "Faults", "Rule"]
