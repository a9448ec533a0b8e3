"""nftables for real, in a network namespace: connections are let in or not, SSH always, and a bad change comes back by itself.

P2: whatever dies in the middle of a change, what was in force is in force again. S1: nft is run by `drivers/shell.py`.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from codeb.drivers.firewall import pending, ruleset
from codeb.drivers.firewall.nftables import SOURCE, NftablesFirewall
from codeb.errors import FenceLost, StepFailed, Unavailable
from codeb.model.firewall import Gates, Opening, Transport
from tests.contracts.netns import INSIDE, INSIDE6, OUTSIDE, OUTSIDE6, STRANGER, Net, entered, inside, net

pytestmark = [pytest.mark.anyio, pytest.mark.netns]

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


async def test_what_is_not_proven_is_taken_back(machine: Net, servers: dict[int, socket.socket], tmp_path: Path) -> None:
    firewall = wall(machine, tmp_path)
    seen = []

    async def looks() -> None:
        seen.append(machine.opens(8080))
        raise StepFailed("no", code="firewall_unproven")

    with pytest.raises(StepFailed):
        await firewall.change([WEB], [], looks)
    assert seen == [True], "it was in force while it was being proven"
    assert not (await firewall.look()).on, "as it was: off"
    await firewall.change([ONE], [], proven)
    before = ruleset_of(machine)
    with pytest.raises(StepFailed):
        await firewall.change([WEB], [ONE], disproven)
    assert ruleset_of(machine) == before
    assert machine.opens(5432)


async def test_a_proof_that_hangs_is_none(machine: Net, tmp_path: Path) -> None:
    """P3."""
    firewall = wall(machine, tmp_path, seconds=2)
    with pytest.raises(StepFailed) as late:
        await firewall.change([WEB], [], asyncio.Event().wait)  # type: ignore[arg-type]
    assert late.value.code == "firewall_unproven"
    assert not (await firewall.look()).on


CHILD = """
import asyncio, sys
from pathlib import Path
from codeb.drivers.firewall.nftables import NftablesFirewall
from codeb.model.firewall import Gates, Opening, Transport

async def proof():
    print("in force", flush=True)
    await asyncio.sleep(60)

async def main():
    folder, machine, seconds = sys.argv[1:]
    program = ("ip", "netns", "exec", machine, "nft")
    gates = Gates(22, ((Transport.TCP, 80),))
    wall = NftablesFirewall(Path(folder), gates, lambda: None, program=program, seconds=float(seconds))
    await wall.change([Opening(Transport.TCP, 8080, "0.0.0.0/0", "codeb:shop:web")], [], proof)

asyncio.run(main())
"""


@contextlib.contextmanager
def started(machine: Net, tmp_path: Path, seconds: float) -> Iterator[subprocess.Popen[str]]:
    """A process of its own that has changed the firewall, and is proving it."""
    arguments = [sys.executable, "-c", CHILD, str(tmp_path / "firewall"), machine.machine, str(seconds)]
    surroundings = {**os.environ, "PYTHONPATH": str(SOURCE)}
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=surroundings) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "in force\n"
        try:
            yield child
        finally:
            child.kill()


async def test_it_comes_back_by_itself_when_codeb_dies(machine: Net, servers: dict[int, socket.socket], tmp_path: Path) -> None:
    """P2, without another start: the guard outlives who started it."""
    await wall(machine, tmp_path).change([ONE], [], proven)
    before = ruleset_of(machine)
    with started(machine, tmp_path, 4):
        assert machine.opens(8080)
    assert ruleset_of(machine) != before
    end = time.monotonic() + 20
    while ruleset_of(machine) != before:
        assert time.monotonic() < end, (tmp_path / "firewall" / "guard.log").read_text()
        await asyncio.sleep(0.1)
    assert not machine.opens(8080)
    await gone(tmp_path)


async def test_the_next_start_takes_back_at_once(machine: Net, tmp_path: Path) -> None:
    """P2: it does not wait for the guard, and the guard does nothing to what is proven after that."""
    firewall = wall(machine, tmp_path)
    await firewall.change([ONE], [], proven)
    before = ruleset_of(machine)
    with started(machine, tmp_path, 4):
        pass
    assert await firewall.settle()
    assert ruleset_of(machine) == before
    assert not await firewall.settle()
    await firewall.change([LAN], [], proven)
    after = ruleset_of(machine)
    await asyncio.sleep(5)
    assert ruleset_of(machine) == after
    await gone(tmp_path)


async def test_one_that_slept_too_long_proves_nothing(machine: Net, tmp_path: Path) -> None:
    """P6: a process that was paused over the end does not keep what the guard took back."""
    firewall = wall(machine, tmp_path)
    await firewall.change([ONE], [], proven)
    before = ruleset_of(machine)
    with started(machine, tmp_path, 2) as child:
        child.send_signal(signal.SIGSTOP)
        end = time.monotonic() + 20
        while ruleset_of(machine) != before:
            assert time.monotonic() < end
            await asyncio.sleep(0.1)
        child.send_signal(signal.SIGCONT)
        assert child.wait(20) == 1, "its change failed"
    assert ruleset_of(machine) == before
    assert (await firewall.look()).edited == ""


async def test_what_was_taken_back_meanwhile_is_not_kept(machine: Net, tmp_path: Path) -> None:
    """P6: whoever renames the file first decides, and the proof came too late."""
    firewall, folder = wall(machine, tmp_path), tmp_path / "firewall"
    await firewall.change([ONE], [], proven)
    before = ruleset_of(machine)

    async def late() -> None:
        (token,) = pending.left(folder)
        assert await pending.take_back(folder, token, ("ip", "netns", "exec", machine.machine, "nft"))

    with pytest.raises(StepFailed) as refused:
        await firewall.change([WEB], [], late)
    assert refused.value.code == "firewall_unproven"
    assert ruleset_of(machine) == before
    assert (await firewall.look()).edited == ""


async def gone(tmp_path: Path) -> None:
    """Nothing waits any more, and no guard runs."""
    end = time.monotonic() + 10
    while left := [each.name for each in (tmp_path / "firewall").iterdir() if each.name not in ("frame.json", "guard.log")]:
        assert time.monotonic() < end, left
        await asyncio.sleep(0.1)


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


async def test_without_a_guard_nothing_is_changed(machine: Net, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/true")
    monkeypatch.setattr("codeb.drivers.firewall.nftables.ARM_SECONDS", 0.5)
    firewall = wall(machine, tmp_path)
    with pytest.raises(Unavailable):
        await firewall.change([LAN], [], proven)
    assert "codeb" not in ruleset_of(machine)
    assert list((tmp_path / "firewall").glob("*.pending")) == []


async def test_without_nft_it_is_away(tmp_path: Path) -> None:
    firewall = NftablesFirewall(tmp_path / "firewall", GATES, lambda: None, program=("/nonexistent/nft",))
    with pytest.raises(Unavailable):
        await firewall.look()
