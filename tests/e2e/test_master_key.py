"""The master key of a real server: where it is, its change on the command line, and a change that is killed (P2, S11)."""

import asyncio
import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from codeb.contracts.store import Registry, Remembered
from codeb.drivers.store.sql import open_store
from codeb.drivers.vault.aesgcm import AesGcmVault
from codeb.drivers.vault.keyfile import KeyFile
from codeb.model.sealed import about_answer
from codeb.model.secret import Secret
from tests.e2e.nursery import QuickStage
from tests.stage import Stage
from tests.stores import START, Clock

pytestmark = [pytest.mark.docker, pytest.mark.proxy]

MANY = 300
"""more than one batch"""


@pytest.fixture
def stage() -> Iterator[Stage]:
    """Not started yet."""
    made = QuickStage()
    yield made
    made.close()


def vault_of(home: Path) -> AesGcmVault:
    vault = AesGcmVault(KeyFile(home))
    assert vault.read()
    vault.shut(None)
    return vault


def with_registry(home: Path, act: Any) -> Any:
    """Do this with the registry of a home whose server does not run."""

    async def run() -> Any:
        store = await open_store(f"sqlite:///{home}/codeb.db", mirror=None, now=Clock())
        try:
            return await store.transact(act)
        finally:
            await store.close()

    return asyncio.run(run())


def seal(home: Path, count: int) -> None:
    """As that many answers with a secret leave it."""
    vault = vault_of(home)

    async def act(registry: Registry) -> None:
        for number in range(count):
            sealed = vault.seal(Secret(f"canary {number}"), about_answer("key_1", f"k{number:04d}"))
            await registry.answers.put(Remembered("key_1", f"k{number:04d}", "token_create", "f" * 64, START, sealed=sealed))

    with_registry(home, act)


def opened(home: Path, count: int) -> list[str]:
    vault = vault_of(home)

    async def act(registry: Registry) -> list[str]:
        rows = [await registry.answers.find("key_1", f"k{number:04d}") for number in range(count)]
        return [vault.open(row.sealed or "", about_answer(row.key_id, row.key)).reveal() for row in rows if row]

    found: list[str] = with_registry(home, act)
    return found


def whole(count: int) -> list[str]:
    return [f"canary {number}" for number in range(count)]


def we(stage: Stage, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "codeb.entry.cli.main", *words]
    return subprocess.run(command, env=stage.environment, capture_output=True, text=True, timeout=60, check=False)


def lived(stage: Stage, count: int) -> None:
    """It has run, and something is sealed."""
    stage.start()
    assert stage.stop() == 0
    seal(stage.home, count)
    stage.start()


def test_it_is_changed_on_the_command_line(stage: Stage) -> None:
    lived(stage, 5)
    path = stage.home / "master.key"
    before = path.read_text()
    shown = we(stage, "keys", "rotate-master", "--dry-run", "--json")
    assert (shown.returncode, path.read_text()) == (0, before), shown.stderr
    changed = we(stage, "keys", "rotate-master", "--json")
    assert changed.returncode == 0, changed.stderr
    said = json.loads(changed.stdout)
    assert (said["resealed"], said["unreadable"], said["wasInterrupted"], len(said["retired"])) == (5, 0, False, 1)
    assert path.read_text() not in changed.stdout + changed.stderr
    assert len(path.read_text().split()) == 1
    assert path.read_text() != before
    assert path.stat().st_mode & 0o777 == 0o600
    refused = we(stage, "keys", "rotate-master", "--lost", "--json")
    assert refused.returncode != 0
    assert "not_lost" in refused.stdout + refused.stderr
    assert stage.stop() == 0
    assert opened(stage.home, 5) == whole(5)


def test_one_kept_elsewhere_is_made_and_used_there(stage: Stage) -> None:
    kept = stage.home / "kept"
    kept.mkdir(mode=0o700)
    stage.settings["MASTER_KEY_FILE"] = str(kept / "codeb.key")
    stage.start()
    made = (kept / "codeb.key").read_text()
    assert not (stage.home / "master.key").exists()
    assert (kept / "codeb.key").stat().st_mode & 0o777 == 0o600
    assert stage.call("keys_rotate")["retired"]
    assert (kept / "codeb.key").read_text() != made
    assert stage.stop() == 0
    (kept / "codeb.key").write_text(made)
    stage.start()
    status, said = stage.ask("keys_rotate", {})
    assert (status, said["code"]) == (503, "vault_closed"), "it is not the registry's any more"
    assert stage.stop() == 0
    stage.settings["MASTER_KEY_FILE"] = "kept/codeb.key"
    stage.start()
    assert stage.process is not None
    assert stage.process.poll() == 1, "a relative path is refused"
    assert "CODEB_MASTER_KEY_FILE" in stage.log


@pytest.mark.parametrize("moment", ["both keys are there", "one batch later", "at its end"])
def test_killed_in_the_middle_nothing_becomes_unreadable(stage: Stage, moment: str) -> None:
    """P2: at whatever instant; the next call goes on from there."""
    lived(stage, MANY)
    path = stage.home / "master.key"
    call = threading.Thread(target=_changed, args=(stage,), daemon=True)
    call.start()
    end = time.monotonic() + 20
    while len(path.read_text().split()) < 2:
        assert time.monotonic() < end, "it never began"
    time.sleep({"both keys are there": 0, "one batch later": 0.03, "at its end": 0.3}[moment])
    stage.kill()
    call.join(20)
    keys = len(path.read_text().split())
    if moment == "both keys are there":
        assert keys == 2, "it was in the middle"
    stage.start()
    said = stage.call("keys_rotate")
    assert said["wasInterrupted"] is (keys == 2)
    assert said["unreadable"] == 0
    assert len(path.read_text().split()) == 1
    assert stage.stop() == 0
    assert opened(stage.home, MANY) == whole(MANY)


def _changed(stage: Stage) -> None:
    with contextlib.suppress(OSError):
        stage.ask("keys_rotate", {})
