"""Health without sockets: answers are what a test says they are."""

from collections.abc import Callable

from codeb.model.specs import Address, Answer


class MemoryHealth:
    """Answers each probe by `answers[host_header]`, then `answers[port]`, then `answers[host, port]`, then `otherwise`.

    A value may be a function of the address, so that it can ask the memory proxy which slot is live.
    """

    def __init__(self, otherwise: Answer | None = None) -> None:
        self.answers: dict[str | int | tuple[str, int], Answer | Callable[[Address], Answer]] = {}
        self.otherwise = otherwise or Answer(None, reason="no connection")
        self.probed: list[Address] = []

    async def probe(self, address: Address, seconds: float) -> Answer:
        self.probed.append(address)
        keys: tuple[str | int | tuple[str, int] | None, ...] = (
            address.host_header,
            (address.host, address.port),
            address.port,
        )
        for key in keys:
            if key is not None and key in self.answers:
                found = self.answers[key]
                return found if isinstance(found, Answer) else found(address)
        return self.otherwise
