"""Old registries of ports: every shape of the founding documents, and the collisions they really contain (P7, spec 6)."""

import json
from typing import Any

import pytest

from codeb.model.names import Place
from codeb.model.old_ports import Claim, NotARegistry, read
from codeb.model.port_import import Facts, Judged, Verdict, judge
from codeb.model.ports import Range, Ranges

V6 = {
    "version": "6.0.5",
    "servers": {"app": {"host": "192.0.2.10", "role": "application"}},
    "projects": {
        "shop": {"ports": {"production": {"blue": 4000, "green": 4001}}, "database": {"name": "shop", "server": "storage"}}
    },
    "usedPorts": [3100, 4000, 4001],
}
BY_PORT = {
    "ports": {
        "used": [4100, 4101, 4102, 4103],
        "allocated": {"4100": "project-a", "4101": "project-a", "4102": "project-b", "4103": "project-b"},
    }
}
V7 = {
    "version": "7.0.0",
    "portRanges": {"production": {"start": 4100, "end": 4499}},
    "projects": {
        "shop": {"ports": {"production": {"blue": 4100, "green": 4101}}},
        "blog": {"ports": {"production": {"blue": 4102, "green": 4103}}},
    },
    "ports": {
        "allocated": {
            "4100": {"project": "shop", "slot": "blue"},
            "4101": {"project": "site-react", "slot": "blue"},
            "4102": {"project": "blog", "slot": "blue"},
            "4103": {"project": "blog", "slot": "green"},
        }
    },
}
CENTRAL = {
    "lastUpdated": "2026-01-13T00:00:00Z",
    "projects": {
        "shop": {"production": {"blue": 4100, "green": 4101}},
        "site": {"production": {"blue": 4102, "green": 4103}},
        "blog": {"production": {"blue": 4104, "green": 4105}},
    },
    "allocated": [4100, 4101, 4102, 4103, 4104, 4105],
}
OWN = {"production": {"blue": 4100, "green": 4101}, "staging": {"blue": 4500, "green": 4501}}
SHOP, BLOG = Place("shop", "production"), Place("blog", "production")


def claims(document: Any, project: str | None = None) -> list[tuple[str, int | None, int | None]]:
    found = read(json.dumps(document), Ranges(), project)
    assert found.unread == []
    return [(each.place.key, each.blue, each.green) for each in found.claims]


def facts(**more: Any) -> Facts:
    return Facts(**{"ranges": Ranges(), "pairs": {}, "leased": {}, "published": {}, "listening": set(), **more})


def judged(document: Any, **more: Any) -> dict[str, Judged]:
    found = judge(read(json.dumps(document), Ranges(), more.pop("project", None)), facts(**more))
    return {each.claim.place.key: each for each in found}


def test_every_shape_is_read() -> None:
    assert claims(V6) == [("shop-production", 4000, 4001)]
    assert claims(BY_PORT) == [("project-a-production", 4100, 4101), ("project-b-production", 4102, 4103)]
    assert claims(V7) == [
        ("shop-production", 4100, 4101), ("blog-production", 4102, 4103), ("site-react-production", 4101, None),
    ]  # fmt: skip
    assert [each[0] for each in claims(CENTRAL)] == ["shop-production", "site-production", "blog-production"]
    own = [("wiki-production", 4100, 4101), ("wiki-staging", 4500, 4501)]
    assert claims(OWN, "wiki") == claims({"ports": OWN}, "wiki") == own


def test_ports_that_a_list_calls_used_are_given_to_nobody() -> None:
    found = read(json.dumps(V6), Ranges())
    assert found.reserved == {3100, 4000, 4001}
    taken = {"usedPorts": [4100, 4102, 4104], "projects": {"a": {"ports": {"production": {"blue": 1, "green": 2}}}}}
    assert judged(taken)["a-production"].proposed == (4106, 4107)


