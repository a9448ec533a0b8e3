"""Container and host names parse back to exactly one project, environment and slot (spec 2)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeb.model import grammar
from codeb.model.names import Place, Slot, closest, did_you_mean, kept, parse_container, parse_place

WORD = st.from_regex(r"[a-z][a-z0-9]{0,5}(-[a-z0-9]{1,5}){0,3}", fullmatch=True) | st.builds(
    "-".join,
    st.lists(
        st.sampled_from(["a", "pr", "12", "blue", "green", "production", "staging", "preview", "x1"]), min_size=1, max_size=4
    ),
)
ENVIRONMENT = st.sampled_from(["production", "staging", "preview"]) | st.integers(1, 10**9 - 1).map(lambda n: f"pr-{n}")


def valid(name: str) -> bool:
    try:
        return grammar.project_name(name) == name
    except ValueError:
        return False


@given(WORD.filter(valid), ENVIRONMENT, st.sampled_from(Slot))
def test_round_trip(project: str, environment: str, slot: Slot) -> None:
    place = Place(project, environment)
    assert parse_container(place.container(slot)) == (place, slot)
    assert parse_container(kept(place.container(slot))) == (place, slot)
    assert parse_place(place.key) == place


@given(WORD.filter(valid), ENVIRONMENT, WORD.filter(valid), ENVIRONMENT)
def test_no_two_places_share_a_host(one: str, first: str, two: str, second: str) -> None:
    a, b = Place(one, first), Place(two, second)
    assert (a == b) == (a.host("x.test") == b.host("x.test"))
    hosts = {each.preview_host(slot, "x.test") for each in (a, b) for slot in Slot}
    assert len(hosts) == (2 if a == b else 4)


@given(st.text(max_size=60))
def test_parsing_never_raises_and_is_exact(text: str) -> None:
    found = parse_container(text)
    if found is not None:
        assert text in (found[0].container(found[1]), kept(found[0].container(found[1])))


@pytest.mark.parametrize(
    "name", ["shop-production", "shop-staging", "shop-preview", "shop-blue", "a-green", "shop-pr-1", "shop-pr-007", "Shop_Blue"]
)
def test_reserved_endings(name: str) -> None:
    with pytest.raises(ValueError, match="may not end"):
        grammar.project_name(name)


@pytest.mark.parametrize(
    ("said", "kept_as"), [("My_App", "my-app"), ("SHOP", "shop"), ("blue", "blue"), ("pr-1", "pr-1"), ("a" * 40, "a" * 40)]
)
def test_folding(said: str, kept_as: str) -> None:
    assert grammar.project_name(said) == kept_as


def test_near_names() -> None:
    assert closest("shpo", ["shop", "blog"]) == ["shop"]
    assert did_you_mean("shpo", ["shop"]) == "Did you mean shop?"
    assert did_you_mean("zzz", ["shop"]) == ""
