"""How a store that has a copy stands, in a sentence for people."""

from dataclasses import replace

from codeb.contracts.store import Standing
from codeb.model.specs import Finding


def as_it_stands(found: Finding, stands: Standing, about: str) -> Finding:
    """The line of a health report: away, with conflicts, or well, and who leads where that is another process."""
    if stands.degraded:
        text = (
            f"{about} is away since {stands.away_since:%Y-%m-%d %H:%M:%S} UTC ({stands.why}); the local copy "
            f"stands in, {stands.pending} transactions wait for it."
        )
        return Finding("store", "fail", text, "Bring the database back; what waits is added to it by itself.")
    if stands.conflicts:
        fix = "See conflict_list; put right what is wrong, then conflict_settle."
        return Finding("store", "warn", f"{found.text} {stands.conflicts} transactions could not be added to it.", fix)
    if stands.owed:
        text = f"{found.text} Process {stands.owed} did things without it which it does not have yet."
        return Finding("store", "warn", text, "Start that process again, or look at reconcile for what differs.")
    return replace(found, text=found.text + ("" if stands.leads else f" {stands.leader or 'Nobody'} leads."))
