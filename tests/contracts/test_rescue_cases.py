"""P10: what is believed, what is rebuilt from what, and when a start is refused: one by one."""

import contextlib
import json
import random
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from codeb.contracts.store import Snapshot
from codeb.drivers.identity import probe_key
from codeb.drivers.proxy.caddyfile import CaddySettings, render_site
from codeb.drivers.store import migrate, sqlite
from codeb.drivers.store.mirror import Mirror, verified
from codeb.drivers.store.rescue import make_sound
from codeb.drivers.store.sql import open_store
from codeb.drivers.world import SystemWorld
from codeb.errors import Unavailable
from codeb.model.access import Approval
from codeb.model.names import Place, Slot
from codeb.model.specs import Site
from codeb.wiring import first_key
from tests.contracts.harms import PASSING, Past, begin, home, past, twice, zero_all
from tests.stores import PROD, START, Clock, clock, operation
from tests.unit.drivers.test_mirror import Crash, crashing

pytestmark = pytest.mark.anyio
__all__ = ["clock", "home", "past"]


async def test_a_store_swapped_for_an_older_one_is_not_gone_on_with(past: Past, home: Path, clock: Clock) -> None:
    """P10: it is sound, its log too, and in it the key that was revoked since is not. What is history in it is taken along."""
    for name in ("codeb.db", "codeb.db-wal", "codeb.db-shm"):
        (home / name).unlink(missing_ok=True)
        if (past.old / name).exists():
            shutil.copy(past.old / name, home / name)
    notes = await twice(home, past, clock)
    assert "older than the registry's files" in notes[0] and "rebuilt" in notes[1]
    store, _ = await begin(home, clock)
    async with store.read() as registry:
        assert (await registry.journal.get("op_1")) is not None
        assert (await registry.deployments.get("d1")) is not None
    await store.close()


async def test_what_the_store_says_is_held_against_the_mirror(past: Past, home: Path, clock: Clock) -> None:
    """P10: a change that no transaction of ours made, to SQLite as good as any: nobody gets a right by it."""
    with contextlib.closing(sqlite3.connect(home / "codeb.db")) as database:
        database.execute("UPDATE api_keys SET role = 'owner', revoked_at = NULL")
        database.commit()
    notes = await twice(home, past, clock)
    assert "does not say what the registry's files of the same generation say" in notes[0]


async def test_what_came_over_and_what_did_not(past: Past, home: Path, clock: Clock) -> None:
    """Terminal history yes, operations under way no; a lock is free and its number higher than any its holder had."""
    (home / "registry/manifest.json").write_text("{}")
    with contextlib.closing(sqlite3.connect(home / "codeb.db")) as database:
        database.execute("UPDATE api_keys SET revoked_at = ? WHERE id = 'key_3'", (START.replace(tzinfo=None).isoformat(" "),))
        database.execute("UPDATE teams SET approval = 'human'")
        database.execute("UPDATE projects SET limits = '{' WHERE name = 'cart'")
        database.execute("UPDATE meta SET generation = generation + 5")
        database.commit()
    store, _ = await begin(home, clock)
    async with store.write() as registry:
        # a promote writes to the deployment of what it promotes: d2 had no row that could be taken along
        await registry.deployments.change("d2", promoted_at=START)
    notes = " ".join(store.rescued.notes)  # type: ignore[attr-defined]
    assert "1 operations, " in notes and "1 operations were under way" in notes and "are not in it" in notes
    assert store.snapshot.keys[PASSING].revoked_at == START, "revoked in any copy is revoked"
    assert {team.approval for team in store.snapshot.teams.values()} == {Approval.HUMAN}, "a policy only grows stricter"
    assert store.snapshot.generation == past.truth.generation + 6
    async with store.write() as registry:
        assert await registry.journal.get("op_2") is None and await registry.journal.running(Place("cart", "production")) is None
        opened = await registry.journal.open(operation("op_3", (Place("cart", "production"),)), owner="me:2")
        assert opened.fence == 3
    await store.close()


