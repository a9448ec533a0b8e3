"""How the firewall is, as one line of a health report."""

from codeb.contracts.firewall import Firewall
from codeb.errors import PublicError
from codeb.model.specs import Finding


class Condition:
    """`contracts.runtime.Checked` of any firewall."""

    def __init__(self, firewall: Firewall) -> None:
        self._firewall = firewall

    async def check(self) -> Finding:
        try:
            standing = await self._firewall.look()
        except PublicError as fault:
            return Finding("firewall", "fail", fault.message, fault.hint)
        fix = "See firewall_sync; with fix it is mended."
        if not standing.on:
            return Finding("firewall", "warn", f"{self._firewall.provider}: off, every port is open", fix)
        if standing.edited:
            return Finding("firewall", "warn", f"{self._firewall.provider}: {standing.edited}", fix)
        return Finding("firewall", "pass", f"{self._firewall.provider}: {len(standing.ours)} openings beside what always is open")
