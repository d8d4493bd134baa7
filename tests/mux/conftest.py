"""Disables the time limit of hypothesis examples, because a busy machine must not fail a test.

If another profile of hypothesis was loaded before, that profile stays.
"""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
if settings.get_current_profile_name() == "default":
    settings.load_profile("untimed")
