"""nftables for real, in a network namespace: connections are let in or not, SSH always, and other tables are left alone.

S1: nft is run by `drivers/shell.py`.
"""

import json
import socket
from pathlib import Path

import pytest

from codeb.drivers.firewall import pending, ruleset
from codeb.drivers.firewall.nftables import NftablesFirewall
from codeb.errors import FenceLost, StepFailed, Unavailable
from codeb.model.firewall import Opening, Transport
from tests.contracts.firewall_rig import GATES, LAN, ONE, WEB, machine, proven, ruleset_of, servers, wall
from tests.contracts.netns import INSIDE, INSIDE6, OUTSIDE, OUTSIDE6, STRANGER, Net, entered, inside

__all__ = ["machine", "servers"]

pytestmark = [pytest.mark.anyio, pytest.mark.netns]


async def test_it_is_closed_but_for_what_is_opened(machine: Net, servers: dict[int, socket.socket], tmp_path: Path) -> None:
    firewall = wall(machine, tmp_path)
    assert [machine.opens(port) for port in (22, 80, 5432, 8080)] == [True] * 4
    assert not (await firewall.look()).on
    assert await firewall.change([], [], proven)
    assert [machine.opens(port) for port in (22, 80, 5432, 8080)] == [True, True, False, False]
    assert await firewall.change([ONE], [], proven)
    assert machine.opens(5432)
    assert not machine.opens(5432, STRANGER)
    assert await firewall.change([WEB], [ONE], proven)
    assert [machine.opens(port) for port in (22, 5432, 8080)] == [True, False, True]
    assert machine.opens(8080, STRANGER)
    standing = await firewall.look()
    assert (standing.ours, standing.edited) == (frozenset({WEB}), "")
    assert [each.comment for each in standing.ours] == ["codeb:shop:web"]
    assert list((tmp_path / "firewall").glob("*.pending")) == []


def talks(machine: Net, kind: socket.SocketKind, family: socket.AddressFamily, port: int) -> bool:
    """Whether a word from outside comes to somebody who listens inside."""
    here, there = (INSIDE, OUTSIDE) if family == socket.AF_INET else (INSIDE6, OUTSIDE6)
    with entered(machine.machine):
        server = socket.socket(family, kind)
    with entered(machine.street):
        line = socket.socket(family, kind)
    with server, line:
        server.settimeout(0.8)
        line.settimeout(0.8)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((here, port))
        line.bind((there, 0))
        try:
            if kind == socket.SOCK_DGRAM:
                line.sendto(b"word", (here, port))
                return server.recvfrom(16)[0] == b"word"
            server.listen()
            line.connect((here, port))
        except OSError:
            return False
        return True


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
async def test_each_family_and_transport(
    machine: Net, tmp_path: Path, family: socket.AddressFamily, kind: socket.SocketKind
) -> None:
    """Also that neighbours go on finding each other: IPv6 has nothing but ICMP for it."""
    firewall = wall(machine, tmp_path)
    source = f"{OUTSIDE}/32" if family == socket.AF_INET else f"{OUTSIDE6}/128"
    right, other = (Transport.TCP, Transport.UDP) if kind == socket.SOCK_STREAM else (Transport.UDP, Transport.TCP)
    await firewall.change([Opening(other, 9000, source, "codeb:shop:web")], [], proven)
    assert not talks(machine, kind, family, 9000)
    await firewall.change([Opening(right, 9000, source, "codeb:shop:web")], [], proven)
    inside(machine.machine, "ip", "neigh", "flush", "all")
    assert talks(machine, kind, family, 9000)
    assert not talks(machine, kind, family, 9001)


@pytest.mark.parametrize("by", ["nft", "iptables"])
async def test_a_published_port_is_closed_in_the_forward_chain(machine: Net, tmp_path: Path, by: str) -> None:
    """Finding 5: it never passes the input hook."""
    box = machine.listen(machine.box, 80)
    machine.publish(5440, 80, by)
    firewall = wall(machine, tmp_path)
    assert machine.opens(5440)
    await firewall.change([], [], proven)
    assert not machine.opens(5440)
    await firewall.change([Opening(Transport.TCP, 5440, f"{OUTSIDE}/32", "codeb:shop:database")], [], proven)
    assert machine.opens(5440)
    assert not machine.opens(5440, STRANGER)
    # the port behind it is nobody's to open: what was asked for counts
    await firewall.change([Opening(Transport.TCP, 80, "0.0.0.0/0", "codeb:shop:web")], [], proven)
    await firewall.change([], [Opening(Transport.TCP, 5440, f"{OUTSIDE}/32")], proven)
    assert not machine.opens(5440)
    box.close()


async def test_who_is_connected_stays_connected(machine: Net, servers: dict[int, socket.socket], tmp_path: Path) -> None:
    """Also a connection from before there was any firewall, which no connection tracking knows."""
    lines = []
    for port in (22, 8080):
        line = machine.knock(port)
        assert line is not None
        lines.append((line, servers[port].accept()[0]))
    await wall(machine, tmp_path).change([], [], proven)
    for line, served in lines:
        served.settimeout(2)
        line.settimeout(2)
        for number in range(3):
            line.sendall(b"ping%d" % number)
            assert served.recv(16) == b"ping%d" % number
            served.sendall(b"pong")
            assert line.recv(16) == b"pong"
        line.close()
        served.close()
    assert not machine.opens(8080)


