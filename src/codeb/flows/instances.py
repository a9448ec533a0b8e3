"""Containers of storage, as procedures act on them: on which engine, as whom, and until they answer."""

from collections.abc import Sequence

from codeb.contracts.databases import Caches, Databases
from codeb.contracts.kit import Kit
from codeb.contracts.store import Registry
from codeb.errors import Conflict, StepFailed, Unavailable
from codeb.flows import firewall
from codeb.model import servers
from codeb.model.firewall import Rule, Transport
from codeb.model.instances import InstanceSpec
from codeb.model.names import Place
from codeb.model.sealed import about_instance
from codeb.model.secret import Secret
from codeb.model.servers import Server
from codeb.model.storage import Endpoint, Kind

ANSWER_SECONDS = 120.0
"""until a server answers that was just started: an empty volume is prepared first, one after a crash recovered"""
ASK_EVERY = 0.2
PURPOSE = "storage"
"""in the comment of its openings"""


def engine_on(kit: Kit, server: Server) -> str | None:
    """Its Docker host; None for the machine CodeB runs on. Raises `Conflict` (`no_docker_host`)."""
    if server.name == kit.policy.server:
        return None
    if server.docker_host is None:
        raise Conflict(
            f"The Docker of server {server.name} is not spoken to from here; nothing was done.", code="no_docker_host",
            hint=f"Say where it listens: server_add {server.name} with dockerHost, and let nobody else reach it there.",
        )  # fmt: skip
    return server.docker_host


async def engine_of(kit: Kit, name: str) -> str | None:
    """Looked up when it is needed: a server may be moved. Raises `Conflict` (`server_not_found`, `no_docker_host`)."""

    async def look(registry: Registry) -> Server | None:
        return servers.known(await registry.servers.all(), kit.policy.server).get(name)

    found = await kit.store.consult(look)
    if found is None:
        raise Conflict(f"There is no server {name} any more.", code="server_not_found", hint="Add it again with server_add.")
    return engine_on(kit, found)


def new_administrator(kit: Kit, storage_id: str) -> str:
    """A password for the administrator of a container of storage, sealed: no step's record ever holds it."""
    return kit.vault.seal(kit.world.new_secret(), about_instance(storage_id))


async def administrator(kit: Kit, spec: InstanceSpec) -> Secret:
    """The password of its administrator. Raises `Conflict` (`password_gone`), and as `Vault.open` does."""
    held = await kit.store.consult(lambda registry: registry.storages.get(spec.place, spec.kind))
    if held is None or held.id != spec.storage_id or held.sealed is None:
        raise Conflict(f"The password of {spec.name} is not on record.", code="password_gone", hint="See db_list.")
    return kit.vault.open(held.sealed, about_instance(held.id))


async def inside(kit: Kit, spec: InstanceSpec) -> Databases | Caches:
    """The server in it. Raises as `administrator` does."""
    at, word = Endpoint(spec.address, spec.port), await administrator(kit, spec)
    return kit.inside.databases(at, word) if spec.kind is Kind.POSTGRES else kit.inside.caches(at, word)


async def raised(kit: Kit, spec: InstanceSpec, *, fresh: bool = False) -> None:
    """It runs and answers. Safe to repeat.

    Raises as `Instances.run` does, and `StepFailed` (`instance_ended`, `instance_silent`).
    """
    engine = await engine_of(kit, spec.server)
    await kit.instances.run(engine, spec, await administrator(kit, spec), fresh=fresh)
    server, end = await inside(kit, spec), kit.world.monotonic() + ANSWER_SECONDS
    while True:
        try:
            await server.all()
            return
        except Unavailable as fault:
            why = fault.message
        seen = await kit.instances.look(engine, spec)
        if seen.exit_code not in (None, 0):
            raise StepFailed(
                f"{spec.name} ended with exit code {seen.exit_code}.", code="instance_ended",
                hint=f"See its log on {spec.server} (docker logs {spec.name}), and whether {spec.image} is the right image.",
            )  # fmt: skip
        if kit.world.monotonic() >= end:
            raise StepFailed(
                f"{spec.name} does not answer at {spec.address} port {spec.port}: {why}", code="instance_silent",
                hint="See whether this machine reaches that address, and the log of the container there.",
            )  # fmt: skip
        await kit.world.sleep(ASK_EVERY)


async def dropped(kit: Kit, spec: InstanceSpec) -> None:
    """Container and data are gone, and its port is closed. Safe to repeat."""
    await kit.instances.drop(await engine_of(kit, spec.server), spec)
    await shut(kit, spec)


# who reaches it


def guards(kit: Kit, server: Server) -> bool:
    """Whether the firewall lets in to this server, and keeps others out."""
    guarded = firewall.guarded(kit)
    return kit.firewall.provider != "none" and (guarded is None or server.name in guarded)


def letting_in(kit: Kit, server: Server, port: int, place: Place, apps: Sequence[str], by: str) -> list[Rule]:
    """The rules of a new one: the app servers, and nobody else. None where the firewall does not guard that server."""
    if not guards(kit, server):
        return []
    now = kit.world.now()
    return [Rule(server.name, Transport.TCP, port, each, place.project, PURPOSE, now, by) for each in apps]


async def rules_of(registry: Registry, spec: InstanceSpec) -> list[Rule]:
    """What is on record as open for it."""
    here = (spec.place.project, spec.server, spec.port)
    return [each for each in await registry.rules.all() if (each.project, each.server, each.port) == here]


async def let_in(kit: Kit, spec: InstanceSpec) -> bool:
    """Who is to reach it does, also while its project is deleted. False: the firewall knows nobody who is. Safe to repeat."""
    rules = await kit.store.consult(lambda registry: rules_of(registry, spec))
    if rules:
        openings = [each.opening for each in rules]
        await firewall.bring(kit, openings, await firewall.proof(kit), also=[spec.place.project])
    return bool(rules)


async def shut(kit: Kit, spec: InstanceSpec) -> None:
    """Nothing is open for it. The rows go with the storage's own. Safe to repeat."""
    rules = await kit.store.consult(lambda registry: rules_of(registry, spec))
    if rules and kit.firewall.provider != "none":
        await firewall.bring(kit, [each.opening for each in rules], firewall.trusted, remove=rules)
