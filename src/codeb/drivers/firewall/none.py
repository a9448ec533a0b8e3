"""No firewall: nothing is guarded, and nothing can be opened or closed."""

from collections.abc import Sequence

from codeb.contracts.firewall import Proof
from codeb.errors import Conflict
from codeb.model.firewall import Opening, Standing


def no_firewall() -> Conflict:
    return Conflict(
        "CodeB guards no firewall here (CODEB_FIREWALL is none); nothing was changed.", code="no_firewall",
        hint="Set CODEB_FIREWALL to nftables or vultr, and restart.",
    )  # fmt: skip


class NoFirewall:
    provider, everywhere = "none", False

    async def look(self) -> Standing:
        return Standing(on=False, begun=False)

    async def change(self, add: Sequence[Opening], remove: Sequence[Opening], proof: Proof) -> bool:
        """To close what nobody can have opened is no fault."""
        if add:
            raise no_firewall()
        return False

    async def settle(self) -> bool:
        return False
