"""Pull request: one is proposed, reviewed or merged at whoever has the source. Nobody takes that back.

look -> ACT -> read

The host knows no keys against repetition, so `Pulls` looks before it acts: said twice, it is done once. That is what lets an
answer that was lost, or a death, be mended by saying it again.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

from codeb.errors import Conflict, PublicError, Unavailable
from codeb.model.names import Place
from codeb.model.pulls import Method, Proposal, Pull, PullState, Review
from codeb.saga.step import Run, Saga, Step

SAYS_NO = frozenset(
    {"pull_closed", "pull_moved", "not_mergeable", "github_refused", "github_denied", "github_limited", "repository_moved"}
)
"""codes of faults after which it is known that nothing was done"""
PAUSES = (0.5, 1.0, 2.0, 4.0, None)
"""seconds after each try that brought no answer"""
TRY_SECONDS = 25.0
"""for one try, which may be several requests"""


@dataclass(frozen=True)
class PullInput:
    """What is to be done: `proposal` or `review`, else the merge of `number` at `head`."""

    project: str
    repository: str
    number: int = 0
    head: str = ""
    method: Method = Method.MERGE
    proposal: Proposal | None = None
    review: Review | None = None

    @property
    def words(self) -> str:
        """Numbers only: what a branch is called is not ours."""
        if self.proposal is not None:
            return f"propose a pull request in {self.repository}"
        return f"{'review' if self.review else 'merge'} pull request {self.number} of {self.repository}"


def lock_of(project: str, number: int) -> Place:
    """What a change of a pull request holds; 0: one that is to be made. No environment has this name."""
    return Place(project, f"pull-{number or 'new'}")


def may_be(pull: Pull, head: str) -> None:
    """Raises `Conflict`: `pull_closed`, `pull_moved`. What was seen is what it is done to."""
    if pull.state is not PullState.OPEN:
        raise Conflict(f"Pull request {pull.number} is {pull.state}; nothing was done.", code="pull_closed", hint="See pr_list.")
    if pull.head != head:
        raise Conflict(
            f"Pull request {pull.number} is at another commit than {head[:12]}; nothing was done.", code="pull_moved",
            hint="Look at what is new (pr_list), then say the commit it is at.", details={"sha": pull.head},
        )  # fmt: skip


def mergeable(pull: Pull) -> None:
    """Raises `Conflict` (`not_mergeable`) for what its host is known not to merge."""
    if pull.draft or pull.mergeable is False:
        why = "it is a draft" if pull.draft else "it conflicts with its base"
        raise Conflict(
            f"Pull request {pull.number} cannot be merged: {why}. Nothing was merged.", code="not_mergeable",
            hint="Mark it as ready." if pull.draft else "Bring its branch up to date.",
        )  # fmt: skip


async def _look(run: Run[PullInput]) -> dict[str, Any]:
    """Whether it may be done; and which one is there already. Raises as `may_be` and `mergeable` do."""
    value = run.input
    if value.proposal is not None:
        there = await _proposed(run)
        return {"there": there.number if there else 0}
    pull = await run.kit.pulls.get(value.repository, value.number)
    if value.review is None and _merged(pull, value.head):
        return {"there": pull.number}
    may_be(pull, value.head)
    if value.review is None:
        mergeable(pull)
    return {}


def _merged(pull: Pull, head: str) -> bool:
    return pull.state is PullState.MERGED and pull.head == head


async def _proposed(run: Run[PullInput]) -> Pull | None:
    proposal = run.input.proposal
    assert proposal is not None
    found = await run.kit.pulls.find(run.input.repository, state="open", branch=proposal.branch, limit=100)
    return next((each for each in found if each.base == proposal.base), None)


async def _act(run: Run[PullInput]) -> dict[str, Any]:
    """Safe to repeat. An answer that does not come is asked for again; in the end it is said that it is not known."""
    for pause in PAUSES:
        try:
            async with asyncio.timeout(TRY_SECONDS):
                return await _once(run)
        except (Unavailable, TimeoutError) as fault:
            sure = isinstance(fault, Unavailable) and fault.code in SAYS_NO
            if sure or pause is None:
                raise fault if sure else _in_doubt(fault) from fault
            await run.kit.world.sleep(pause)
    raise AssertionError("the last try has ended")


async def _once(run: Run[PullInput]) -> dict[str, Any]:
    value, pulls = run.input, run.kit.pulls
    if value.proposal is not None:
        return {"number": (await pulls.propose(value.repository, value.proposal)).number}
    if value.review is not None:
        return {"url": await pulls.review(value.repository, value.review)}
    return {"mergedAs": await pulls.merge(value.repository, value.number, value.head, value.method)}


def _in_doubt(fault: Exception) -> Unavailable:
    why = fault.message if isinstance(fault, PublicError) else "GitHub did not answer in time."
    return Unavailable(why, code="github_unavailable", hint="Look with pr_list, or call again: nothing is done twice.")


async def _landed(run: Run[PullInput]) -> bool:
    """Of a review nobody can ask by its number, so it is given once more, which gives it once."""
    value, pulls = run.input, run.kit.pulls
    if value.proposal is not None:
        return await _proposed(run) is not None
    if value.review is not None:
        await pulls.review(value.repository, value.review)
        return True
    return _merged(await pulls.get(value.repository, value.number), value.head)


async def _read(run: Run[PullInput]) -> dict[str, Any]:
    """How it stands now: only numbers and names of commits, for this is kept."""
    value = run.input
    pull = await _proposed(run) if value.proposal else await run.kit.pulls.get(value.repository, value.number)
    if pull is None:
        return {}
    return {
        "pullRequest": pull.number, "url": pull.url, "state": pull.state.value, "sha": pull.head,
        "mergedAs": pull.merged_as or None,
    }  # fmt: skip


def _result(run: Run[PullInput]) -> dict[str, Any]:
    """Without `read`, which may fail, as much as is known."""
    acted, there = run.outputs.get("act") or {}, (run.outputs.get("look") or {}).get("there")
    blank = {
        "pullRequest": run.input.number or acted.get("number"), "url": acted.get("url"), "state": PullState.UNKNOWN.value,
        "sha": run.input.head or None, "mergedAs": acted.get("mergedAs"),
    }  # fmt: skip
    return {**blank, **(run.outputs.get("read") or {}), "repository": run.input.repository, "wasThere": bool(there)}


SAGA: Saga[PullInput] = Saga(
    name="pull_change",
    version=1,
    input=PullInput,
    steps=(
        Step("look", "the pull request is open, and at the commit that was seen", do=_look),
        Step("act", "say it to GitHub", do=_act, commits=True, landed=_landed),
        Step("read", "how it stands now", do=_read),
    ),
    deadline=lambda policy: policy.switch_seconds,
    result=_result,
    summary=lambda value: value.words,
)