@pytest.mark.parametrize(
    ("document", "where", "why"),
    [
        ({"projects": {"a": 4100}}, "projects.a", "not an object"),
        ({"projects": {"a": {"production": {"blue": "4100", "green": 4101}}}}, "projects.a.production.blue", "port"),
        ({"projects": {"a": {"ports": {"production": {"blue": True}}}}}, "projects.a.ports.production.blue", "port"),
        ({"projects": {"a": {"ports": {"production": {"blue": 70000}}}}}, "projects.a.ports.production.blue", "port"),
        ({"projects": {"a;b": {"ports": {"production": {"blue": 4100}}}}}, "projects.a;b.ports.production", "project name"),
        ({"projects": {"a": {"ports": {"prod": {"blue": 4100}}}}}, "projects.a.ports.prod", "environment"),
        ({"ports": {"allocated": {"41x0": "a"}}}, "ports.allocated.41x0", "port"),
        ({"ports": {"allocated": {"4100": None}}}, "ports.allocated.4100", "which project"),
        ({"ports": {"allocated": {"4" * 9000: "a"}}}, "ports.allocated." + "4" * 9000, "port"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told_and_the_rest_is_taken(document: dict[str, Any], where: str, why: str) -> None:
    document = {**document, "projects": {**document.get("projects", {}), "good": {"production": {"blue": 4200, "green": 4201}}}}
    found = read(json.dumps(document), Ranges())
    assert [(each.where, why in each.why) for each in found.unread] == [(where, True)]
    assert [each.place.project for each in found.claims] == ["good"]


@pytest.mark.parametrize(
    "text", ["", "[]", "4100", "{}", '{"a": 1}', '{"projects": {}}', "{", '{"a": 1, "a": 2}', "[" * 100_000, '{"production": 1}']
)
def test_what_is_no_registry_is_refused_in_words(text: str) -> None:
    with pytest.raises(NotARegistry, match=r"^it "):
        read(text, Ranges())


def test_a_clean_file_is_clean() -> None:
    found = judged(CENTRAL)
    assert {each.verdict for each in found.values()} == {Verdict.CLEAN}


def test_the_collision_of_the_founding_file() -> None:
    """4101 is shop's green and, by the other list, site-react's: the whole pair holds, the single port is moved."""
    found = judged(V7)
    assert found["shop-production"].verdict is found["blog-production"].verdict is Verdict.CLEAN
    lone = found["site-react-production"]
    assert (lone.verdict, lone.proposed) == (Verdict.CONFLICT, (4104, 4105))
    assert "4101 is claimed for shop-production too (projects.shop.ports.production)" in lone.why


def test_old_ranges_are_told_with_a_pair_of_ours() -> None:
    found = judged(V6)["shop-production"]
    assert (found.verdict, found.proposed) == (Verdict.CONFLICT, (4100, 4101))
    assert "4000 lies outside 4100-4499, the range of production" in found.why


def test_two_projects_that_wrote_the_same_pair_by_hand() -> None:
    both = {"projects": {name: {"production": {"blue": 4100, "green": 4101}} for name in ("shop", "blog")}}
    found = judged(both)
    assert {each.verdict for each in found.values()} == {Verdict.CONFLICT}
    assert [each.proposed for each in found.values()] == [(4102, 4103), (4104, 4105)]
    # the one whose container has the port keeps it
    found = judged(both, published={4100: SHOP})
    assert found["shop-production"].verdict is Verdict.CLEAN
    assert found["blog-production"].proposed == (4102, 4103)


def test_what_the_registry_has_holds_against_the_file() -> None:
    found = judged(CENTRAL, pairs={SHOP: (4100, 4101), BLOG: (4200, 4201)}, leased={4102: Place("other", "production")})
    assert found["shop-production"].verdict is Verdict.HELD
    assert found["blog-production"].verdict is Verdict.OTHER
    assert found["site-production"].why == ("4102 is leased to another environment",)
    assert "other" not in " ".join(found["site-production"].why).replace("another", "")


def test_a_port_of_somebody_elses_container_is_not_taken_over_and_one_of_nobodys_is() -> None:
    found = judged(CENTRAL, published={4100: Place("other", "staging"), 4102: None}, listening={4104})
    assert found["shop-production"].why == ("4100 is published by a container of another environment",)
    assert found["site-production"].verdict is found["blog-production"].verdict is Verdict.CLEAN


def test_a_range_that_is_full_proposes_nothing() -> None:
    full = judge(read(json.dumps(V6), Ranges()), facts(ranges=Ranges(production=Range(4100, 4101)), leased={4100: BLOG}))
    assert full[0].proposed is None
    assert "no free pair of ports" in full[0].why[-1]


def test_a_whole_pair_is_even_and_the_one_above() -> None:
    where = (Place("a", "production"), "x")
    shapes = [(4100, 4101), (4101, 4102), (4100, 4102), (4100, None), (None, 4101)]
    assert [Claim(where[0], blue, green, where[1]).whole for blue, green in shapes] == [True, False, False, False, False]
    odd = {"projects": {"a": {"production": {"blue": 4101, "green": 4102}}}}
    assert judged(odd)["a-production"].proposed == (4104, 4105)
