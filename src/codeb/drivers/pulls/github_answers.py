"""GitHub's answers: what they say, and what is to be made of those that say no.

Their texts are evidence, and decide nothing where a number says the same.
"""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from codeb.errors import Conflict, Unavailable
from codeb.model.pulls import Pull, PullState, commit, legible

URL = re.compile(r"https?://[A-Za-z0-9.:-]{1,260}/[A-Za-z0-9._~/#?=&%-]{0,700}")
MOST_TEXT = 65_536
"""of a pull request, as GitHub has it"""
LEAST_WAIT, MOST_WAIT = 60.0, 3600.0
"""seconds to stay away where GitHub does not say how long"""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def value(self) -> Any:
        """Raises `Unavailable` for what is no JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as fault:
            raise unreadable("its answer", fault) from fault

    def object(self) -> dict[str, Any]:
        said = self.value()
        if not isinstance(said, dict):
            raise unreadable("its answer", TypeError("no object"))
        return said

    @property
    def message(self) -> str:
        """What it says went wrong, with the errors of its fields."""
        try:
            said = json.loads(self.body)
            parts = [said.get("message"), *(_worded(each) for each in said.get("errors") or ())]
        except (ValueError, RecursionError, AttributeError, TypeError):
            return ""
        return legible("; ".join(str(part) for part in parts if part), 500)


def _worded(said: Any) -> str:
    if isinstance(said, str):
        return said
    words = [said.get("message"), said.get("field"), said.get("code")] if isinstance(said, dict) else []
    return next((str(each) for each in words[:1] if each), " ".join(str(each) for each in words if each))


def wait_of(answer: Answer) -> float | None:
    """For how many seconds GitHub wants to be left alone; None: it does not.

    A limit comes as 403 or 429: with Retry-After, or with nothing left and the moment of the next hour, or, a secondary
    one, with its words alone.
    """
    if answer.status not in (403, 429):
        return None
    after, left = answer.headers.get("retry-after", ""), answer.headers.get("x-ratelimit-remaining", "")
    reset = answer.headers.get("x-ratelimit-reset", "")
    if after.isascii() and after.isdecimal():
        return min(max(float(after[:9]), 1.0), MOST_WAIT)
    if left == "0" and reset.isascii() and reset.isdecimal():
        return min(max(float(reset[:12]) - time.time(), 1.0), MOST_WAIT)
    if answer.status == 429 or left == "0" or "rate limit" in answer.message.lower():
        return LEAST_WAIT
    return None


def pull_of(said: Any, repository: str) -> Pull:
    """Raises `Unavailable` for what is no pull request."""
    try:
        return _read(said, repository)
    except (KeyError, TypeError, ValueError, AttributeError) as fault:
        raise unreadable("a pull request", fault) from fault


def _read(said: Mapping[str, Any], repository: str) -> Pull:
    head, base = said["head"], said["base"]
    merged = _moment(said.get("merged_at"))
    state = PullState.MERGED if merged else PullState(said["state"])
    # of a fork that is gone nothing is said
    home = str((head.get("repo") or {}).get("full_name") or "")
    able = said.get("mergeable")
    return Pull(
        number=int(said["number"]), title=str(said.get("title") or "")[:1024], text=str(said.get("body") or "")[:MOST_TEXT],
        author=str((said.get("user") or {}).get("login") or "ghost")[:100], branch=str(head["ref"])[:255],
        head=commit(str(head["sha"])), base=str(base["ref"])[:255], state=state, url=address(said),
        draft=said.get("draft") is True, fork=home.lower() != repository.lower(),
        mergeable=able if isinstance(able, bool) else None, why_not=str(said.get("mergeable_state") or "")[:40],
        created_at=_moment(said.get("created_at")), updated_at=_moment(said.get("updated_at")), merged_at=merged,
        merged_as=commit(str(said["merge_commit_sha"])) if merged and said.get("merge_commit_sha") else "",
    )  # fmt: skip


def address(said: Mapping[str, Any]) -> str:
    """Where people read it; nothing where that is no plain address."""
    text = str(said.get("html_url") or "")
    return text if URL.fullmatch(text) else ""


def _moment(said: Any) -> datetime | None:
    return datetime.fromisoformat(said) if isinstance(said, str) else None


# what says no


def refused(answer: Answer, still: str, code: str = "github_refused") -> Conflict:
    return Conflict(
        f"GitHub refused this ({answer.status}); {still}.", code=code, hint="See details for GitHub's own words.",
        details={"github": answer.message},
    )  # fmt: skip


def denied(answer: Answer) -> Unavailable:
    bad = answer.status == 401
    return Unavailable(
        f"GitHub does not {'take our token' if bad else 'let our token do this'} ({answer.status}); nothing was done.",
        code="github_denied",
        hint="CODEB_GITHUB_TOKEN is wrong, over or revoked." if bad
        else "The token of CODEB_GITHUB_TOKEN needs to read and write contents and pull requests of the repository.",
        details={"github": answer.message},
    )  # fmt: skip


def limited(seconds: float) -> Unavailable:
    return Unavailable(
        f"GitHub does not want to be asked for another {seconds:.0f} s; nothing was done.", code="github_limited",
        hint="Try again then.", details={"retryAfterSeconds": round(seconds)},
    )  # fmt: skip


def moved() -> Conflict:
    return Conflict(
        "The repository has another name at GitHub by now; nothing was done.", code="repository_moved",
        hint="Say the new one with project_update.",
    )  # fmt: skip


def unreadable(what: str, fault: Exception) -> Unavailable:
    return Unavailable(
        f"GitHub gives no usable answer: {what} cannot be read ({type(fault).__name__}).", code="github_unavailable",
        hint="Look whether CODEB_GITHUB_URL is that of GitHub's REST API.",
    )  # fmt: skip
