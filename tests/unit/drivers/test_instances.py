"""What is taken away with a container of storage on a Docker Engine, and what stays for the others."""

from typing import Any, cast

import pytest

from codeb.drivers.instances import form
from codeb.drivers.instances.docker import DockerInstances
from codeb.drivers.runtime.docker_client import DockerClient, Refused
from codeb.drivers.runtime.docker_guests import guest_of
from codeb.errors import Conflict
from codeb.model import guests
from codeb.model.instances import InstanceSpec
from codeb.model.names import Place
from codeb.model.storage import Kind

pytestmark = pytest.mark.anyio

SHOP = InstanceSpec("sto_1", Place("shop", "production"), Kind.REDIS, "local", "192.0.2.7", 6379, "redis:7")
BLOG = InstanceSpec("sto_2", Place("blog", "production"), Kind.REDIS, "local", "192.0.2.7", 6380, "redis:7")


class Engine:
    """As much of one as an end needs. Like the real one it gives a network away that stopped containers are in."""

    def __init__(self, *specs: InstanceSpec) -> None:
        self.containers = {each.name: form.labels(each, "house") for each in specs}
        self.networks = {form.network_of("house")}

    async def call(self, method: str, path: str, **_: Any) -> Any:
        kind, _, rest = path.partition("/")
        name = rest.partition("/")[0]
        if kind == "containers" and rest == "json":
            return [{"Id": each} for each in self.containers]
        known = self.containers if kind == "containers" else self.networks if kind == "networks" else ()
        if name not in known:
            raise Refused(404, f"no such {kind}: {name}")
        if method == "DELETE":
            self.containers.pop(name, None)
            self.networks.discard(name)
        labels = self.containers.get(name) or {form.INSTANCE: "house"}
        return {"Id": name, "Name": f"/{name}", "Config": {"Labels": labels}}


async def test_the_network_stays_for_one_that_stands_still_and_goes_with_the_last() -> None:
    engine = Engine(SHOP, BLOG)
    instances = DockerInstances(cast(DockerClient, engine), "house", lambda _: pytest.fail("another engine"))
    await instances.drop(None, SHOP)
    assert (list(engine.containers), len(engine.networks)) == ([BLOG.name], 1)
    await instances.drop(None, BLOG)
    assert (engine.containers, engine.networks) == ({}, set())


@pytest.mark.parametrize("house", ["house", "another"])
def test_one_is_nobodys_to_take_over_as_a_project(house: str) -> None:
    spec = {"Id": "1" * 64, "Name": "/x", "Image": "sha256:" + "a" * 64, "Config": {"Labels": form.labels(SHOP, house)}}
    state = {"Running": True, "Status": "running", "StartedAt": "", "ExitCode": 0}
    found = guest_of(
        {**spec, "State": state, "HostConfig": {}, "NetworkSettings": {}, "RestartCount": 0}, {"Id": spec["Image"]}, "house"
    )
    with pytest.raises(Conflict) as refused:
        guests.refuse(found)
    assert refused.value.code == "container_managed"
