"""One suite on every firewall: the memory twin, nftables in a network namespace, the vendor's API on a stand-in."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from codeb.drivers.firewall.condition import Condition
from codeb.drivers.firewall.memory import MemoryFirewall
from codeb.drivers.firewall.nftables import NftablesFirewall
from codeb.drivers.firewall.none import NoFirewall
from codeb.drivers.firewall.vultr import VultrFirewall
from codeb.errors import Conflict, StepFailed
from codeb.model.firewall import Gates, Opening, Transport
from codeb.model.secret import Secret
from tests.contracts.netns import net
from tests.vultr import KEY, vendor

pytestmark = pytest.mark.anyio

GATES = Gates(22, ((Transport.TCP, 80), (Transport.UDP, 443)))
KINDS = ["memory", pytest.param("nftables", marks=pytest.mark.netns), "vultr"]


def opening(port: int, cidr: str = "192.0.2.0/24", kind: Transport = Transport.TCP, comment: str = "codeb:shop:web") -> Opening:
    return Opening(kind, port, cidr, comment)


A, B = opening(5432, "192.0.2.7/32"), opening(8080, "0.0.0.0/0")
ALL = [A, B, opening(8080, "::/0"), opening(53, "2001:db8::/64", Transport.UDP), opening(6379, "2001:db8::7/128"), opening(65535)]


@pytest.fixture(params=KINDS)
def wall(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    match request.param:
        case "memory":
            yield MemoryFirewall()
        case "nftables":
            with net() as made:
                program = ("ip", "netns", "exec", made.machine, "nft")
                yield NftablesFirewall(tmp_path / "firewall", GATES, lambda: None, program=program, seconds=20)
        case _:
            with vendor() as made:
                made.rate = 1000
                yield VultrFirewall(made.url, Secret(KEY), made.group().id, GATES, lambda: None)


async def proven() -> None:
    pass


async def disproven() -> None:
    raise StepFailed("no", code="firewall_unproven")


async def test_what_is_opened_is_open_and_what_is_closed_is_not(wall: Any) -> None:
    assert await wall.change(ALL, [], proven)
    standing = await wall.look()
    assert (standing.on, standing.ours, standing.edited) == (True, frozenset(ALL), "")
    assert {each.comment for each in standing.ours} == {"codeb:shop:web"}
    assert await wall.change([], [A, B], proven)
    assert (await wall.look()).ours == frozenset(ALL) - {A, B}


async def test_the_same_again_changes_nothing(wall: Any) -> None:
    assert await wall.change([A, B], [], proven)
    assert not await wall.change([A, B], [], proven)
    assert not await wall.change([A], [opening(9)], disproven), "and so there is nothing to prove"
    assert (await wall.look()).ours == {A, B}


async def test_a_change_touches_no_other_opening(wall: Any) -> None:
    await wall.change([A], [], proven)
    await wall.change([B], [], proven)
    assert (await wall.look()).ours == {A, B}
    await wall.change([], [A], proven)
    assert (await wall.look()).ours == {B}


async def test_what_is_not_proven_is_taken_back(wall: Any) -> None:
    """P2."""
    await wall.change([A], [], proven)
    before = await wall.look()
    seen = []

    async def looks() -> None:
        seen.append((await _within(wall)).ours)
        raise StepFailed("no", code="firewall_unproven")

    with pytest.raises(StepFailed):
        await wall.change([B], [A], looks)
    assert seen == [{B}]
    assert await wall.look() == before
    assert not await wall.settle(), "nothing is left of it"


async def _within(wall: Any) -> Any:
    return await wall.look()


async def test_what_stays_open_in_any_case_is_nobodys_to_close(wall: Any) -> None:
    await wall.change([A], [], proven)
    await wall.change([], [A, *GATES.openings], proven)
    standing = await wall.look()
    assert (standing.ours, standing.edited) == (frozenset(), "")
    if wall.provider != "memory":
        assert set(GATES.openings) <= standing.open
        assert not await wall.change([GATES.openings[2]], [], proven), "it is open"


async def test_a_port_that_is_none_is_refused(wall: Any) -> None:
    await wall.change([A], [], proven)
    if wall.provider == "memory":
        wall.refused.add(99999)
    with pytest.raises(StepFailed) as refused:
        await wall.change([opening(99999)], [A], proven)
    assert refused.value.code == "firewall_refused"
    assert (await wall.look()).ours == {A}


async def test_how_it_is_in_one_line(wall: Any) -> None:
    await wall.change([A], [], proven)
    said = await Condition(wall).check()
    assert (said.name, said.status) == ("firewall", "pass")
    assert "1 openings" in said.text
    if wall.provider == "memory":
        wall.edited = "somebody was here"
        assert ((await Condition(wall).check()).status, "somebody" in (await Condition(wall).check()).text) == ("warn", True)
        wall.off = True
        assert "every port is open" in (await Condition(wall).check()).text


async def test_without_a_firewall_nothing_is_opened() -> None:
    wall = NoFirewall()
    assert not (await wall.look()).on
    with pytest.raises(Conflict):
        await wall.change([A], [], proven)
    assert not await wall.change([], [A], proven)
    assert not await wall.settle()
