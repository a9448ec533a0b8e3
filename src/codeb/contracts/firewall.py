"""What we need of a firewall: closed by default, and no change that locks anybody out stays."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from codeb.model.firewall import Opening, Standing

Proof = Callable[[], Awaitable[None]]
"""Raises when CodeB no longer reaches what it must."""


class Firewall(Protocol):
    """Raises `Unavailable` when the firewall does not answer."""

    @property
    def provider(self) -> str:
        """nftables, vultr or none."""

    @property
    def everywhere(self) -> bool:
        """Whether it guards every server, or only the machine CodeB runs on."""

    async def look(self) -> Standing:
        """What is in force now."""

    async def change(self, add: Sequence[Opening], remove: Sequence[Opening], proof: Proof) -> bool:
        """Have these open and those not, the other openings as they are, and `model.firewall.Gates` open in any case.

        The whole change is tried before it is made, and stays only if `proof` passes: otherwise, and when this process dies
        meanwhile, what was in force comes back by itself. Gives whether anything changed. Safe to repeat. Established
        connections go on. Raises `StepFailed` (`firewall_refused`, `firewall_unproven`): what was in force still is.
        """

    async def settle(self) -> bool:
        """At the start: take back what a process that died had changed and not proven; gives whether there was anything."""
