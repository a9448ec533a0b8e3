"""Firewall and registry compared: both ways."""

from typing import Any

from pydantic import Field

from codeb.contracts.store import Registry
from codeb.flows import firewall
from codeb.flows.firewall import FirewallInput
from codeb.model.access import Role
from codeb.model.drift import Mismatch
from codeb.tools import fields
from codeb.tools.call import Call
from codeb.tools.drafts import draft
from codeb.tools.operators import only_operators
from codeb.tools.tool import NextCall, Outcome, Risk, Tool


class SyncParams(fields.Changing):
    fix: bool = Field(False, description="open what is missing, close what nobody asked for, turn it on where it is off")


class DriftView(fields.Result):
    kind: str
    text: str
    repair: str
    mended: bool = False


class SyncResult(fields.Result):
    provider: str
    findings: list[DriftView]
    mended: int
    left: int
    operation_id: str | None = None


async def _sync(call: Call, params: SyncParams) -> Outcome:
    only_operators(call, "comparing the firewall with the registry")
    if begun := (await call.began("#firewall")).get("#firewall"):
        await call.ended(begun)
    found = await firewall.differences(call.kit, fixed=True)
    keys = [each.key for each in found]
    drafted = draft(
        "firewall_sync", {"fix": params.fix}, [f"{each.text}: {each.repair}" for each in found if params.fix], {"found": keys}
    )
    if params.dry_run:
        apply = NextCall("firewall_sync", {"fix": params.fix, "planId": drafted.id}, "do exactly this")
        return drafted.shown(f"{_count(found)}{', all would be mended' if params.fix and found else ''}.", apply)
    if not begun:
        drafted.still_fits(params)
    operation_id, left = begun, found
    if params.fix and found and not begun:
        value = await firewall.mending(call.kit, fixed=True)

        async def decide(registry: Registry) -> FirewallInput:
            return value

        operation_id = (await call.open(firewall.SAGA, (firewall.LOCK,), decide, part="#firewall")).id
        await call.ended(operation_id)
        left = await firewall.differences(call.kit, fixed=True)
    still = {each.key for each in left}
    views = [_view(each, params.fix and each.key not in still) for each in found]
    result = SyncResult(
        provider=call.kit.firewall.provider, findings=views, mended=sum(each.mended for each in views), left=len(still),
        operation_id=operation_id,
    )  # fmt: skip
    if call.kit.firewall.provider == "none":
        return Outcome(result, "CODEB_FIREWALL is none: there is nothing to compare.")
    if not found:
        return Outcome(result, "Firewall and registry agree.")
    nexts = () if params.fix else (NextCall("firewall_sync", {"fix": True, "planId": _fixing(found)}, "mend all of it"),)
    return Outcome(result, f"{_count(found)}, {result.mended} mended.", nexts)


def _fixing(found: list[Mismatch]) -> str:
    changes = [f"{each.text}: {each.repair}" for each in found]
    return draft("firewall_sync", {"fix": True}, changes, {"found": [each.key for each in found]}).id


def _count(found: list[Mismatch]) -> str:
    return f"{len(found)} difference{'' if len(found) == 1 else 's'} between firewall and registry"


def _view(each: Mismatch, mended: bool) -> DriftView:
    return DriftView(kind=each.kind, text=each.text, repair=each.repair, mended=mended)


TOOLS: tuple[Tool[Any], ...] = (
    Tool(
        "firewall_sync", "Compare the firewall",
        "What the firewall lacks, and what it has that nobody asked for; with fix, it is mended.",
        SyncParams, SyncResult, Role.ADMIN, Risk.CHANGES, _sync,
    ),
)  # fmt: skip
