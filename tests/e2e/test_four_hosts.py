"""From nothing to HTTPS and back to nothing, on four machines with real parts on each.

P2: a death on the way leaves all or nothing. P15: what is done to a container by hand is mended.

The storage server does the storage, the app server the apps; who is neither does not reach a storage port.
"""

import http.client
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from codeb.entry.cli import exits
from tests import oracle
from tests.contracts.netns import entered
from tests.e2e.four_hosts import ROLES, Town, four_hosts

pytestmark = [
    pytest.mark.docker, pytest.mark.proxy, pytest.mark.dns, pytest.mark.netns, pytest.mark.postgres, pytest.mark.redis,
]  # fmt: skip

DOMAIN = "shop.example.test"
WHERE = {"projectName": "shop", "environment": "production"}
STAGING = {"projectName": "shop", "environment": "staging"}
VISIT = "/cgi-bin/visit"


@pytest.fixture(scope="module")
def town() -> Iterator[Town]:
    with four_hosts() as made:
        known(made)
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


def set_up(town: Town, tree: Path) -> None:
    """One command; the name is somebody's zone, so whoever runs that proves it is theirs, and the command is said again."""
    tree.mkdir()
    (tree / "Dockerfile").write_text("FROM scratch\nEXPOSE 3000\n")
    words = ("init", "shop", "--database", "--redis", "--domain", DOMAIN)
    said = town.we(tree, *words)
    txt = town.stage.call("domain_setup", **WHERE, domain=DOMAIN)["setAtRegistrar"][0]
    assert txt["value"] in said.stdout + said.stderr
    with entered(town.nodes.dns.space):
        town.pdns.put("example.test", txt["name"], "TXT", f'"{txt["value"]}"')
    said = town.we(tree, *words)
    assert said.returncode == exits.OK, said.stderr


def visited(town: Town) -> list[str]:
    status, text, names = town.visit(DOMAIN, VISIT)
    assert (status, names) == (200, [DOMAIN]), text
    return text.split()


def test_from_nothing_to_https_on_databases_of_another_machine(town: Town, tmp_path: Path) -> None:
    call, storage = town.stage.call, town.nodes.storage
    assert reached(town, 2375, 5432, 6379) == ([2375, 5432, 6379], [])
    set_up(town, tmp_path / "tree")
    held = call("db_list", projectName="shop")["storage"]
    assert [(each["kind"], each["host"], each["server"]) for each in held] == [
        ("postgres", storage.address, None), ("redis", storage.address, None),
    ]  # fmt: skip
    assert town.resolve(DOMAIN) == [town.nodes.app.address]
    call("deploy", **WHERE, image=town.shop, autoPromote=True)
    assert [visited(town), visited(town)] == [["1", "1"], ["2", "2"]]


def test_containers_of_its_own_on_the_storage_server_for_the_app_server_alone(town: Town) -> None:
    call, storage = town.stage.call, town.nodes.storage
    made = call("workflow_init", projectName="shop", environments=["staging"], database=True, redis=True, dedicated=True)
    assert [(each["kind"], each["host"], each["port"]) for each in made["storage"]] == [
        ("postgres", storage.address, 5433), ("redis", storage.address, 6380),
    ]  # fmt: skip
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
    # the readable copies of the registry follow it
    end = time.monotonic() + 10
    while (left := town.left("shop")) and time.monotonic() < end:
        time.sleep(0.2)
    assert left == {}
    dumps = sorted(path.name.partition("-2")[0] for path in (town.stage.home / "backups/storage").iterdir())
    assert dumps == [
        "postgres-shop_production", "postgres-shop_staging", "redis-shop-production", "redis-shop-staging",
    ]  # fmt: skip
    assert call("port_list")["ports"] == []


@pytest.mark.long
@pytest.mark.parametrize(
    ("point", "stays"),
    [("open.do.effect", False), ("instance.do.effect", False), ("database.do.effect", False), ("record.do.record", True)],
)
def test_a_death_on_the_way_leaves_all_or_nothing_on_the_storage_server(town: Town, point: str, stays: bool) -> None:
    """P2: container, volume, lease, rule and record, on two machines and at the vendor."""
    stage, storage = town.stage, town.nodes.storage
    stage.call("project_create", projectName="blog")
    stage.kill()
    stage.start(crash_at=f"db_create_dedicated.{point}")
    with pytest.raises((OSError, http.client.HTTPException)):
        stage.call("db_create", projectName="blog", environment="production", dedicated=True)
    stage.until_dead()
    stage.start()
    oracle.settle(stage)
    assert bool(stage.call("db_list", projectName="blog")["storage"]) is stays
    names, volumes = storage.docker("ps", "--format", "{{.Names}}"), storage.docker("volume", "ls", "-q")
    assert (names, len(volumes)) == ((["blog-production-postgres"], 1) if stays else ([], 0))
    assert ("rules" in town.left("blog")) is stays
    assert [
        each for each in stage.call("reconcile", fix=False)["findings"] if each["kind"].startswith(("instance", "firewall"))
    ] == []
    stage.call("project_delete", projectName="blog", confirm="blog")
    assert stage.call("project_delete", projectName="blog", confirm="blog", purge=True)["purged"], stage.log[-3000:]
    assert {what for what in town.left("blog") if what != "files"} == set()
