"""The firewall in memory: the same promises, for tests of flows."""

from collections.abc import Callable, Sequence

from codeb.contracts.firewall import Proof
from codeb.errors import StepFailed
from codeb.model.firewall import Opening, Standing


class MemoryFirewall:
    """`Firewall`: openings as plain values.

    `provider` and `everywhere` as a test needs them. What somebody else did: `others`, `edited`, `off`. `refused` are
    ports that the firewall does not take. `see` is told of every instant at which the process could die in the middle.
    """

    def __init__(self) -> None:
        self.provider, self.everywhere = "memory", True
        self.ours: dict[Opening, Opening] = {}
        self.others: set[Opening] = set()
        self.refused: set[int] = set()
        self.edited = ""
        self.off = False
        self.see: Callable[[str], None] = lambda point: None
        self.unproven: dict[Opening, Opening] | None = None
        """what was in force before a change that is not proven yet"""

    async def look(self) -> Standing:
        return Standing(not self.off, True, frozenset(self.ours.values()), frozenset(self.others), self.edited)

    async def change(self, add: Sequence[Opening], remove: Sequence[Opening], proof: Proof) -> bool:
        if bad := [each for each in add if each.port in self.refused]:
            raise StepFailed(f"The firewall refused {bad[0]}; nothing was changed.", code="firewall_refused")
        after = {key: each for key, each in self.ours.items() if key not in remove}
        after |= {each: each for each in add if each not in self.ours and each not in self.others}
        if after == self.ours and not self.edited and not self.off:
            return False
        self.see("before firewall change")
        self.unproven, self.ours = dict(self.ours), after
        self.see("within firewall change")
        try:
            await proof()
        except Exception:
            self.take_back()
            raise
        self.unproven, self.edited, self.off = None, "", False
        self.see("after firewall change")
        return True

    async def settle(self) -> bool:
        return self.take_back()

    def take_back(self) -> bool:
        if self.unproven is None:
            return False
        self.ours, self.unproven = self.unproven, None
        return True
