"""Dry runs: what would be done, as a value, bound to the state it was made from."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from codeb.errors import StalePlan
from codeb.model.domains import Domain, DomainState
from codeb.model.plans import plan_id
from codeb.model.slots import Pair, SlotRow
from codeb.tools.fields import Changing
from codeb.tools.tool import NextCall, Outcome, Plan


@dataclass(frozen=True)
class Draft:
    """The plan of one call. The same call on the same state drafts the same id."""

    id: str
    plan: dict[str, Any]
    changes: list[str]
    touches: dict[str, list[Any]] = field(default_factory=dict)

    def shown(self, summary: str, apply: NextCall | None = None, *warnings: str) -> Outcome:
        """The answer of a dry run."""
        result = Plan(plan_id=self.id, plan=self.plan, changes=self.changes, touches=self.touches)
        return Outcome(result, summary, (apply,) if apply else (), warnings)

    def still_fits(self, params: Changing) -> None:
        """Raises `StalePlan` when the caller applies a plan and this, drafted now, is another one."""
        if params.plan_id not in (None, self.id):
            raise StalePlan("Things changed since the plan was made; nothing was done.", hint="Make a new dry run.")


def draft(
    tool: str, plan: dict[str, Any], changes: list[str], state: Mapping[str, Any], touches: dict[str, list[Any]] | None = None
) -> Draft:
    return Draft(plan_id(tool, plan, state), plan, changes, touches or {})


def reach(
    rows: Iterable[SlotRow], base_domain: str, *, public: bool = False, previews: bool = False, domains: Iterable[Domain] = ()
) -> dict[str, list[Any]]:
    """How far a plan on these slots reaches: their containers and ports, and which of their hosts; `domains`: all there are."""
    held = list(rows)
    hosts = {row.place.host(base_domain) for row in held} if public else set()
    if public:
        places = {row.place for row in held}
        hosts |= {each.host for each in domains if each.state is DomainState.ACTIVE and each.place in places}
    hosts |= {row.place.preview_host(row.slot, base_domain) for row in held} if previews else set()
    return {
        "hosts": sorted(hosts), "containers": [row.container for row in held if row.deployment_id],
        "ports": [row.port for row in held],
    }  # fmt: skip


def facts_of(pair: Pair) -> dict[str, Any]:
    """What a plan on this environment is bound to."""
    return {
        row.slot.value: [
            row.state.value,
            row.deployment_id,
            row.port,
            row.grace_expires_at and row.grace_expires_at.isoformat(),
        ]
        for row in pair.rows
    }
