"""GitHub itself: its pages, limits and refusals, answers that are lost, and where the token goes."""

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from codeb.drivers.pulls import github_client
from codeb.drivers.pulls.github import STATE_SECONDS, GithubPulls
from codeb.errors import Conflict, FenceLost, PublicError, Unavailable
from codeb.model.pulls import Method, Proposal, PullState, Review, Verdict
from codeb.model.secret import Secret
from tests.github import READER, TOKEN, Github, Refused, github

pytestmark = pytest.mark.anyio
SHOP = "acme/shop"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture(scope="module")
def server() -> Iterator[Github]:
    with github() as found:
        yield found


@pytest.fixture
def host(server: Github) -> Iterator[Github]:
    server.make(SHOP, "feature", "other")
    server.calls.clear()
    yield server
    with server.lock:
        # an answer that nobody waited for is over
        server.fail, server.cut, server.limits, server.left = set(), set(), [], 5000
        server.garbage = server.mute = False
        server.before = lambda method, path: None


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def pulls(host: Github, clock: Clock) -> AsyncIterator[GithubPulls]:
    driver = GithubPulls(host.url, Secret(TOKEN), sleep=clock.sleep, clock=clock)
    try:
        yield driver
    finally:
        await driver.close()


def changes(host: Github) -> list[tuple[str, str]]:
    return [each for each in host.calls if each[0] != "GET"]


async def test_a_long_list_is_read_page_by_page(host: Github, pulls: GithubPulls) -> None:
    for _ in range(250):
        host.open(SHOP, "feature")
    assert len(await pulls.find(SHOP, state="open", limit=1000)) == 250
    assert len(host.calls) == 3
    host.calls.clear()
    assert len(await pulls.find(SHOP, state="open", limit=100)) == 100
    assert len(host.calls) == 1, "no page more than was asked for"


async def test_whether_it_can_be_merged_is_known_of_one_alone(host: Github, pulls: GithubPulls) -> None:
    number = host.open(SHOP, "feature", mergeable=False)
    first, then = await pulls.get(SHOP, number), await pulls.get(SHOP, number)
    assert (first.mergeable, then.mergeable, then.why_not) == (None, False, "dirty")
    assert (await pulls.find(SHOP, state="open", limit=1))[0].mergeable is None


def limits() -> list[tuple[Refused, float]]:
    return [
        (Refused(403, "API rate limit exceeded", headers={"X-RateLimit-Remaining": "0"}), 900),
        (Refused(429, "Slow down", headers={"Retry-After": "7"}), 7),
        (Refused(403, "You have exceeded a secondary rate limit.", headers={"Retry-After": "30"}), 30),
        (Refused(403, "You have exceeded a secondary rate limit."), 60),
        (Refused(429, "Slow down", headers={"Retry-After": "soon"}), 60),
    ]


@pytest.mark.parametrize("at", range(5))
async def test_who_is_limited_stays_away_as_long_as_is_said(host: Github, pulls: GithubPulls, clock: Clock, at: int) -> None:
    refusal, seconds = limits()[at]
    number = host.open(SHOP, "feature")
    host.limits = [refusal]
    with pytest.raises(Unavailable) as told:
        await pulls.get(SHOP, number)
    assert told.value.code == "github_limited"
    assert told.value.details["retryAfterSeconds"] == pytest.approx(seconds, abs=5)
    asked = len(host.calls)
    clock.now += seconds - 6
    with pytest.raises(Unavailable) as again:
        await pulls.propose(SHOP, Proposal("feature", "main", "A title"))
    assert (again.value.code, len(host.calls)) == ("github_limited", asked), "not even asked"
    clock.now += 12
    assert (await pulls.get(SHOP, number)).number == number


async def test_a_right_that_is_missing_is_no_limit(host: Github, clock: Clock) -> None:
    number = host.open(SHOP, "feature")
    reader = GithubPulls(host.url, Secret(READER), sleep=clock.sleep, clock=clock)
    head = (await reader.get(SHOP, number)).head
    for _ in range(2):
        with pytest.raises(Unavailable) as told:
            await reader.merge(SHOP, number, head, Method.MERGE)
        assert (told.value.code, "retryAfterSeconds" in told.value.details) == ("github_denied", False)
    await reader.close()


async def test_a_wrong_token_is_told_and_never_shown(host: Github) -> None:
    wrong = GithubPulls(host.url, Secret("canary-of-the-token"))
    with pytest.raises(Unavailable) as told:
        await wrong.find(SHOP, state="open", limit=1)
    assert told.value.code == "github_denied"
    assert "canary" not in f"{told.value} {told.value.hint} {told.value.details} {wrong!r} {vars(wrong)}"
    assert (await wrong.check()).status == "fail"
    await wrong.close()


async def test_a_renamed_repository_is_told_and_the_token_does_not_go_there(host: Github, pulls: GithubPulls) -> None:
    host.make(SHOP).renamed = True
    with pytest.raises(Conflict) as told:
        await pulls.get(SHOP, 1)
    assert (told.value.code, len(host.calls)) == ("repository_moved", 1)
    assert await pulls.state(SHOP, 1) is PullState.UNKNOWN


async def test_what_only_reads_is_tried_again(host: Github, pulls: GithubPulls) -> None:
    number = host.open(SHOP, "feature")
    host.fail, host.cut = {1}, {2}
    assert (await pulls.get(SHOP, number)).number == number
    assert len(host.calls) == 3
    host.fail = {4, 5, 6}
    with pytest.raises(Unavailable) as told:
        await pulls.get(SHOP, number)
    assert (told.value.code, len(host.calls)) == ("github_unavailable", 6)


