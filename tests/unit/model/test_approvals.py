"""S25: which policy binds, who counts as another identity, and what time does to a yes."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeb.model.access import Actor, Approval, Key, Member, People, Role, Team, worth
from codeb.model.approvals import (
    STANDS_FOR,
    Decision,
    PlanApproval,
    nobody_stands_by,
    not_another,
    policy,
    stuck,
    visible,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TEAMS = {each: Team(each) for each in ("main", "rivals")}
ORDER = [Approval.NONE, Approval.NAME, Approval.HUMAN]


def asked(state: Decision = Decision.WAITING, project: str | None = "shop", key: str = "key_a") -> PlanApproval:
    return PlanApproval(
        "ap_1", "main", "promote", project, "production", {}, "b", "plan_1", {}, (), {}, state, key, f"main/member/{key}", NOW,
        NOW + STANDS_FOR, decided_key="key_b",
    )  # fmt: skip


def key(name: str, **more: object) -> Key:
    return Key(name, name, "main", Role.ADMIN, **more)  # type: ignore[arg-type]


@given(st.sampled_from(ORDER), st.one_of(st.none(), st.sampled_from(ORDER)))
def test_neither_key_nor_team_loosens_the_other(of_key: Approval, of_team: Approval | None) -> None:
    team = None if of_team is None else Team("main", approval=of_team)
    found = policy(Actor("key_a", "main", Role.OWNER, approval=of_key), team)
    assert ORDER.index(found) == max(ORDER.index(of_key), ORDER.index(of_team or Approval.NONE))


def test_a_key_tells_its_caller_what_binds_it() -> None:
    held = key("key_a", approval=Approval.HUMAN, member="mem_1", preset="agent")
    actor = worth(held, {"main": Team("main")}, {"mem_1": Member("mem_1", "main", "ana", Role.OWNER)}, NOW)
    assert actor is not None
    assert (actor.approval, actor.member, actor.preset) == (Approval.HUMAN, "mem_1", "agent")


MAKERS = st.sampled_from([None, "key_a", "main/owner/key_b", "key_c", "main/member/key_d", "mem_1", "mem_2", "", "odd/"])
KEYS = st.fixed_dictionaries(
    {
        name: st.builds(
            lambda maker, member, preset, approval, name=name: key(
                name, created_by=maker, member=member, preset=preset, approval=approval
            ),
            MAKERS,
            st.sampled_from([None, "mem_1", "mem_2"]),
            st.sampled_from([None, "agent", "ci", "viewer"]),
            st.sampled_from(ORDER),
        )
        for name in ("key_a", "key_b", "key_c", "key_d")
    }
)


@given(KEYS, st.sampled_from(["key_a", "key_b", "key_c", "key_d", "key_gone"]))
def test_whoever_is_believed_is_another_free_person_all_the_way_up(keys: dict[str, Key], decider: str) -> None:
    why = not_another(Actor(decider, "main", Role.OWNER), asked().requested_key, keys)
    line, at = [], keys.get(decider)
    while at is not None and at not in line:
        line.append(at)
        at = keys.get((at.created_by or "").split("/")[-1])
    member = keys["key_a"].member
    tied = any(
        each.id == "key_a"
        or each.preset in ("agent", "ci")
        or each.approval is Approval.HUMAN
        or (member is not None and member in (each.member, each.created_by))
        for each in line
    )
    assert bool(why) == (tied or not line)


@pytest.mark.parametrize(
    ("first", "why"),
    [
        ({"member": "mem_1"}, "a key of the same member as the one that asked"),
        ({"preset": "ci"}, "a machine's key"),
        ({"approval": Approval.HUMAN}, "a key whose own risky calls wait for an approval"),
    ],
)
def test_a_key_inherits_what_the_first_of_its_line_was(first: dict[str, Any], why: str) -> None:
    line = [key("key_1", **first), key("key_2", created_by="main/owner/key_1"), key("key_3", created_by="key_2")]
    keys = {each.id: each for each in (*line, key("key_a", member="mem_1"))}
    assert not_another(Actor("key_3", "main", Role.OWNER), "key_a", keys) == why
    assert not_another(Actor("key_a", "main", Role.OWNER), "key_a", keys) == "the key that asked"


@pytest.mark.parametrize("state", Decision)
def test_time_ends_only_what_is_open(state: Decision) -> None:
    one = asked(state)
    assert timedelta(hours=1) == STANDS_FOR, "as it is told to who asks"
    last = NOW + STANDS_FOR - timedelta(microseconds=1)
    assert one.stands(last) is state
    over = state in (Decision.WAITING, Decision.APPROVED)
    assert one.stands(NOW + STANDS_FOR) is (Decision.EXPIRED if over else state)


def test_a_yes_is_as_good_as_the_key_that_gave_it() -> None:
    def people(*keys: Key, **left: Any) -> People:
        ana = Member("mb_1", "main", "ana", Role.OWNER, **left)
        return People({each.id: each for each in keys}, {"main": Team("main")}, {"mb_1": ana}, NOW)

    assert not nobody_stands_by(asked(), people(key("key_b")))
    assert not nobody_stands_by(asked(), people(key("key_b", member="mb_1")))
    assert nobody_stands_by(asked(), people())
    assert nobody_stands_by(asked(), people(key("key_b", revoked_at=NOW)))
    assert nobody_stands_by(asked(), people(key("key_b", expires_at=NOW)))
    assert nobody_stands_by(asked(), people(key("key_b", member="mb_1"), removed_at=NOW))


def test_whose_risky_calls_nobody_could_approve() -> None:
    def named(*keys: Key) -> list[str]:
        return [each.id for each in stuck("main", People({each.id: each for each in keys}, TEAMS, {}, NOW))]

    admin, another, owner = key("key_a"), key("key_b"), replace(key("key_o"), role=Role.OWNER)
    assert named(admin) == named(admin, replace(another, team="rivals")) == ["key_a"], "there is nobody else"
    assert named(admin, another) == []
    assert named(admin, owner) == [], "an admin decides about what an owner asks for"
    for less in ({"role": Role.MEMBER}, {"role": Role.VIEWER}, {"preset": "ci"}, {"revoked_at": NOW}, {"created_by": "key_a"}):
        assert named(admin, replace(another, **less)) == ["key_a"], less
    assert named(replace(admin, role=Role.VIEWER)) == [], "it has no risky calls"


def test_a_team_sees_its_own_and_a_narrowed_key_those_of_its_projects() -> None:
    def actor(team: str = "main", *projects: str) -> Actor:
        return Actor("key_b", team, Role.VIEWER, projects=frozenset(projects))

    assert visible(actor(), asked())
    assert visible(actor("main", "shop"), asked())
    assert not visible(actor("main", "other"), asked())
    assert not visible(actor("rivals"), asked())
    assert visible(actor(), asked(project=None))
    assert not visible(actor("main", "shop"), asked(project=None))
    assert not visible(actor("rivals"), asked(project=None))
