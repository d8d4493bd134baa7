from __future__ import annotations

from random import Random

import pytest

from gcsmux_fs.changes.pull_actions import PullPolicy
from gcsmux_fs.changes.pull_endings import Ending, PullEndings
from gcsmux_fs.model.errors import StatusCode

from .driven_pull import end

POLICY = PullPolicy()


def test_a_retry_with_a_renewed_token_has_no_delay() -> None:
    endings = PullEndings(POLICY, Random(0))
    ending = endings.decide(end(StatusCode.UNAUTHENTICATED, token_refused=True), 0.0)
    assert ending == Ending(0.0, "the token was refused", "token_refused")


@pytest.mark.parametrize("seed", range(3))
def test_the_delay_after_a_refusal_has_jitter(seed: int) -> None:
    ending = PullEndings(POLICY, Random(seed)).decide(end(StatusCode.NOT_FOUND), 0.0)
    assert ending.delay == POLICY.refused * Random(seed).uniform(0.9, 1.1)
    assert ending.refused


def test_a_first_failure_has_no_delay_and_is_no_refusal() -> None:
    ending = PullEndings(POLICY, Random(0)).decide(end(StatusCode.OK), 0.0)
    assert ending == Ending(0.0, "OK", "ok")
