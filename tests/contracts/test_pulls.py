"""`Pulls`, on GitHub's API (the stand-in of `tests.github`) and in memory."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from codeb.contracts.pulls import Pulls
from codeb.drivers.pulls.github import GithubPulls
from codeb.drivers.pulls.memory import MemoryPulls, commit
from codeb.errors import Conflict, NotFound
from codeb.model.pulls import Method, Proposal, PullState, Review, Verdict
from codeb.model.secret import Secret
from tests.github import TOKEN, Github, github

pytestmark = pytest.mark.anyio
SHOP = "acme/shop"


@dataclass
class Rig:
    """The driver, and somebody who works in the repository."""

    pulls: Pulls
    host: Any

    def open(self, branch: str, **more: Any) -> int:
        made = self.host.open(SHOP, branch, **more)
        return made if isinstance(made, int) else int(made.number)


@pytest.fixture(scope="module")
def server() -> Iterator[Github]:
    with github() as found:
        yield found


@pytest.fixture(params=["memory", "github"])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    if request.param == "memory":
        memory = MemoryPulls()
        memory.make(SHOP, "feature", "other")
        yield Rig(memory, memory)
        return
    host: Github = request.getfixturevalue("server")
    host.make(SHOP, "feature", "other")
    driver = GithubPulls(host.url, Secret(TOKEN))
    try:
        yield Rig(driver, host)
    finally:
        await driver.close()


async def test_what_was_opened_is_found_the_last_changed_first(rig: Rig) -> None:
    first, second = rig.open("feature"), rig.open("other")
    found = await rig.pulls.find(SHOP, state="open", limit=10)
    assert [each.number for each in found] == [second, first]
    assert (found[1].branch, found[1].base, found[1].author, found[1].fork) == ("feature", "main", "ana", False)
    assert [each.number for each in await rig.pulls.find(SHOP, state="open", limit=1)] == [second]
    assert [each.number for each in await rig.pulls.find(SHOP, state="open", branch="feature", limit=10)] == [first]
    assert not await rig.pulls.find(SHOP, state="open", branch="unknown", limit=10)
    assert not await rig.pulls.find(SHOP, state="closed", limit=10)


async def test_a_branch_of_a_fork_is_not_ours(rig: Rig) -> None:
    number = rig.open("feature", fork=True)
    assert (await rig.pulls.get(SHOP, number)).fork
    assert not await rig.pulls.find(SHOP, state="open", branch="feature", limit=10)


async def test_how_a_pull_request_stands(rig: Rig) -> None:
    opened, closed, merged = rig.open("feature"), rig.open("other"), rig.open("feature", base="other")
    rig.host.close(SHOP, closed)
    head = (await rig.pulls.get(SHOP, merged)).head
    await rig.pulls.merge(SHOP, merged, head, Method.MERGE)
    states = [await rig.pulls.state(SHOP, each) for each in (opened, closed, merged)]
    assert states == [PullState.OPEN, PullState.CLOSED, PullState.MERGED]
    assert [each.gone for each in states] == [False, True, True]


async def test_what_is_not_there_is_unknown_and_not_gone(rig: Rig) -> None:
    for where, number in ((SHOP, 99), ("acme/unknown", 1)):
        assert await rig.pulls.state(where, number) is PullState.UNKNOWN
        with pytest.raises(NotFound):
            await rig.pulls.get(where, number)
    with pytest.raises(NotFound) as told:
        await rig.pulls.find("acme/unknown", state="open", limit=10)
    assert told.value.code == "repository_not_found"
    assert not PullState.UNKNOWN.gone


async def test_where_the_default_branch_is_at(rig: Rig) -> None:
    at = rig.host.push(SHOP, "main", "more")
    found = await rig.pulls.about(SHOP)
    assert (found.repository, found.branch, found.head) == (SHOP, "main", at)


async def test_proposed_once_however_often_it_is_asked(rig: Rig) -> None:
    proposal = Proposal("feature", "main", "A title", "why\nit is so", draft=True)
    made = await rig.pulls.propose(SHOP, proposal)
    again = await rig.pulls.propose(SHOP, proposal)
    assert (made.title, made.text, made.draft, made.state) == ("A title", "why\nit is so", True, PullState.OPEN)
    assert again.number == made.number
    assert len(await rig.pulls.find(SHOP, state="all", limit=10)) == 1
    other = await rig.pulls.propose(SHOP, Proposal("feature", "other", "To another base"))
    assert other.number != made.number


@pytest.mark.parametrize(("branch", "base"), [("unknown", "main"), ("feature", "unknown"), ("main", "main")])
async def test_what_cannot_be_proposed_is_refused(rig: Rig, branch: str, base: str) -> None:
    with pytest.raises(Conflict) as told:
        await rig.pulls.propose(SHOP, Proposal(branch, base, "A title"))
    assert told.value.code == "github_refused"
    assert not await rig.pulls.find(SHOP, state="all", limit=10)


@pytest.mark.parametrize("verdict", list(Verdict))
async def test_a_review_is_given_once(rig: Rig, verdict: Verdict) -> None:
    number = rig.open("feature")
    review = Review(number, (await rig.pulls.get(SHOP, number)).head, verdict, "Because.")
    where = await rig.pulls.review(SHOP, review)
    assert await rig.pulls.review(SHOP, review) == where
    reviews = rig.host.repositories[SHOP].reviews
    assert len(reviews if isinstance(reviews, list) else reviews[number]) == 1


async def test_a_review_is_of_the_commit_that_was_seen(rig: Rig) -> None:
    number = rig.open("feature")
    seen = (await rig.pulls.get(SHOP, number)).head
    rig.host.push(SHOP, "feature", "something nobody saw")
    with pytest.raises(Conflict) as told:
        await rig.pulls.review(SHOP, Review(number, seen, Verdict.APPROVE))
    assert told.value.code == "pull_moved"
    assert not rig.host.repositories[SHOP].reviews


async def test_nobody_approves_their_own(rig: Rig) -> None:
    made = await rig.pulls.propose(SHOP, Proposal("feature", "main", "Ours"))
    with pytest.raises(Conflict) as told:
        await rig.pulls.review(SHOP, Review(made.number, made.head, Verdict.APPROVE))
    assert told.value.code == "github_refused"
    assert await rig.pulls.review(SHOP, Review(made.number, made.head, Verdict.COMMENT, "A word."))


@pytest.mark.parametrize("method", list(Method))
async def test_merged_once(rig: Rig, method: Method) -> None:
    number = rig.open("feature")
    head = (await rig.pulls.get(SHOP, number)).head
    became = await rig.pulls.merge(SHOP, number, head, method)
    assert await rig.pulls.merge(SHOP, number, head, method) == became
    assert (await rig.pulls.about(SHOP)).head == became
    found = await rig.pulls.get(SHOP, number)
    assert (found.state, found.merged_as) == (PullState.MERGED, became)


async def test_nothing_unseen_is_merged(rig: Rig) -> None:
    number, before = rig.open("feature"), (await rig.pulls.about(SHOP)).head
    seen = (await rig.pulls.get(SHOP, number)).head
    rig.host.push(SHOP, "feature", "something nobody saw")
    with pytest.raises(Conflict) as told:
        await rig.pulls.merge(SHOP, number, seen, Method.MERGE)
    assert told.value.code == "pull_moved"
    assert (await rig.pulls.about(SHOP)).head == before


async def test_what_cannot_be_merged_is_not(rig: Rig) -> None:
    conflicting, draft, closed = rig.open("feature", mergeable=False), rig.open("other", draft=True), rig.open("feature")
    rig.host.close(SHOP, closed)
    for number, code in ((conflicting, "not_mergeable"), (draft, "not_mergeable"), (closed, "pull_closed")):
        head = (await rig.pulls.get(SHOP, number)).head
        with pytest.raises(Conflict) as told:
            await rig.pulls.merge(SHOP, number, head, Method.MERGE)
        assert told.value.code == code
    head = commit("another")
    with pytest.raises(NotFound):
        await rig.pulls.merge(SHOP, 99, head, Method.MERGE)