async def test_the_same_again_changes_nothing(machine: Net, tmp_path: Path) -> None:
    firewall = wall(machine, tmp_path)
    assert await firewall.change([LAN, WEB], [], proven)
    before = inside(machine.machine, "nft", "-a", "list", "ruleset")
    assert not await firewall.change([LAN, WEB], [ONE], proven)
    assert inside(machine.machine, "nft", "-a", "list", "ruleset") == before, "not even written anew"
    again = wall(machine, tmp_path)
    assert not await again.change([WEB], [], proven), "another process knows as much"


async def test_what_nft_refuses_changes_nothing(machine: Net, tmp_path: Path) -> None:
    firewall = wall(machine, tmp_path)
    await firewall.change([LAN], [], proven)
    before, guarded = ruleset_of(machine), (tmp_path / "firewall" / "guard.log").stat().st_ctime_ns
    for bad in (
        Opening(Transport.TCP, 99999, "0.0.0.0/0", "codeb:shop:web"),
        Opening(Transport.TCP, 80, "10.0.0.0/8", 'a"; drop; "'),
    ):
        with pytest.raises(StepFailed) as refused:
            await firewall.change([bad], [], proven)
        assert refused.value.code == "firewall_refused"
        assert ruleset_of(machine) == before
        assert (tmp_path / "firewall" / "guard.log").stat().st_ctime_ns == guarded, "it was only rehearsed"


async def test_tables_of_others_are_not_touched(machine: Net, tmp_path: Path) -> None:
    foreign = "table ip foreign {\nchain c {\ntype filter hook input priority 5; policy accept;\ntcp dport 9 drop\n}\n}\n"
    inside(machine.machine, "nft", "-f", "-", text=foreign)
    listed = ("nft", "-a", "list", "table", "ip", "foreign")
    before = inside(machine.machine, *listed)
    firewall = wall(machine, tmp_path)
    await firewall.change([LAN], [], proven)
    await firewall.change([], [LAN], proven)
    assert inside(machine.machine, *listed) == before


async def test_what_somebody_else_did_is_seen_and_mended(machine: Net, servers: dict[int, socket.socket], tmp_path: Path) -> None:
    firewall = wall(machine, tmp_path)
    await firewall.change([LAN], [], proven)
    sound = ruleset_of(machine)
    table = json.loads(inside(machine.machine, "nft", "-j", "-a", "list", "table", "inet", "codeb"))["nftables"]
    rules = [each["rule"] for each in table if "rule" in each]
    harms = [
        ("nft", "delete", "rule", "inet", "codeb", each["chain"], "handle", str(each["handle"])) for each in rules
    ] + [
        ("nft", "insert", "rule", "inet", "codeb", "input", "tcp", "dport", "22", "drop"),
        ("nft", "add", "rule", "inet", "codeb", "input", "tcp", "dport", "8080", "accept"),
        ("nft", "chain", "inet", "codeb", "input", "{ policy accept; }"),
        ("nft", "flush", "table", "inet", "codeb"),
    ]  # fmt: skip
    for harm in harms:
        inside(machine.machine, *harm)
        assert (await firewall.look()).edited, harm
        assert await firewall.change([LAN], [], proven)
        assert ruleset_of(machine) == sound, harm
        # handles are new after each writing
        inside(machine.machine, "nft", "-f", "-", text=ruleset.GONE + sound[sound.index("table inet codeb") :])
        table = json.loads(inside(machine.machine, "nft", "-j", "-a", "list", "table", "inet", "codeb"))["nftables"]
        fresh = [each["rule"] for each in table if "rule" in each]
        assert [each["handle"] for each in fresh] == [each["handle"] for each in rules]
    comment = 'comment "codeb:ghost:web"'
    for chain, port in (("input", "tcp dport 8081"), ("forward", "meta l4proto tcp ct status dnat ct original proto-dst 8081")):
        text = f"insert rule inet codeb {chain} position {_last(machine, chain)} meta nfproto ipv4 {port} accept {comment}\n"
        inside(machine.machine, "nft", "-f", "-", text=text)
    standing = await firewall.look()
    assert standing.edited == ""
    assert {str(each) for each in standing.ours - {LAN}} == {"8081/tcp from 0.0.0.0/0"}
    inside(machine.machine, "nft", "delete", "table", "inet", "codeb")
    standing = await firewall.look()
    assert (standing.on, standing.begun) == (False, True)


def _last(machine: Net, chain: str) -> int:
    table = json.loads(inside(machine.machine, "nft", "-j", "-a", "list", "chain", "inet", "codeb", chain))["nftables"]
    return int([each["rule"]["handle"] for each in table if "rule" in each][-1])


@pytest.mark.parametrize("calls", [0, 1])
async def test_who_may_not_act_changes_nothing(machine: Net, tmp_path: Path, calls: int) -> None:
    """P6: at once, or by the time its guard is there."""
    left = iter(range(calls))

    def permit() -> None:
        if next(left, None) is None:
            raise FenceLost("another process leads")

    program = ("ip", "netns", "exec", machine.machine, "nft")
    firewall = NftablesFirewall(tmp_path / "firewall", GATES, permit, program=program)
    with pytest.raises(FenceLost):
        await firewall.change([LAN], [], proven)
    assert "codeb" not in ruleset_of(machine)
    assert pending.left(tmp_path / "firewall") == []


async def test_without_nft_it_is_away(tmp_path: Path) -> None:
    firewall = NftablesFirewall(tmp_path / "firewall", GATES, lambda: None, program=("/nonexistent/nft",))
    with pytest.raises(Unavailable):
        await firewall.look()
