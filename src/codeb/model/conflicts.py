"""What a caller is told when the world does not allow a call, where several rooms must say the same."""

from codeb.errors import Busy
from codeb.model.journal import Operation


def busy(running: Operation) -> Busy:
    """The 409 that names who holds the place."""
    step = f" at step {running.step}" if running.step else ""
    return Busy(
        f"{running.tool} of {running.project} {running.environment} is running ({running.id}{step}).",
        hint=f"Wait for it (operation_get {running.id}) or cancel it (operation_cancel {running.id}).",
        details={
            "operationId": running.id, "tool": running.tool, "step": running.step,
            "startedAt": running.created_at.isoformat(), "startedBy": running.actor,
        },
    )  # fmt: skip
