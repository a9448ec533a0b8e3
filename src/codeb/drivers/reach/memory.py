"""Reaching in memory: what answers is what a test says."""


class MemoryReach:
    def __init__(self) -> None:
        self.up: set[tuple[str, int]] = set()
        self.engines: set[str] = set()

    async def tcp(self, host: str, port: int, seconds: float) -> str:
        return "" if (host, port) in self.up else "connection refused"

    async def docker(self, address: str, seconds: float) -> str:
        return "" if address in self.engines else "connection refused"
