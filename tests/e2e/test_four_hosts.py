"""From nothing to HTTPS and back to nothing, on four machines with real parts on each.

P15: what is done to a container by hand is mended.

The storage server does the storage, the app server the apps; who is neither does not reach a storage port.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.contracts.netns import entered
from tests.e2e.four_hosts import ROLES, Town, four_hosts

pytestmark = [
    pytest.mark.docker, pytest.mark.proxy, pytest.mark.dns, pytest.mark.netns, pytest.mark.postgres, pytest.mark.redis,
]  # fmt: skip

DOMAIN = "shop.example.test"
WHERE = {"projectName": "shop", "environment": "production"}
STAGING = {"projectName": "shop", "environment": "staging"}
OWN = {**STAGING, "dedicated": True}
VISIT = "/cgi-bin/visit"


@pytest.fixture(scope="module")
def town() -> Iterator[Town]:
    with four_hosts() as made:
        yield made


def known(town: Town) -> None:
    """The operator says which machines there are, and lets the app server in where it has to be."""
    for node in town.nodes.every:
        docker = {"dockerHost": node.remote} if node.name == "storage" else {}
        name = "local" if node.name == "app" else node.name
        town.stage.call("server_add", server=name, roles=ROLES[node.name], addresses=[node.address], **docker)
    assert not any(town.nodes.reaches(town.nodes.app, town.nodes.storage, port) for port in (2375, 5432, 6379))
    app = f"{town.nodes.app.address}/32"
    town.stage.call("firewall_allow", server="storage", port=2375, cidr=app, purpose="docker")
    for port in (5432, 6379):
        town.stage.call("firewall_allow", server="storage", port=port, purpose="storage")


def reached(town: Town, *ports: int) -> tuple[list[int], list[int]]:
    """Which of these ports of the storage server the app server reaches, and which anybody else."""
    here, storage = town.nodes, town.nodes.storage
    return (
        [port for port in ports if here.reaches(here.app, storage, port)],
        [port for port in ports if here.reaches(here.backup, storage, port) or here.reaches(here.dns, storage, port)],
    )


def domain(town: Town) -> None:
    """Whoever runs the DNS server's zone proves that the name is theirs."""
    pending = town.stage.call("domain_setup", **WHERE, domain=DOMAIN)
    txt = pending["setAtRegistrar"][0]
    with entered(town.nodes.dns.space):
        town.pdns.put("example.test", txt["name"], "TXT", f'"{txt["value"]}"')
    assert town.stage.call("domain_setup", **WHERE, domain=DOMAIN)["state"] == "active"


def visited(town: Town) -> list[str]:
    status, text, names = town.visit(DOMAIN, VISIT)
    assert (status, names) == (200, [DOMAIN]), text
    return text.split()


def test_from_nothing_to_https_on_databases_of_another_machine(town: Town) -> None:
    call, storage = town.stage.call, town.nodes.storage
    known(town)
    assert reached(town, 2375, 5432, 6379) == ([2375, 5432, 6379], [])
    call("project_create", projectName="shop", containerPort=3000, environments=["production", "staging"])
    for family in ("db", "redis"):
        said = call(f"{family}_create", **WHERE)
        assert (said["host"], said["warnings"]) == (storage.address, [])
    domain(town)
    assert town.resolve(DOMAIN) == [town.nodes.app.address]
    call("deploy", **WHERE, image=town.shop, autoPromote=True)
    assert [visited(town), visited(town)] == [["1", "1"], ["2", "2"]]


def test_containers_of_its_own_on_the_storage_server_for_the_app_server_alone(town: Town) -> None:
    call, storage = town.stage.call, town.nodes.storage
    own: dict[str, Any] = {family: call(f"{family}_create", **OWN) for family in ("db", "redis")}
    assert {family: (said["host"], said["port"], said["server"]) for family, said in own.items()} == {
        "db": (storage.address, 5433, "storage"), "redis": (storage.address, 6380, "storage"),
    }  # fmt: skip
    assert sorted(storage.docker("ps", "--format", "{{.Names}}")) == ["shop-staging-postgres", "shop-staging-redis"]
    assert reached(town, 5433, 6380) == ([5433, 6380], [])
    call("deploy", **STAGING, image=town.shop, autoPromote=True)
    blue = call("port_get", **STAGING)["blue"]
    assert town.ask_app(blue, VISIT).split() == ["1", "1"]

    # somebody removes the one and stops the other: both come back, on what they had
    storage.docker("rm", "-f", "shop-staging-postgres")
    storage.docker("kill", "shop-staging-redis")
    said = call("reconcile")
    assert sorted((each["kind"], each["mended"]) for each in said["findings"] if each["kind"].startswith("instance")) == [
        ("instance_gone", True), ("instance_stopped", True),
    ]  # fmt: skip
    assert town.ask_app(blue, VISIT).split()[0] == "2"


def test_and_back_to_nothing(town: Town) -> None:
    call = town.stage.call
    before = town.left("shop")
    assert {"roles and databases", "users of Redis", "keys of Redis", "records", "rules", "files"} <= before.keys()
    assert {f"{what} on {name}" for what in ("containers", "networks") for name in ("app", "storage")} <= before.keys()
    call("project_delete", projectName="shop", confirm="shop")
    assert reached(town, 5433, 6380) == ([], []), "closed as soon as it is deleted"
    assert call("project_delete", projectName="shop", confirm="shop", purge=True)["purged"], town.stage.log[-3000:]
    assert town.left("shop") == {}
    dumps = sorted(path.name.partition("-2")[0] for path in (town.stage.home / "backups/storage").iterdir())
    assert dumps == [
        "postgres-shop_production", "postgres-shop_staging", "redis-shop-production", "redis-shop-staging",
    ]  # fmt: skip
    assert call("port_list")["ports"] == []
