"""Pull requests as callers see them: what strangers wrote is marked, legible and not endless."""

from datetime import datetime

from codeb.model.pulls import Pull, legible
from codeb.tools import fields

MOST_TITLE, MOST_NAME, MOST_TEXT = 256, 200, 4000


class PullView(fields.Result):
    pull_request: int
    title: fields.Untrusted
    text: fields.Untrusted | None = None
    """only of one that was asked for by its number"""
    author: fields.Untrusted
    branch: fields.Untrusted
    fork: bool
    sha: str
    base: fields.Untrusted
    state: str
    draft: bool
    mergeable: bool | None
    """None: GitHub has not found out yet, or says so of one alone"""
    mergeable_state: str
    url: str
    created_at: str | None
    updated_at: str | None
    merged_at: str | None
    merged_as: str | None


def view(pull: Pull, *, whole: bool = False) -> PullView:
    return PullView(
        pull_request=pull.number, title=legible(pull.title, MOST_TITLE),
        text=legible(pull.text, MOST_TEXT, lines=True) if whole else None, author=legible(pull.author, MOST_NAME),
        branch=legible(pull.branch, MOST_NAME), fork=pull.fork, sha=pull.head, base=legible(pull.base, MOST_NAME),
        state=pull.state.value, draft=pull.draft, mergeable=pull.mergeable, mergeable_state=legible(pull.why_not, 40),
        url=pull.url, created_at=_iso(pull.created_at), updated_at=_iso(pull.updated_at), merged_at=_iso(pull.merged_at),
        merged_as=pull.merged_as or None,
    )  # fmt: skip


def _iso(at: datetime | None) -> str | None:
    return at.isoformat() if at else None
