"""The ports of this server: what containers publish, and what listens."""

from codeb.drivers.runtime.docker_client import DockerClient
from codeb.drivers.runtime.docker_inspect import inspect_all
from codeb.drivers.runtime.docker_spec import bindings_of, container_name
from codeb.drivers.sockets.listening import listening_ports


class DockerPorts:
    """`Ports`: every container of the engine counts, ours or not."""

    def __init__(self, client: DockerClient) -> None:
        self._client = client

    async def published(self) -> dict[int, str]:
        """See `Ports.published`. TCP only. One call, and one more per container that does not run."""
        listed = await self._client.call("GET", "containers/json", params={"all": "1"})
        found: dict[int, str] = {}
        for each in listed:
            for port in each["Ports"] or ():
                if port["Type"] == "tcp" and port.get("PublicPort"):
                    found[int(port["PublicPort"])] = each["Names"][0].removeprefix("/")
        # The list shows no port of a container that is stopped; a running one's is complete.
        idle = [each["Id"] for each in listed if each["State"] != "running"]
        for seen in await inspect_all(self._client, idle):
            for _, port, protocol in bindings_of(seen):
                if protocol == "tcp":
                    found.setdefault(port, container_name(seen))
        return found

    async def listening(self) -> frozenset[int]:
        """See `Ports.listening`."""
        return await listening_ports()
