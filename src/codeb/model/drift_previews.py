"""Previews that outlived their pull request."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from codeb.model.drift import Mismatch, Remedy
from codeb.model.events import Severity
from codeb.model.names import Place
from codeb.model.previews import Preview, number_of
from codeb.model.pulls import PullState

KIND = "preview_left"
QUIET = timedelta(minutes=15)
"""after its last deploy, while nothing is removed: how a pull request stands may be some minutes old, and one is opened again"""


def is_quiet(preview: Preview, now: datetime) -> bool:
    """Whether its last deploy is long enough ago. A clock that went backwards only makes it wait."""
    return now - (preview.expires_at - timedelta(hours=preview.ttl_hours)) >= QUIET


def why(place: Place, state: PullState) -> str:
    return f"its pull request is {state}"


def of_previews(states: Mapping[Place, PullState]) -> list[Mismatch]:
    """Those whose pull request is known to be over. What could not be found out is none."""
    return [
        Mismatch(
            KIND, place.key, f"Pull request {number_of(place.environment)} of {place.project} is {state} and has a preview",
            "it is removed", Remedy.MENDED, place, severity=Severity.INFO, subject=state.value,
        )
        for place, state in sorted(states.items()) if state.gone
    ]  # fmt: skip
