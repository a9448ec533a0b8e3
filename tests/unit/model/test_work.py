"""How far a work item may move, and which files stand in another branch's way."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeb.model import work
from codeb.model.work import MOVES, FileLock, Status

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def lock(path: str, branch: str = "a", task: str = "task_1") -> FileLock:
    return FileLock(task, "shop", branch, path, NOW + timedelta(hours=1))


def test_every_status_is_reached_and_only_the_last_is_an_end() -> None:
    reached, fresh = {Status.DRAFT}, {Status.DRAFT}
    while fresh:
        fresh = {to for was, to in MOVES if was in fresh} - reached
        reached |= fresh
    assert reached == set(Status)
    assert [each for each in Status if not work.next_of(each)] == [Status.DEPLOYED]
    assert not any(was is to for was, to in MOVES)
    assert work.next_of(Status.DONE) == (Status.IN_PROGRESS, Status.DEPLOYED)
    # whatever is open can be done, and nothing is deployed that is not done
    assert {was for was, to in MOVES if to is Status.DONE} == set(work.OPEN)
    assert {was for was, to in MOVES if to is Status.DEPLOYED} == {Status.DONE}


@pytest.mark.parametrize(("text", "seconds"), [("1m", 60), ("60s", 60), ("8h", 28_800), ("7d", 604_800), ("168h", 604_800)])
def test_how_long_files_are_held(text: str, seconds: int) -> None:
    assert work.lock_span(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["59s", "0m", "8d", "169h", "", "h", "1.5h", "-1h", "8 h", "8h\n", "2026-03-01T12:00:00Z"])
def test_how_long_they_are_not(text: str) -> None:
    with pytest.raises(ValueError, match="between 1m and 7d"):
        work.lock_span(text)


def test_a_lock_is_over_by_the_clock() -> None:
    until = NOW + timedelta(hours=1)
    assert lock("a").holds(NOW) and not lock("a").holds(until) and not lock("a").holds(until + timedelta(days=1))
    assert not FileLock("task_1", "shop", "a", "a", None).holds(NOW)


def test_a_folder_covers_what_is_below_and_nothing_beside_it() -> None:
    locks = [lock("src/pay"), lock("docs/a.md"), lock("src/payments.py")]
    assert work.meeting(["src/pay/x/y.py"], locks) == [("src/pay/x/y.py", locks[0])]
    assert work.meeting(["src"], locks) == [("src", locks[0]), ("src", locks[2])]
    assert work.meeting(["src/pay"], locks) == [("src/pay", locks[0])]
    assert work.meeting(["src/pa", "src/pay.py", "doc", "src/payments.py/x"], locks) == [("src/payments.py/x", locks[2])]
    assert work.meeting(["docs/a.md", "docs/a.md"], locks) == [("docs/a.md", locks[1])]


def test_what_is_of_the_own_branch_is_not_in_the_way() -> None:
    locks = [lock("a", "mine"), lock("a/b", "mine"), lock("a/c", "theirs")]
    assert work.in_the_way(["a"], "mine", locks) == [("a", locks[2])]
    assert [each.path for _, each in work.in_the_way(["a"], None, locks)] == ["a", "a/b", "a/c"]


PATHS = st.lists(st.sampled_from(["a", "b", "ab"]), min_size=1, max_size=4).map("/".join)


@given(st.lists(PATHS, max_size=8), st.lists(st.tuples(PATHS, st.sampled_from("xyz")), max_size=8))
def test_it_finds_what_comparing_every_pair_finds(paths: list[str], held: list[tuple[str, str]]) -> None:
    locks = [lock(path, branch) for path, branch in held]
    found = {(path, locks.index(each)) for path, each in work.in_the_way(paths, "x", locks)}
    slow = {(path, locks.index(each)) for path in paths for each in locks if each.branch != "x" and work.overlap(path, each.path)}
    assert found == slow


@given(PATHS, PATHS)
def test_overlap_is_mutual(one: str, other: str) -> None:
    assert work.overlap(one, other) == work.overlap(other, one)
    assert work.overlap(one, f"{one}/{other}")
