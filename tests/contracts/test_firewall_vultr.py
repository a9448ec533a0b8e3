"""The vendor's firewall API: paging, limits, lost answers, rules of others, and no way to change a rule."""

from collections.abc import Iterator
from typing import Any

import pytest

from codeb.drivers.firewall.vultr import VultrFirewall
from codeb.errors import FenceLost, StepFailed, Unavailable
from codeb.model.firewall import Gates, Opening, Transport
from codeb.model.secret import Secret
from tests.vultr import KEY, Group, Vendor, vendor

pytestmark = pytest.mark.anyio

GATES = Gates(22, ((Transport.TCP, 80),))
A, B = (Opening(Transport.TCP, port, "192.0.2.0/24", "codeb:shop:web") for port in (5432, 8080))


@pytest.fixture
def made() -> Iterator[Vendor]:
    with vendor() as it:
        it.rate = 1000
        yield it


async def proven() -> None:
    pass


def wall(made: Vendor, group: Group, key: str = KEY, **how: Any) -> VultrFirewall:
    return VultrFirewall(made.url, Secret(key), group.id, GATES, lambda: None, **how)


def foreign(group: Group, **fields: Any) -> dict[str, Any]:
    group.last += 1
    rule = {
        "id": group.last, "type": "v4", "ip_type": "v4", "action": "accept", "protocol": "tcp", "port": "22",
        "subnet": "203.0.113.0",
        "subnet_size": 24, "source": "", "notes": "the office", **fields,
    }  # fmt: skip
    group.rules[group.last] = rule
    return rule


def ports(group: Group) -> list[tuple[str, str]]:
    return sorted((rule["port"], rule["notes"]) for rule in group.rules.values())


async def test_every_rule_names_project_and_purpose(made: Vendor) -> None:
    group = made.group()
    await wall(made, group).change([A], [], proven)
    assert ("5432", "codeb:shop:web") in ports(group)
    assert {notes for _, notes in ports(group)} == {"codeb:shop:web", "codeb:-:ssh", "codeb:-:public"}


async def test_ssh_that_somebody_opened_to_fewer_is_not_widened(made: Vendor) -> None:
    group = made.group()
    office = foreign(group)
    await wall(made, group).change([A], [], proven)
    assert [rule for rule in group.rules.values() if rule["port"] == "22"] == [office]


async def test_rules_of_others_serve_and_are_never_touched(made: Vendor) -> None:
    group = made.group()
    theirs = [
        foreign(group, port="5432", subnet="192.0.2.0"), foreign(group, protocol="icmp", port=""),
        foreign(group, port="8000:8010"),
        foreign(group, port="443", source="cloudflare"), foreign(group, port="9", notes=""),
    ]  # fmt: skip
    firewall = wall(made, group)
    await firewall.change([A, B], [], proven)
    assert A in (await firewall.look()).others
    await firewall.change([], [A, B, Opening(Transport.TCP, 9, "203.0.113.0/24")], proven)
    assert [rule for rule in theirs if rule not in group.rules.values()] == []
    assert (await firewall.look()).ours == frozenset()


async def test_more_rules_than_a_page_holds(made: Vendor) -> None:
    group = made.group()
    made.page = 7
    many = [Opening(Transport.TCP, 9000 + number, "192.0.2.0/24", "codeb:shop:web") for number in range(30)]
    firewall = wall(made, group)
    await firewall.change(many, [], proven)
    assert (await firewall.look()).ours == frozenset(many)
    assert not await firewall.change(many, [], proven)


async def test_new_ones_come_before_old_ones_go(made: Vendor) -> None:
    """There is no instant at which neither is open."""
    group = made.group()
    firewall = wall(made, group)
    await firewall.change([A], [], proven)
    made.calls.clear()
    await firewall.change([B], [A], proven)
    assert [method for method, _ in made.calls] == ["GET", "POST", "DELETE"]


async def test_too_many_calls_are_waited_for(made: Vendor) -> None:
    group, waited = made.group(), list[float]()

    async def sleep(seconds: float) -> None:
        waited.append(seconds)
        made.seen.clear()

    made.rate = 3
    await wall(made, group, sleep=sleep).change([A, B], [], proven)
    assert waited
    assert min(waited) >= 0.5
    assert {port for port, _ in ports(group)} == {"22", "80", "5432", "8080"}


async def test_a_limit_that_stays_ends(made: Vendor) -> None:
    """P3."""
    made.rate, waited = 0, list[float]()

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    with pytest.raises(Unavailable):
        await wall(made, made.group(), sleep=sleep).look()
    assert (len(waited), sum(waited)) == (4, 7.5)


@pytest.mark.parametrize("number", range(1, 5))
@pytest.mark.parametrize("how", ["fail", "cut"])
async def test_one_call_that_fails_is_made_good(made: Vendor, how: str, number: int) -> None:
    """P2: whichever it is, and whether its effect was there: what was in force is again, or the next try finishes it."""
    group = made.group()
    firewall = wall(made, group)
    await firewall.change([A], [], proven)
    before = ports(group)
    made.calls.clear()
    getattr(made, how).add(number)
    try:
        done = await firewall.change([B], [A], proven)
    except (Unavailable, StepFailed):
        assert ports(group) == before
        made.fail.clear()
        made.cut.clear()
        done = await firewall.change([B], [A], proven)
    made.fail.clear()
    made.cut.clear()
    assert done
    assert (await firewall.look()).ours == {B}


async def test_a_group_that_is_full_refuses_and_keeps_what_it_has(made: Vendor) -> None:
    group = made.group()
    firewall = wall(made, group)
    await firewall.change([A], [], proven)
    before, group.most = ports(group), len(group.rules) + 1
    with pytest.raises(StepFailed) as full:
        await firewall.change([B, Opening(Transport.UDP, 53, "0.0.0.0/0", "codeb:-:dns")], [A], proven)
    assert full.value.code == "firewall_refused"
    assert ports(group) == before


@pytest.mark.parametrize("key", ["wrong", KEY + "x"])
async def test_a_key_that_is_not_taken(made: Vendor, key: str) -> None:
    with pytest.raises(Unavailable) as away:
        await wall(made, made.group(), key=key).look()
    assert KEY not in str(vars(away.value))
    assert "CODEB_VULTR_API_KEY" in away.value.hint


async def test_a_group_that_is_not_there(made: Vendor) -> None:
    with pytest.raises(Unavailable) as away:
        await wall(made, Group()).look()
    assert "CODEB_VULTR_FIREWALL_GROUP" in away.value.hint


@pytest.mark.parametrize("calls", [0, 1])
async def test_who_may_not_act_changes_nothing(made: Vendor, calls: int) -> None:
    """P6: at once, or by the time the list of rules is there."""
    left = iter(range(calls))

    def permit() -> None:
        if next(left, None) is None:
            raise FenceLost("another process leads")

    firewall = VultrFirewall(made.url, Secret(KEY), made.group().id, GATES, permit)
    with pytest.raises(FenceLost):
        await firewall.change([A], [], proven)
    assert [method for method, _ in made.calls if method != "GET"] == []
