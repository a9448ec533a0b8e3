"""Pull requests by GitHub's REST API.

What is there is looked at before it is made, so that a repetition makes nothing twice: GitHub itself has no keys for that. Reads
are tried again, what changes something is sent once. No redirect is followed: the token would go along.
"""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from codeb.drivers.pulls.github_answers import Answer, address, pull_of, refused, unreadable
from codeb.drivers.pulls.github_client import Client
from codeb.errors import Conflict, NotFound, PublicError
from codeb.model.pulls import Method, Proposal, Pull, PullState, Review, Source, Verdict
from codeb.model.secret import Secret
from codeb.model.specs import Finding

PAGE, PAGES = 100, 10
"""of a list, at most: what is further back is not looked at"""
STATE_SECONDS = 300.0
"""for which it is not asked again how a pull request stands"""
MOST_STATES = 4096
EVENTS = {Verdict.APPROVE: "APPROVE", Verdict.REQUEST_CHANGES: "REQUEST_CHANGES", Verdict.COMMENT: "COMMENT"}
SAID = {Verdict.APPROVE: "APPROVED", Verdict.REQUEST_CHANGES: "CHANGES_REQUESTED", Verdict.COMMENT: "COMMENTED"}


class GithubPulls:
    """See `contracts.pulls.Pulls`. `permit` is asked before what changes something."""

    def __init__(
        self, url: str, token: Secret, permit: Callable[[], None] = lambda: None, *,
        sleep: Callable[[float], Awaitable[None]] | None = None, clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._client = Client(url, token, permit, sleep=sleep, clock=clock)
        self._clock = clock
        self._states: dict[tuple[str, int], tuple[float, PullState]] = {}

    async def close(self) -> None:
        await self._client.close()

    async def check(self) -> Finding:
        """The line about GitHub in a health report. Asking for the limit costs nothing of it. Nothing that runs needs GitHub, so
        that it is away is no failure of ours."""
        try:
            answer = await self._client.ask("GET", "/rate_limit", known=(404,))
        except PublicError as fault:
            return Finding("github", "fail" if fault.code == "github_denied" else "warn", fault.message, fault.hint)
        left = answer.headers.get("x-ratelimit-remaining", "")
        more = f"; {left[:9]} more calls are left this hour" if left.isascii() and left.isdecimal() else ""
        return Finding("github", "pass", f"GitHub takes our token{more}.")

    # looking

    async def state(self, repository: str, number: int) -> PullState:
        known, now = self._states.get((repository, number)), self._clock()
        if known is not None and now - known[0] < STATE_SECONDS:
            return known[1]
        found = PullState.UNKNOWN
        try:
            with suppress(PublicError):
                found = (await self.get(repository, number)).state
        finally:
            # also when whoever asks has no more time: a host that is slow is not to be asked the more often for it
            if len(self._states) >= MOST_STATES:
                self._states.clear()
            self._states[repository, number] = (now, found)
        return found

    async def about(self, repository: str) -> Source:
        answer = await self._ask("GET", repository, "")
        try:
            branch = str(answer.object()["default_branch"])
            tip = await self._ask("GET", repository, f"/branches/{quote(branch, safe='')}")
            return Source(repository, branch, str(tip.object()["commit"]["sha"]))
        except (KeyError, TypeError, ValueError) as fault:
            raise unreadable(f"what it says of {repository}", fault) from fault

    async def find(self, repository: str, *, state: str, branch: str | None = None, limit: int) -> Sequence[Pull]:
        params = {"state": state, "sort": "updated", "direction": "desc"}
        if branch is not None:
            params["head"] = f"{repository.partition('/')[0]}:{branch}"
        found = [pull_of(each, repository) for each in await self._pages(repository, "/pulls", params, limit)]
        # a filter that GitHub does not understand it passes over
        return [each for each in found if branch is None or (each.branch == branch and not each.fork)]

    async def get(self, repository: str, number: int) -> Pull:
        answer = await self._ask("GET", repository, f"/pulls/{number}", known=(404,))
        if answer.status == 404:
            raise NotFound(
                f"{repository} has no pull request {number}, or none for our token to see.", code="pull_not_found",
                hint="See pr_list.",
            )  # fmt: skip
        return pull_of(answer.value(), repository)

    # changing

    async def propose(self, repository: str, proposal: Proposal) -> Pull:
        if (there := await self._proposed(repository, proposal)) is not None:
            return there
        body = {
            "title": proposal.title, "head": proposal.branch, "base": proposal.base, "body": proposal.text,
            "draft": proposal.draft,
        }  # fmt: skip
        answer = await self._ask("POST", repository, "/pulls", body=body, known=(422,))
        if answer.status == 422:
            # somebody else may have been quicker
            if (there := await self._proposed(repository, proposal)) is not None:
                return there
            raise refused(answer, "no pull request was made")
        return pull_of(answer.value(), repository)

    async def _proposed(self, repository: str, proposal: Proposal) -> Pull | None:
        found = await self.find(repository, state="open", branch=proposal.branch, limit=PAGE)
        return next((each for each in found if each.base == proposal.base), None)

    async def review(self, repository: str, review: Review) -> str:
        path = f"/pulls/{review.number}/reviews"
        for each in await self._pages(repository, path, {}, PAGE * PAGES):
            if (found := _same(each, review)) is not None:
                return found
        _stands(await self.get(repository, review.number), review.head)
        body = {"commit_id": review.head, "event": EVENTS[review.verdict], "body": review.text}
        answer = await self._ask("POST", repository, path, body=body, known=(422,))
        if answer.status == 422:
            raise refused(answer, "no review was given")
        return address(answer.object())

    async def merge(self, repository: str, number: int, head: str, method: Method) -> str:
        pull = await self.get(repository, number)
        if pull.state is PullState.MERGED and pull.head == head:
            return pull.merged_as
        _stands(pull, head)
        body = {"sha": head, "merge_method": method.value}
        answer = await self._ask("PUT", repository, f"/pulls/{number}/merge", body=body, known=(405, 409, 422))
        if answer.status == 409:
            raise _moved(number)
        if answer.status in (405, 422):
            raise refused(answer, "nothing was merged", "not_mergeable")
        self._states.pop((repository, number), None)
        return str(answer.object().get("sha") or "")

    # the API

    async def _ask(
        self, method: str, repository: str, path: str, *, params: Mapping[str, str] | None = None, body: Any = None,
        known: tuple[int, ...] = (),
    ) -> Answer:  # fmt: skip
        answer = await self._client.ask(
            method, f"/repos/{repository}{path}", params=params, body=body, known=(*known, 404)
        )  # fmt: skip
        if answer.status == 404 and 404 not in known:
            raise NotFound(
                f"There is no repository {repository}, or what was asked of it is not for our token to see.",
                code="repository_not_found",
                hint="Look at the project's repository, and whether the token of CODEB_GITHUB_TOKEN reaches it.",
            )
        return answer

    async def _pages(self, repository: str, path: str, params: Mapping[str, str], limit: int) -> list[Any]:
        """The first entries of a list, at most so many."""
        found = list[Any]()
        for page in range(1, PAGES + 1):
            where = {**params, "per_page": str(min(PAGE, limit)), "page": str(page)}
            answer = await self._ask("GET", repository, path, params=where)
            said = answer.value()
            if not isinstance(said, list):
                raise unreadable("its list", TypeError("no list"))
            found += said
            if not said or len(found) >= limit or 'rel="next"' not in answer.headers.get("link", ""):
                break
        return found[:limit]


def _same(said: Any, review: Review) -> str | None:
    """Where it is to be read, when it is this review."""
    if not isinstance(said, dict):
        return None
    there = (said.get("commit_id"), said.get("state"), str(said.get("body") or "").strip())
    wanted = (review.head, SAID[review.verdict], review.text.strip())
    return address(said) if there == wanted else None


def _stands(pull: Pull, head: str) -> None:
    if pull.state is not PullState.OPEN:
        raise Conflict(
            f"Pull request {pull.number} is {pull.state}; nothing was done.", code="pull_closed", hint="See pr_list."
        )  # fmt: skip
    if pull.head != head:
        raise _moved(pull.number, pull.head)


def _moved(number: int, at: str = "") -> Conflict:
    return Conflict(
        f"Pull request {number} is at another commit than the one that was seen; nothing was done.", code="pull_moved",
        hint="Look at it again (pr_list), then say the commit it is at.", details={"head": at} if at else {},
    )  # fmt: skip
