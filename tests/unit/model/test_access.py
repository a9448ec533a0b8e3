"""Roles and the reach of keys (S9)."""

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from codeb.model.access import Actor, Key, Role, key_text

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
    assert key.actor == Actor("k", "t", Role.ADMIN, frozenset({"a"}), frozenset({"p"}), frozenset({"e"}))
    assert key.actor.name == "t/admin/k"
