"""Hypothesis without its deadline: a busy machine is no failure. A profile chosen before stays."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
if settings.get_current_profile_name() == "default":
    settings.load_profile("untimed")
