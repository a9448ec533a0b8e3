"""What it takes to put right what somebody did to containers by hand."""

from collections.abc import Sequence

from codeb.drivers.runtime import docker_spec as form
from codeb.drivers.runtime.docker import name_taken
from codeb.drivers.runtime.docker_client import DockerClient, Refused
from codeb.drivers.runtime.docker_inspect import find


class DockerUpkeep:
    """`Upkeep` for the containers and networks that carry this installation's label."""

    def __init__(self, client: DockerClient, instance: str) -> None:
        self._client = client
        self._instance = instance

    async def name_back(self, found: str, name: str) -> None:
        """See `Upkeep.name_back`. One call; a running container does not notice."""
        seen = await find(self._client, found)
        if seen is None:
            return
        if not form.is_ours(seen, self._instance):
            raise name_taken(found)
        try:
            await self._client.call("POST", f"containers/{seen['Id']}/rename", params={"name": name})
        except Refused as refused:
            if refused.status == 409:
                raise name_taken(name) from refused
            raise

    async def networks(self) -> Sequence[str]:
        """See `Upkeep.networks`; by name."""
        filters = f'{{"label":["{form.INSTANCE}={self._instance}"]}}'
        listed = await self._client.call("GET", "networks", params={"filters": filters})
        return sorted(str(each["Name"]) for each in listed)
