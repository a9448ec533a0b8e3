"""A real server that guards a machine of its own, a network namespace: knocked on from outside, killed, and started again.

P2: a death at any point of a change leaves record and firewall in agreement. P15: what somebody takes away comes back.
"""

import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from codeb.drivers.firewall import pending
from codeb.drivers.firewall.ruleset import GONE
from tests.contracts.netns import Net, entered, inside, net
from tests.stage import Stage

pytestmark = [pytest.mark.docker, pytest.mark.proxy, pytest.mark.netns]

PORT = 8080
OPEN = {"port": PORT, "cidr": "192.0.2.0/25", "purpose": "web"}


@pytest.fixture
def machine() -> Iterator[Net]:
    """This thread lives in it, and so does every process that it starts."""
    with net() as made, entered(made.machine):
        yield made


@pytest.fixture
def service(machine: Net) -> Iterator[socket.socket]:
    server = socket.create_server(("0.0.0.0", PORT))
    yield server
    server.close()


@pytest.fixture
def stage(machine: Net, service: socket.socket) -> Iterator[Stage]:
    with Stage(FIREWALL="nftables", RECONCILE_SECONDS="1") as made:
        yield made


def until(true: Callable[[], Any], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.2)


def rules(stage: Stage) -> list[Any]:
    return [(each["port"], each["inForce"]) for each in stage.call("firewall_list")["rules"]]


def test_it_is_turned_on_by_somebody_and_stays_on(machine: Net, stage: Stage) -> None:
    assert stage.call("firewall_list")["on"] is False
    assert machine.opens(PORT), "a setting alone closes nothing"
    assert stage.call("firewall_sync", fix=True)["mended"] == 1
    assert not machine.opens(PORT)
    stage.call("firewall_allow", **OPEN)
    assert machine.opens(PORT)
    assert rules(stage) == [(PORT, True)]
    inside(machine.machine, "nft", "flush", "chain", "inet", "codeb", "input")
    assert not machine.opens(PORT)
    until(lambda: machine.opens(PORT))
    inside(machine.machine, "nft", "delete", "table", "inet", "codeb")
    until(lambda: "dport 8080" in inside(machine.machine, "nft", "list", "ruleset") and machine.opens(PORT))
    until(lambda: stage.call("firewall_sync")["findings"] == [])
    stage.call("firewall_deny", port=PORT)
    assert not machine.opens(PORT)


@pytest.mark.parametrize(
    ("point", "stays"),
    [
        ("firewall.apply.do.effect", False), ("firewall.record.do.record", True),
        pytest.param("firewall.record.do.effect", False, marks=pytest.mark.long),
        pytest.param("firewall.settle.do.effect", True, marks=pytest.mark.long),
    ],
)  # fmt: skip
def test_a_death_leaves_record_and_firewall_in_agreement(machine: Net, service: socket.socket, point: str, stays: bool) -> None:
    """The first rule turns the firewall on, and what it opens is closed again if it is not on record."""
    stage = Stage(FIREWALL="nftables", RECONCILE_SECONDS="1")
    try:
        stage.start(crash_at=point)
        with pytest.raises((OSError, AssertionError)):
            stage.call("firewall_allow", **OPEN)
        stage.until_dead()
        assert machine.opens(PORT), "it died after the act"
        stage.start()
        until(lambda: not stage.call("operation_list", running=True)["operations"])
        assert (rules(stage), machine.opens(PORT)) == ([(PORT, True)] if stays else [], stays)
        assert stage.call("firewall_sync")["findings"] == []
    finally:
        stage.close()


def test_the_next_start_takes_back_what_was_not_proven(machine: Net, stage: Stage) -> None:
    stage.call("firewall_sync", fix=True)
    before = inside(machine.machine, "nft", "-s", "list", "table", "inet", "codeb")
    stage.kill()
    folder = stage.home / "firewall"
    pending.begin(folder, "0123456789abcdef", GONE + before)
    hole = f'insert rule inet codeb input meta nfproto ipv4 tcp dport {PORT} accept comment "codeb:-:web"\n'
    inside(machine.machine, "nft", "-f", "-", text=hole)
    assert machine.opens(PORT)
    stage.start()
    assert not machine.opens(PORT)
    assert "was not proven was taken back" in stage.log
    assert inside(machine.machine, "nft", "-s", "list", "table", "inet", "codeb") == before
    assert pending.left(folder) == []
