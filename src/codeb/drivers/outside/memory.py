"""The outside in memory: names resolve as a memory DNS serves them or as a test says, hosts answer as a memory proxy does."""

from datetime import UTC, datetime

from codeb.contracts.health import Health
from codeb.contracts.outside import Certificate, Looked
from codeb.drivers.dns.memory import MemoryDns
from codeb.drivers.proxy.memory import MemoryProxy
from codeb.model.specs import Address, Answer


class MemoryOutside:
    """`Outside`. `names` are records by (name, type) elsewhere in the world; `silent` hosts show no certificate."""

    def __init__(self, dns: MemoryDns, proxy: MemoryProxy, health: Health) -> None:
        self._dns, self._proxy, self._health = dns, proxy, health
        self.names: dict[tuple[str, str], tuple[str, ...]] = {}
        self.silent: set[str] = set()
        self.visited: list[Address] = []

    async def lookup(self, name: str, kind: str, seconds: float) -> Looked:
        if (name, kind) in self.names:
            return Looked(self.names[name, kind])
        if self._dns.holding(name) is None:
            return Looked()
        if self._dns.away:
            return Looked(reason="no name server answers")
        return Looked(await self._dns.served(name, kind))

    async def certificate(self, address: Address, seconds: float) -> Certificate:
        self.visited.append(address)
        name = address.host_header or ""
        served = any(name in site.names for site in self._proxy.loaded.values())
        if not served or name in self.silent or self._proxy.dead:
            return Certificate(reason="the handshake failed")
        return Certificate("memory", datetime(2027, 1, 1, tzinfo=UTC), covers=True)

    async def visit(self, address: Address, seconds: float) -> Answer:
        self.visited.append(address)
        return await self._health.probe(address, seconds)
