"""Hypothesis without its deadline, which a busy machine would miss."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
