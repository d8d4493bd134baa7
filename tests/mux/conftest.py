"""Disable the deadline of hypothesis, because a busy machine must not fail a test.

A profile that was loaded before is kept.
"""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
if settings.get_current_profile_name() == "default":
    settings.load_profile("untimed")
