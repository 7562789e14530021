"""What the worker makes of a send that failed, and what it keeps of it."""

from __future__ import annotations

import pytest

from app.errors import DestinationError, DestinationUnavailable, TemplateFailed
from app.worker.running import outcome_of


@pytest.mark.parametrize("reason", ["template-undefined", "template-invalid"])
def test_template_that_fails_is_for_a_person_and_says_nothing_of_the_destination(
    reason: str,
) -> None:
    outcome = outcome_of(TemplateFailed("the template …", destination="search", reason=reason))
    assert (outcome.reason, outcome.transient, outcome.health) == (reason, False, None)


def test_exchange_is_kept_with_the_attempt() -> None:
    exchange = {"method": "PUT", "url": "https://x.example/…", "bytes": 2, "milliseconds": 5}
    error: DestinationError = DestinationUnavailable(
        "no answer", destination="a", exchange=exchange
    )
    assert outcome_of(error).detail == exchange