async def test_a_deleted_project_is_rebuilt_as_deleted(past: Past, home: Path, clock: Clock) -> None:
    """P10, S25: its week goes on from the moment it was deleted; its ports stay leased."""
    store, _ = await begin(home, clock)
    async with store.write() as registry:
        await registry.projects.set_state("cart", "deleted", START)
    leases = store.snapshot.leases
    await store.close()
    written = json.loads((home / "registry/ssot.json").read_text())["projects"]["cart"]
    assert (written["state"], written["deletedAt"]) == ("deleted", START.isoformat())
    for name in ("codeb.db", "codeb.db-wal", "codeb.db-shm"):
        (home / name).unlink(missing_ok=True)
    store, _ = await begin(home, clock)
    cart = store.snapshot.projects["cart"]
    assert (cart.state, cart.deleted_at, store.snapshot.leases) == ("deleted", START, leases)
    await store.close()


async def test_a_home_that_lost_everything_is_not_a_new_one(past: Past, home: Path, clock: Clock) -> None:
    """P10: each sign alone is enough; what the refusal names is what is in the way of a new beginning."""
    sites = home / "caddy" / "sites" / "shop-production.caddy"
    for sign in (home / "instance", home / "owner.key", sites):
        shutil.rmtree(home)
        sites.parent.mkdir(parents=True)
        (home / "caddy" / "slots").mkdir()
        sign.write_bytes((past.now / sign.name).read_bytes() if sign is not sites else b"x")
        for empty in (False, True):
            if empty:
                (home / "codeb.db").write_bytes(b"")
            with pytest.raises(Unavailable) as refused:
                await begin(home, clock)
            assert refused.value.code == "registry_lost" and str(sign) in refused.value.hint
    sites.unlink()
    (home / "codeb.db").unlink()
    store, _ = await begin(home, clock)
    assert store.snapshot.generation == 0 and store.rescued.notes == ()  # type: ignore[attr-defined]
    await store.close()


