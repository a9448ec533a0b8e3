"""What `we apply` calls to make a project as its file says: nothing unnamed, nothing removed, and after it nothing more."""

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from codeb.model.domains import counterpart
from codeb.model.manifest import SETTINGS, Manifest, Name
from codeb.model.manifest_plan import Change, Differs, Host, Plan, Standing, compare, wire
from tests.unit.model.test_manifest import PLACES, manifests

UPDATABLE = frozenset(wire(name) for name in SETTINGS)
DEFAULTS = {
    "type": "docker", "container_port": 3000, "health_path": "/", "memory_mb": 512, "cpus": 1.0, "auto_rollback": True,
    "watch_seconds": 60,
}  # fmt: skip
THERE = Standing(
    DEFAULTS, ("production", "staging", "pr-7"), {("production", "database"), ("staging", "redis")},
    {"shop.example.com": Host("production"), "www.shop.example.com": Host("production", "shop.example.com")},
)  # fmt: skip


def made(plan: Plan) -> list[tuple[str, dict[str, Any]]]:
    return [(each.tool, dict(each.params)) for each in plan.changes]


def test_what_the_file_does_not_name_is_left_alone() -> None:
    assert compare(Manifest("shop"), THERE, UPDATABLE).empty


def test_a_project_that_is_not_there_is_one_operation_as_far_as_it_goes() -> None:
    wanted = Manifest(
        "shop", type="nextjs", container_port=3001, watch_seconds=90, environments=("production", "staging"),
        database=("production", "staging"), redis=("staging",),
        domains=(Name("next.example.com", "staging"), Name("shop.example.com", "production", True)),
    )  # fmt: skip
    plan = compare(wanted, None, frozenset())
    assert made(plan) == [
        ("workflow_init", {
            "projectName": "shop", "environments": ["production", "staging"], "type": "nextjs", "containerPort": 3001,
            "database": True, "domain": "shop.example.com", "redirect": True,
        }),
        ("project_update", {"projectName": "shop", "watchSeconds": 90}),
        ("workflow_init", {"projectName": "shop", "environments": ["staging"], "redis": True}),
        ("domain_setup", {"projectName": "shop", "environment": "staging", "domain": "next.example.com"}),
    ]  # fmt: skip
    assert plan.differs == ()
    assert "+ database of staging" in plan.changes[0].lines


def test_settings_are_one_call_and_what_cannot_be_changed_is_told() -> None:
    wanted = Manifest("shop", type="go", memory_mb=1024, auto_rollback=False, cpus=1.0)
    plan = compare(wanted, THERE, {"memoryMb", "autoRollback"})
    assert made(plan) == [("project_update", {"projectName": "shop", "memoryMb": 1024, "autoRollback": False})]
    assert plan.changes[0].lines == ("~ memory_mb: 512 -> 1024", "~ auto_rollback: true -> false")
    assert [each.text.partition(" cannot")[0] for each in plan.differs] == ["type: docker -> go"]


def test_an_environment_with_what_it_lacks_is_one_operation() -> None:
    wanted = Manifest(
        "shop", environments=("production", "staging", "preview"), database=("staging", "preview"), redis=("preview",)
    )
    plan = compare(wanted, THERE, UPDATABLE)
    assert made(plan) == [
        ("workflow_init", {"projectName": "shop", "environments": ["staging"], "database": True}),
        ("workflow_init", {"projectName": "shop", "environments": ["preview"], "database": True, "redis": True}),
    ]
    assert plan.changes[1].lines == ("+ environment preview", "+ database of preview", "+ redis of preview")
    assert plan.differs == (
        Differs("database of production is not in the file", "db_delete", {"projectName": "shop", "environment": "production"}),
        Differs("redis of staging is not in the file", "redis_delete", {"projectName": "shop", "environment": "staging"}),
    )


def test_nothing_is_removed_and_all_that_is_beyond_the_file_is_told() -> None:
    wanted = Manifest("shop", environments=("production",), database=(), redis=(), domains=())
    plan = compare(wanted, THERE, UPDATABLE)
    assert plan.changes == ()
    assert [each.tool for each in plan.differs] == ["port_release", "db_delete", "redis_delete", "domain_delete", "domain_delete"]
    assert not any("pr-7" in each.text for each in plan.differs)


def test_domains() -> None:
    def of(*names: Name) -> Plan:
        return compare(Manifest("shop", environments=("production", "staging"), domains=names), THERE, UPDATABLE)

    shop = Name("shop.example.com", "production")
    assert of(shop).empty
    assert of(replace(shop, redirect=True)).empty
    assert [each.params for each in of(replace(shop, redirect=False)).differs] == [{"domain": "www.shop.example.com"}]
    moved = of(replace(shop, environment="staging"))
    assert moved.changes == ()
    assert "leads to production, and not to staging" in moved.differs[0].text
    assert "sends its visitors" in of(shop, Name("www.shop.example.com", "production")).differs[0].text
    fresh = of(shop, Name("a.example.com", "staging", True))
    assert made(fresh) == [
        ("domain_setup", {"projectName": "shop", "environment": "staging", "domain": "a.example.com", "redirect": True})
    ]


# what the calls do, as their tools say, and then the plan once more


def after(there: Standing | None, change: Change) -> Standing:
    there = there or Standing(DEFAULTS, ())
    said = dict(change.params)
    told = {name: said[wire(name)] for name in SETTINGS if wire(name) in said}
    there = replace(there, settings={**there.settings, **told})
    if change.tool == "workflow_init":
        places = said["environments"]
        parts = {(place, part) for place in places for part in ("database", "redis") if said.get(part)}
        there = replace(there, environments={*there.environments, *places}, storage={*there.storage, *parts})
        said["environment"] = places[0]
    if "domain" in said:
        assert said["environment"] in there.environments, "a domain needs its environment first"
        hosts = {said["domain"]: Host(said["environment"])}
        beside = counterpart(said["domain"])
        hosts |= {beside: Host(said["environment"], said["domain"])} if said.get("redirect") else {}
        there = replace(there, hosts={**there.hosts, **hosts})
    return there


@st.composite
def standings(draw: st.DrawFn) -> Standing:
    places = draw(st.lists(st.sampled_from(PLACES), unique=True))
    storage = {(place, part) for place in places for part in ("database", "redis") if draw(st.booleans())}
    hosts = draw(st.sets(st.sampled_from(["a.example.com", "b.example.com"]))) if places else set()
    there = {host: Host(draw(st.sampled_from(places))) for host in hosts}
    values = {"type": "go", "memory_mb": 64, "watch_seconds": 0} if draw(st.booleans()) else {}
    return Standing({**DEFAULTS, **values}, places, storage, there)


@settings(max_examples=150, deadline=None)
@given(manifests(), st.none() | standings())
def test_after_all_calls_there_is_nothing_left_to_call(wanted: Manifest, there: Standing | None) -> None:
    before = compare(wanted, there, UPDATABLE)
    now = there
    for change in before.changes:
        now = after(now, change)
    then = compare(wanted, now, UPDATABLE)
    # where both a name and its www. are served, a redirect between them cannot be: the server says so
    served = {each.name for each in wanted.domains or ()}
    if not any(each.redirect and counterpart(each.name) in served for each in wanted.domains or ()):
        assert then.changes == ()
        assert set(before.differs and [each.text for each in before.differs]) == {each.text for each in then.differs}
    if there is not None and now is not None:
        assert set(there.environments) <= set(now.environments)
        assert set(there.storage) <= set(now.storage)
        assert {name: host for name, host in now.hosts.items() if name in there.hosts} == there.hosts
