"""Roles and the reach of keys (S9)."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeb.model.access import Actor, Approval, Key, Member, People, Role, Team, key_text, wider, worth

ORDER = [Role.VIEWER, Role.MEMBER, Role.ADMIN, Role.OWNER]
NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(("has", "needs"), list(product(Role, Role)))
def test_every_role_against_every_need(has: Role, needs: Role) -> None:
    wanted = ORDER.index(has) >= ORDER.index(needs)
    assert has.covers(needs) is wanted
    for tools in (frozenset(), frozenset({"deploy"}), frozenset({"logs"})):
        actor = Actor("k", "main", has, tools=tools)
        assert actor.may_use("deploy", needs) is (wanted and tools in (frozenset(), {"deploy"}))


@pytest.mark.parametrize(
    ("team", "reach", "sees"),
    [
        ("main", (), True),
        ("main", ("shop",), True),
        ("main", ("blog",), False),
        ("other", (), False),
        ("other", ("shop",), False),
    ],
)
def test_sees_project(team: str, reach: tuple[str, ...], sees: bool) -> None:
    assert Actor("k", "main", Role.OWNER, projects=frozenset(reach)).sees_project("shop", team) is sees


@pytest.mark.parametrize(("reach", "may"), [((), True), (("staging",), True), (("production",), False)])
def test_may_touch(reach: tuple[str, ...], may: bool) -> None:
    assert Actor("k", "main", Role.OWNER, environments=frozenset(reach)).may_touch("staging") is may


@pytest.mark.parametrize(("reach", "may"), [("preview", True), ("pr-12", True), ("pr-1", False), ("staging", False)])
def test_preview_stands_for_the_environments_of_pull_requests(reach: str, may: bool) -> None:
    """S9: and the other way round it does not."""
    assert Actor("k", "main", Role.OWNER, environments=frozenset({reach})).may_touch("pr-12") is may
    for other in ("preview", "production"):
        assert Actor("k", "main", Role.OWNER, environments=frozenset({reach})).may_touch(other) is (reach == other)


@pytest.mark.parametrize(
    ("expires", "revoked", "usable"),
    [(None, None, True), (1, None, True), (0, None, False), (-1, None, False), (1, -1, False), (None, 1, False)],
)
def test_usable(expires: int | None, revoked: int | None, usable: bool) -> None:
    at = lambda hours: None if hours is None else NOW + timedelta(hours=hours)  # noqa: E731
    assert Key("k", "0" * 64, "main", Role.OWNER, expires_at=at(expires), revoked_at=at(revoked)).usable(NOW) is usable


def test_the_text_of_a_key_is_a_secret() -> None:
    text = key_text("main", Role.OWNER, "tok")
    assert text.reveal() == "codeb_main_owner_tok"
    assert "tok" not in f"{text} {text!r} {[text]}"


def test_an_actor_has_exactly_what_its_key_has() -> None:
    key = Key("k", "0" * 64, "t", Role.ADMIN, tools=frozenset({"a"}), projects=frozenset({"p"}), environments=frozenset({"e"}))
    actor = worth(key, {"t": Team("t")}, {}, NOW)
    assert actor == Actor("k", "t", Role.ADMIN, frozenset({"a"}), frozenset({"p"}), frozenset({"e"}))
    assert actor is not None and actor.name == "t/admin/k"


@pytest.mark.parametrize(("stored", "now"), list(product(Role, Role)))
def test_the_holder_s_role_now_bounds_the_key(stored: Role, now: Role) -> None:
    """S9: the least of the stored role, the holder's role now, the key's scope."""
    key = Key("k", "0" * 64, "t", stored, member="m")
    actor = worth(key, {"t": Team("t")}, {"m": Member("m", "t", "ana", now)}, NOW)
    assert actor is not None and actor.role is ORDER[min(ORDER.index(stored), ORDER.index(now))]


def test_what_makes_a_key_worth_nothing() -> None:
    key, team, holder = Key("k", "0" * 64, "t", Role.OWNER, member="m"), Team("t"), Member("m", "t", "ana", Role.OWNER)
    assert worth(key, {"t": team}, {"m": holder}, NOW) is not None
    assert worth(key, {}, {"m": holder}, NOW) is None
    assert worth(key, {"t": replace(team, deleted_at=NOW)}, {"m": holder}, NOW) is None
    assert worth(key, {"t": team}, {}, NOW) is None
    assert worth(key, {"t": team}, {"m": replace(holder, removed_at=NOW)}, NOW) is None
    assert worth(key, {"t": team}, {"m": replace(holder, team="other")}, NOW) is None
    assert worth(replace(key, revoked_at=NOW), {"t": team}, {"m": holder}, NOW) is None


def test_the_stricter_policy_binds() -> None:
    for mine, ours in product(Approval, Approval):
        actor = worth(Key("k", "0" * 64, "t", Role.OWNER, approval=mine), {"t": Team("t", approval=ours)}, {}, NOW)
        order = list(Approval)
        assert actor is not None and actor.approval is order[max(order.index(mine), order.index(ours))]


NAMES = st.frozensets(st.sampled_from(["a", "b", "preview", "pr-1"]))
EVERY = ("a", "b", "preview", "pr-1", "pr-2", "d")
KEYS = st.builds(
    Key, id=st.just("k"), sha256=st.just("0" * 64), team=st.sampled_from(["t", "u"]), role=st.sampled_from(Role), tools=NAMES,
    projects=NAMES, environments=NAMES, approval=st.sampled_from(Approval),
    expires_at=st.sampled_from([None, NOW + timedelta(hours=1), NOW + timedelta(hours=2)]),
)  # fmt: skip


@given(KEYS, KEYS)
def test_a_key_that_may_be_made_can_do_nothing_its_maker_cannot(maker: Key, made: Key) -> None:
    """S9: asked of what the two may do, not of how they are written."""
    teams = {"t": Team("t"), "u": Team("u")}
    by, new = worth(maker, teams, {}, NOW), worth(made, teams, {}, NOW)
    assert by is not None and new is not None

    def acts(actor: Actor) -> set[tuple[object, ...]]:
        return {
            (tool, role, team, project, environment, hour)
            for tool, role in product(EVERY, Role) if actor.may_use(tool, role)
            for team, project in product("tu", EVERY) if actor.sees_project(project, team)
            for environment in EVERY if actor.may_touch(environment)
            for hour in (0, 1, 2) if actor.expires_at is None or NOW + timedelta(hours=hour) < actor.expires_at
        }  # fmt: skip

    order = list(Approval)
    lesser = acts(new) <= acts(by) and order.index(new.approval) >= order.index(by.approval)
    assert (not wider(made, by)) is lesser


@given(KEYS)
def test_a_key_may_make_its_like(key: Key) -> None:
    actor = worth(key, {"t": Team("t"), "u": Team("u")}, {}, NOW)
    assert actor is not None and wider(key, actor) == ()


@pytest.mark.parametrize(
    ("more", "beyond"),
    [
        ({}, ()),
        ({"expires_at": NOW + timedelta(hours=1)}, ()),
        ({"expires_at": NOW + timedelta(hours=3)}, ("expires_at",)),
        ({"expires_at": None}, ("expires_at",)),
        ({"approval": Approval.HUMAN}, ()),
        ({"approval": Approval.NONE}, ("approval",)),
        ({"role": Role.OWNER}, ("role",)),
        ({"team": "u", "projects": frozenset()}, ("team", "projects")),
        ({"tools": frozenset({"b"}), "environments": frozenset({"b"})}, ("tools", "environments")),
    ],
)
def test_in_what_a_key_would_exceed_its_maker_is_named(more: dict[str, Any], beyond: tuple[str, ...]) -> None:
    """S9."""
    only, ends = frozenset({"a"}), NOW + timedelta(hours=2)
    maker = Actor("k", "t", Role.ADMIN, only, only, only, expires_at=ends, bound=Approval.NAME)
    key = Key("n", "1", "t", Role.MEMBER, "", only, only, only, expires_at=ends, approval=Approval.NAME)
    assert wider(replace(key, **more), maker) == beyond


@pytest.mark.parametrize("narrowed", ["tools", "projects", "environments"])
def test_only_what_is_narrowed_to_nothing_is_whole(narrowed: str) -> None:
    assert Actor("k", "main", Role.OWNER).whole
    assert not Actor("k", "main", Role.OWNER, **{narrowed: frozenset({"shop"})}).whole  # type: ignore[arg-type]


def test_a_team_is_not_left_to_nobody() -> None:
    keys = {
        "a": Key("a", "1", "t", Role.OWNER), "b": Key("b", "2", "t", Role.OWNER, expires_at=NOW + timedelta(days=1)),
        "c": Key("c", "3", "t", Role.OWNER, tools=frozenset({"x"})), "d": Key("d", "4", "t", Role.OWNER, member="m"),
        "e": Key("e", "5", "t", Role.ADMIN), "f": Key("f", "6", "u", Role.OWNER),
    }  # fmt: skip
    people = People(keys, {"t": Team("t"), "u": Team("u")}, {"m": Member("m", "t", "ana", Role.OWNER)}, NOW)
    assert not people.orphans("t", people.without("a"))
    assert not people.orphans("t", people.without("d"))
    assert not people.orphans("t", people.without((), "m"))
    assert people.orphans("t", people.without("ad")), "what expires or is narrowed owns nothing for good"
    assert people.orphans("t", people.without("a", "m"))


def test_the_operators_are_the_oldest_team_that_is_there() -> None:
    def people(*teams: Team) -> People:
        return People({}, {each.id: each for each in teams}, {}, NOW)

    old, young = Team("z", created_at=NOW - timedelta(days=1)), Team("a", created_at=NOW)
    assert people(old, young).operators == people(young, old).operators == "z"
    assert people(replace(old, deleted_at=NOW), young).operators == "a"
    assert people(Team("claimed"), young).operators == "a", "one that nobody made"
    assert people(Team("claimed")).operators is people().operators is None


def test_a_team_that_nobody_owns_for_good_may_lose_all_but_the_last() -> None:
    ends = NOW + timedelta(days=1)
    keys = {each: Key(each, each, "t", Role.OWNER, expires_at=ends) for each in "ab"}
    people = People(keys, {"t": Team("t")}, {}, NOW)
    assert people.owned("t") == (True, False)
    assert not people.orphans("t", people.without("a"))
    assert people.orphans("t", people.without("ab"))


def test_members_are_known_by_name_within_their_team() -> None:
    ana, bo = Member("m1", "t", "ana", Role.ADMIN), Member("m2", "t", "bo", Role.VIEWER)
    gone, theirs = Member("m3", "t", "cy", Role.OWNER, removed_at=NOW), Member("m4", "u", "dan", Role.OWNER)
    people = People({}, {"t": Team("t")}, {each.id: each for each in (bo, ana, gone, theirs)}, NOW)
    assert people.present("t") == [ana, bo]
    assert [people.named("t", name) for name in ("ana", "bo", "cy", "dan")] == [ana, bo, None, None]
    assert people.given("m1", Role.OWNER).named("t", "ana") == replace(ana, role=Role.OWNER)