async def test_what_changes_something_is_sent_once(host: Github, pulls: GithubPulls) -> None:
    host.fail = {2}
    with pytest.raises(Unavailable) as told:
        await pulls.propose(SHOP, Proposal("feature", "main", "A title"))
    assert "not known" in told.value.message
    assert len(changes(host)) == 1


async def test_an_answer_that_is_lost_makes_nothing_twice(host: Github, pulls: GithubPulls) -> None:
    """P8: the effect was there, its answer never came; asked again, there is one of each."""

    async def twice(act: Any) -> Any:
        before = len(changes(host))
        host.mute = True
        with pytest.raises(Unavailable) as told:
            await act()
        assert "not known" in told.value.message
        host.mute = False
        done = await act()
        assert len(changes(host)) == before + 1, "sent once, whoever asked again"
        return done

    made = await twice(lambda: pulls.propose(SHOP, Proposal("feature", "main", "A title")))
    await twice(lambda: pulls.review(SHOP, Review(made.number, made.head, Verdict.COMMENT, "A word.")))
    assert await twice(lambda: pulls.merge(SHOP, made.number, made.head, Method.SQUASH))
    repo = host.repositories[SHOP]
    assert (len(repo.pulls), len(repo.reviews[made.number])) == (1, 1)


async def test_what_is_pushed_right_before_the_merge_is_not_merged(host: Github, pulls: GithubPulls) -> None:
    number = host.open(SHOP, "feature")
    seen, before = (await pulls.get(SHOP, number)).head, host.repositories[SHOP].branches["main"]
    host.before = lambda method, path: host.push(SHOP, "feature", "nobody saw it") and None if method == "PUT" else None
    with pytest.raises(Conflict) as told:
        await pulls.merge(SHOP, number, seen, Method.MERGE)
    assert (told.value.code, host.repositories[SHOP].branches["main"]) == ("pull_moved", before)
    assert len(changes(host)) == 1


async def test_who_does_not_lead_changes_nothing_there(host: Github) -> None:
    def permit() -> None:
        raise FenceLost("not ours")

    number = host.open(SHOP, "feature")
    driver = GithubPulls(host.url, Secret(TOKEN), permit)
    head = (await driver.get(SHOP, number)).head
    for act in (
        driver.propose(SHOP, Proposal("other", "main", "A title")),
        driver.review(SHOP, Review(number, head, Verdict.APPROVE)),
        driver.merge(SHOP, number, head, Method.MERGE),
    ):
        with pytest.raises(FenceLost):
            await act
    assert not changes(host)
    await driver.close()


async def test_what_is_no_answer_is_told_as_such(host: Github, pulls: GithubPulls, monkeypatch: pytest.MonkeyPatch) -> None:
    number = host.open(SHOP, "feature")
    host.garbage = True
    for act in (pulls.get(SHOP, number), pulls.find(SHOP, state="open", limit=1), pulls.about(SHOP)):
        with pytest.raises(Unavailable) as told:
            await act
        assert told.value.code == "github_unavailable"
    host.garbage = False
    host.repositories[SHOP].pulls[number]["head"] = None
    with pytest.raises(Unavailable):
        await pulls.get(SHOP, number)
    monkeypatch.setattr(github_client, "MOST_BYTES", 100)
    with pytest.raises(Unavailable) as large:
        await pulls.find(SHOP, state="open", limit=1)
    assert "more than any answer" in large.value.message


async def test_how_one_stands_is_not_asked_all_the_time_and_never_raises(host: Github, pulls: GithubPulls, clock: Clock) -> None:
    number = host.open(SHOP, "feature")
    assert [await pulls.state(SHOP, number) for _ in range(5)] == [PullState.OPEN] * 5
    assert len(host.calls) == 1
    host.close(SHOP, number)
    clock.now += STATE_SECONDS + 1
    host.fail = set(range(2, 5))
    assert await pulls.state(SHOP, number) is PullState.UNKNOWN, "an outage says nothing"
    clock.now += STATE_SECONDS + 1
    assert await pulls.state(SHOP, number) is PullState.CLOSED


async def test_a_host_that_is_slow_is_not_asked_the_more_often_for_it(host: Github, pulls: GithubPulls) -> None:
    number, go_on = host.open(SHOP, "feature"), threading.Event()

    def slow(method: str, path: str) -> None:
        go_on.wait(20)

    host.before = slow
    try:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await pulls.state(SHOP, number)
    finally:
        go_on.set()
    assert await pulls.state(SHOP, number) is PullState.UNKNOWN


async def test_the_health_report_says_how_many_calls_are_left(host: Github, pulls: GithubPulls) -> None:
    host.left = 4321
    found = await pulls.check()
    # an answer that a test before did not wait for may still take one
    told = re.search(r"(\d+) more calls", found.text)
    assert found.status == "pass" and told is not None and 4300 < int(told[1]) <= 4321


async def test_nobody_there_at_all(clock: Clock) -> None:
    driver = GithubPulls("http://127.0.0.1:9", Secret(TOKEN), sleep=clock.sleep, clock=clock)
    assert await driver.state(SHOP, 1) is PullState.UNKNOWN
    assert (await driver.check()).status == "warn"
    with pytest.raises(PublicError):
        await driver.about(SHOP)
    await driver.close()


async def test_who_did_not_wait_is_not_to_wait_again(clock: Clock) -> None:
    """A host that takes its time is asked once in a while, not by each of many previews in each round."""

    async def for_ever(_: float) -> None:
        await asyncio.Event().wait()

    driver = GithubPulls("http://127.0.0.1:9", Secret(TOKEN), sleep=for_ever, clock=clock)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await driver.state(SHOP, 1)
    async with asyncio.timeout(5):
        assert await driver.state(SHOP, 1) is PullState.UNKNOWN
    await driver.close()
