"""Names, what an app is told, and who still needs a former password."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from sqlalchemy.engine import make_url

from codeb.model.names import Place, Slot
from codeb.model.secret import Secret
from codeb.model.slots import Pair, SlotRow, State
from codeb.model.storage import (
    ENV,
    Endpoint,
    Kind,
    Stage,
    Storage,
    generated_env,
    login_of,
    name_of,
    prefix_of,
    still_need,
)

AT = datetime(2026, 3, 1, tzinfo=UTC)
HELD = Storage("sto_1", Place("shop", "production"), Kind.POSTGRES, "shop_production", "192.0.2.7", 5432, Stage.READY, 2, AT, "x")


def test_no_two_places_share_a_name_or_a_login() -> None:
    projects = ["shop", "shop-x", "pg", "pg-x", "a", "postgres", "template1", "shop-pr"]
    places = [Place(*each) for each in product(projects, ["production", "staging", "preview", "pr-1", "pr-11", "pr-1111"])]
    names = [name_of(place, Kind.POSTGRES) for place in places]
    logins = [login_of(name, number) for name in names for number in (1, 2, 11, 111)]
    assert len({*names, *logins}) == len(names) + len(logins)
    assert [each for each in (*names, *logins) if each.startswith("pg_") or len(each) > 63] == []
    prefixes = [prefix_of(name_of(place, Kind.REDIS)) for place in places]
    assert [(one, two) for one in prefixes for two in prefixes if one is not two and two.startswith(one)] == []


def test_the_longest_name_fits() -> None:
    assert len(login_of(name_of(Place("a" * 40, "production"), Kind.POSTGRES), 99_999)) <= 63


@pytest.mark.parametrize("host", ["192.0.2.7", "db.example.com", "2001:db8::7"])
def test_the_addresses_can_be_read_by_others_whatever_the_password(host: str) -> None:
    word = Secret("a:b/c@d?e#f%g h")
    redis = replace(HELD, kind=Kind.REDIS, name="shop-production", host=host)
    made = generated_env([(replace(HELD, host=host), word), (redis, word)])
    address = make_url(made["DATABASE_URL"].reveal())
    assert (address.username, address.password, address.host, address.database) == (
        "shop_production_2", word.reveal(), host, "shop_production",
    )  # fmt: skip
    assert make_url(made["REDIS_URL"].reveal()).password == word.reveal()
    assert set(made) == {*ENV[Kind.POSTGRES], *ENV[Kind.REDIS]}


def row(slot: Slot, state: State, at: datetime | None) -> SlotRow:
    return SlotRow(HELD.place, slot, 4100, state, deployed_at=at)


def test_a_slot_from_before_needs_the_former_password() -> None:
    before, after = AT, AT + timedelta(hours=2)
    held = replace(HELD, rotated_at=AT + timedelta(hours=1))
    for state in (State.DEPLOYED, State.ACTIVE, State.GRACE):
        pair = Pair(row(Slot.BLUE, state, before), row(Slot.GREEN, State.DEPLOYED, after))
        assert still_need(held, pair) == ("blue",)
    assert still_need(held, Pair(row(Slot.BLUE, State.EMPTY, before), row(Slot.GREEN, State.ACTIVE, after))) == ()
    # deployed in the same instant, or nobody knows when: it may have the old one
    assert still_need(held, Pair(row(Slot.BLUE, State.ACTIVE, held.rotated_at), row(Slot.GREEN, State.GRACE, None))) == (
        "blue", "green",
    )  # fmt: skip
    assert (
        still_need(held, None),
        still_need(HELD, Pair(row(Slot.BLUE, State.ACTIVE, before), row(Slot.GREEN, State.EMPTY, None))),
    ) == ((), ())


def test_a_loopback_address_is_known_as_one() -> None:
    assert [Endpoint(host, 1).loopback for host in ("127.0.0.1", "localhost", "::1", "192.0.2.7", "db.example.com")] == [
        True, True, True, False, False,
    ]  # fmt: skip
