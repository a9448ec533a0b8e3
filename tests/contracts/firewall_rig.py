"""What the tests of real nftables share: a machine, servers on it, its firewall."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from codeb.drivers.firewall.nftables import NftablesFirewall
from codeb.errors import StepFailed
from codeb.model.firewall import Gates, Opening, Transport
from tests.contracts.netns import OUTSIDE, Net, inside, net

GATES = Gates(22, ((Transport.TCP, 80),))
ONE = Opening(Transport.TCP, 5432, f"{OUTSIDE}/32", "codeb:shop:database")
LAN = Opening(Transport.TCP, 5432, "192.0.2.0/25", "codeb:shop:database")
WEB = Opening(Transport.TCP, 8080, "0.0.0.0/0", "codeb:shop:web")


@pytest.fixture
def machine() -> Iterator[Net]:
    with net() as made:
        yield made


@pytest.fixture
def servers(machine: Net) -> Iterator[dict[int, socket.socket]]:
    made = {port: machine.listen(machine.machine, port) for port in (22, 80, 5432, 8080)}
    yield made
    for each in made.values():
        each.close()


def wall(machine: Net, folder: Path, *, seconds: float = 20.0) -> NftablesFirewall:
    program = ("ip", "netns", "exec", machine.machine, "nft")
    return NftablesFirewall(folder / "firewall", GATES, lambda: None, program=program, seconds=seconds)


async def proven() -> None:
    pass


async def disproven() -> None:
    raise StepFailed("the database is not reached", code="firewall_unproven")


def ruleset_of(machine: Net) -> str:
    return inside(machine.machine, "nft", "-s", "list", "ruleset")