async def test_a_first_start_may_die_anywhere(tmp_path: Path, clock: Clock) -> None:
    """A new home stays one: with an empty file, with a schema and no registry, with a planted owner.key."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "server.pid").write_text("1\n")
    (home / "owner.key").write_text("codeb_main_owner_planted\n")
    (home / "codeb.db").write_bytes(b"")
    assert (await make_sound(home / "codeb.db", home, Mirror(home), clock)).notes == ()
    made = sqlite.engine(home / "codeb.db", begin="BEGIN IMMEDIATE")
    migrate.upgrade(made)
    made.dispose()
    store, _ = await begin(home, clock)
    assert store.rescued.notes == () and store.snapshot.generation == 0  # type: ignore[attr-defined]
    await store.close()


async def test_a_death_while_the_files_are_written_leaves_one_whole_set(past: Past, tmp_path: Path, clock: Clock) -> None:
    """Of before or of after, never a mixture, whatever number of times it fails in a row; a revocation is never lost."""
    old = await snapshot_of(past.old, tmp_path, clock)
    points = 0
    while True:
        home = tmp_path / f"at-{points}"
        shutil.copytree(past.old / "registry", home / "registry")
        seen: list[str] = []
        for attempt in range(2):
            shop = replace(past.truth.projects["shop"], watch_seconds=attempt + 1)
            newer = replace(
                past.truth, generation=past.truth.generation + attempt, projects={**past.truth.projects, "shop": shop}
            )  # fmt: skip
            with pytest.MonkeyPatch.context() as monkeypatch:
                seen = crashing(monkeypatch, points)
                with contextlib.suppress(Crash):
                    Mirror(home).write(newer)
        read = Mirror(home).read()
        found = read.registry
        assert found is not None, (points, read.faults)
        gained = {each.name for each in found.projects} == {"cart", "shop"}
        truth = past.truth if gained else old
        assert {pair.place: pair for pair in found.pairs} == truth.pairs and found.leases == truth.leases
        assert found.keys[1].revoked_at is not None or verified(home / "registry/api-keys.json")["generation"] == old.generation
        if len(seen) <= points:
            break
        points += 1
    assert points > 30


async def snapshot_of(source: Path, folder: Path, clock: Clock) -> Snapshot:
    shutil.copytree(source, folder / "other")
    store, _ = await begin(folder / "other", clock)
    await store.close()
    return store.snapshot


async def test_a_local_copy_is_rebuilt_or_left_out_never_refused(past: Past, home: Path, clock: Clock) -> None:
    """The truth is in a database: without a sound copy it is made anew from there. Changes that wait in it are not hidden."""
    local = home / "local.db"
    (home / "codeb.db").rename(local)
    (home / "codeb.db-wal").rename(home / "local.db-wal")
    assert (await make_sound(local, home, Mirror(home), clock, copy=True)).notes == ()
    zero_all(local, home, random.Random(1))
    rebuilt = await make_sound(local, home, Mirror(home), clock, copy=True)
    assert "rebuilt" in rebuilt.notes[1] and local.exists()
    shutil.rmtree(home / "registry")
    zero_all(local, home, random.Random(1))
    without = await make_sound(local, home, Mirror(home), clock, copy=True)
    assert "made anew from the database" in without.notes[0] and not local.exists()
    assert (await make_sound(local, home, Mirror(home), clock, copy=True)).notes == ()


async def test_an_id_that_nothing_knows_is_not_made_up(past: Past, home: Path, clock: Clock) -> None:
    """P10: with another id the containers that run would be strangers."""
    (home / "instance").write_bytes(b"\0" * 12)
    shutil.rmtree(home / "registry")
    with contextlib.closing(sqlite3.connect(home / "codeb.db")) as database:
        database.execute("UPDATE meta SET instance = NULL")
        database.commit()
    with pytest.raises(Unavailable) as refused:
        await begin(home, clock)
    assert refused.value.code == "instance_lost" and (home / "instance").read_bytes() == b"\0" * 12


def test_a_probe_key_is_read_back_from_the_sites(tmp_path: Path) -> None:
    """The sites ask for it, so another one would be no trial at all."""
    made = probe_key(tmp_path)
    settings = CaddySettings(tmp_path, Path("/usr/bin/caddy"), probe_key=made)
    ports = ((Slot.BLUE, 4100), (Slot.GREEN, 4101))
    text = render_site(Site(PROD, ("shop.localhost",), (), ports), settings, (2, 10, 0))
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites/shop-production.caddy").write_bytes(text)
    for harm in (b"", b"\0" * 32, b"garbage\xff", made.encode()[:20]):
        (tmp_path / "probe.key").write_bytes(harm)
        assert probe_key(tmp_path) == made
    (tmp_path / "probe.key").unlink()
    (tmp_path / "probe.key").symlink_to("/etc/hostname")
    assert probe_key(tmp_path) == made and not (tmp_path / "probe.key").is_symlink()
    assert (tmp_path / "probe.key").stat().st_mode & 0o777 == 0o600
    assert len(list(tmp_path.glob("probe.key.damaged*"))) == 5


async def test_no_first_key_where_only_a_key_could_have_been_before(past: Past, home: Path, clock: Clock) -> None:
    """P10: a registry whose keys are gone, or whose proxy has sites, gets no new owner by starting it."""
    proxy = home / "caddy"
    (proxy / "sites").mkdir(parents=True)
    (proxy / "sites" / "shop-production.caddy").write_bytes(b"x")
    for left, empty in (("cart", "DELETE FROM api_keys"), (str(proxy), "DELETE FROM projects")):
        with contextlib.closing(sqlite3.connect(home / "codeb.db")) as database:
            database.execute(empty)
            database.commit()
        store = await open_store(f"sqlite:///{home}/codeb.db", mirror=None, now=clock)
        kit: Any = SimpleNamespace(store=store, world=SystemWorld(None))
        with pytest.raises(Unavailable) as refused:
            await first_key(kit, home, proxy)
        assert refused.value.code == "registry_lost" and left in refused.value.hint
        assert store.snapshot.keys == {} and (home / "owner.key").read_text().startswith("codeb_main_owner_xxx")
        await store.close()
