"""A change of nftables that is not proven comes back by itself, whatever becomes of who made it (P2, P3, P6)."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from codeb.drivers.firewall import pending
from codeb.drivers.firewall.nftables import SOURCE
from codeb.errors import StepFailed, Unavailable
from tests.contracts.firewall_rig import LAN, ONE, WEB, disproven, machine, proven, ruleset_of, servers, wall
from tests.contracts.netns import Net

__all__ = ["machine", "servers"]

pytestmark = [pytest.mark.anyio, pytest.mark.netns]


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


async def test_without_a_guard_nothing_is_changed(machine: Net, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/true")
    monkeypatch.setattr("codeb.drivers.firewall.nftables.ARM_SECONDS", 0.5)
    firewall = wall(machine, tmp_path)
    with pytest.raises(Unavailable):
        await firewall.change([LAN], [], proven)
    assert "codeb" not in ruleset_of(machine)
    assert list((tmp_path / "firewall").glob("*.pending")) == []
