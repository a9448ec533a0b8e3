"""Who comes in, and how often: authentication, the budget of a key, and the patience with those who have none (S13, S30)."""

from collections.abc import Callable

from codeb.contracts.kit import Kit
from codeb.errors import RateLimited, Unauthenticated
from codeb.gate.authenticate import authenticate
from codeb.gate.limits import MOST_CALLERS, MOST_PEERS, Sliding, neighbourhood
from codeb.model.access import Actor
from codeb.model.limits import Allowance
from codeb.model.secret import Secret


class Entrance:
    """Each process counts for itself, from its start on."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._calls = Sliding(kit.policy.calls, MOST_CALLERS) if kit.policy.calls else None
        self._failures = Sliding(kit.policy.failures, MOST_PEERS) if kit.policy.failures else None
        self.on_stranger: list[Callable[[], None]] = []
        """called after each failure to authenticate"""

    def know(self, token: Secret | None, ip: str | None) -> Actor:
        """Who a key belongs to.

        Raises `Unauthenticated`; after too many of those from one address `RateLimited` (`too_many_failures`) in its
        place. A valid key is let in from there all the same: nobody locks out those who share the address.
        """
        try:
            return authenticate(token, self._kit.store.snapshot, self._kit.world.now(), development=self._kit.policy.development)
        except Unauthenticated:
            for each in self.on_stranger:
                each()
            if self._failures is None:
                raise
            left = self._failures.take(neighbourhood(ip), self._kit.world.monotonic())
            if left.granted:
                raise
            raise RateLimited(
                "Too many calls from this address came without a valid key; nor is this one's valid. Nothing was done.",
                code="too_many_failures", hint="Correct the key first; calls with a valid one are answered at once.",
                details={"retryAfterSeconds": left.reset},
            ) from None  # fmt: skip

    def knows(self, token: Secret | None) -> bool:
        """Whether it is a valid key; nothing is counted."""
        try:
            authenticate(token, self._kit.store.snapshot, self._kit.world.now(), development=self._kit.policy.development)
        except Unauthenticated:
            return False
        return True

    def count(self, actor: Actor) -> Allowance | None:
        """One call more with this key; None where there is no limit."""
        return None if self._calls is None else self._calls.take(actor.key_id, self._kit.world.monotonic())


def too_often(left: Allowance) -> RateLimited:
    return RateLimited(
        f"This key has made its {left.limit} calls; nothing was done.",
        hint=f"Wait {left.reset} s. To learn how something goes, let the server wait: operation_get with waitSeconds.",
        details={"limit": left.limit, "retryAfterSeconds": left.reset},
    )  # fmt: skip
