"""What we need to know whether an address answers."""

from typing import Protocol

from codeb.model.specs import Address, Answer


class Health(Protocol):
    """One attempt at one address."""

    async def probe(self, address: Address, seconds: float) -> Answer:
        """One GET; redirects are answers, not followed; at most `seconds` in all, however slowly bytes drip.

        Never raises for what the other side does: a refusal, a reset, a time-out come back as `Answer.reason`.
        """
