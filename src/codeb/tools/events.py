"""Events: what happened that nobody asked for, or that somebody should hear of."""

from typing import Any

from pydantic import Field

from codeb.model.access import Actor, Role
from codeb.model.events import Event
from codeb.tools import fields
from codeb.tools.call import Call
from codeb.tools.tool import Outcome, Risk, Tool

PAGES = 20
"""so many pages are read at most to fill one for a key that sees few projects"""


class EventView(fields.Result):
    event_id: str
    at: str
    kind: str
    severity: str
    text: str
    project_name: str | None
    environment: str | None
    operation_id: str | None
    data: dict[str, Any] = Field(json_schema_extra=fields.UNTRUSTED)


class ListParams(fields.Params):
    project_name: fields.ProjectName | None = None
    limit: fields.Limit = 50
    before: fields.EventId | None = Field(None, description="`nextBefore` of the page before")


class ListResult(fields.Result):
    events: list[EventView]
    more: bool
    next_before: str | None


def event_view(event: Event) -> EventView:
    return EventView(
        event_id=event.id, at=event.at.isoformat(), kind=event.kind, severity=event.severity.value, text=event.text,
        project_name=event.project, environment=event.environment, operation_id=event.operation_id, data=dict(event.data),
    )  # fmt: skip


def may_see(actor: Actor, event: Event) -> bool:
    """Events of the caller's own team and projects, and those of the whole installation that speak of no project."""
    if event.project is not None:
        return event.team is not None and actor.sees_project(event.project, event.team)
    return event.team is None or event.team == actor.team


async def _list(call: Call, params: ListParams) -> Outcome:
    found, before, more = list[Event](), params.before, True
    for _ in range(PAGES):
        page = await call.kit.store.consult(
            lambda registry, before=before: registry.events.latest(  # type: ignore[misc]  # a default argument
                team=call.actor.team, project=params.project_name, limit=params.limit, before=before
            )
        )  # fmt: skip
        found += [each for each in page if may_see(call.actor, each)]
        more = len(page) == params.limit
        before = page[-1].id if page else before
        if not more or len(found) >= params.limit:
            break
    shown = found[: params.limit]
    if len(found) > params.limit:
        more, before = True, shown[-1].id
    result = ListResult(events=[event_view(each) for each in shown], more=more, next_before=before if more else None)
    said = f"{len(shown)} event{'' if len(shown) == 1 else 's'}, newest first."
    return Outcome(result, said, (), call.past(params.project_name))


TOOLS: tuple[Tool[Any], ...] = (
    Tool(
        "event_list", "List events",
        "What CodeB did or noticed by itself: restarts, automatic rollbacks, alarms; newest first.",
        ListParams, ListResult, Role.VIEWER, Risk.READS, _list,
    ),
)  # fmt: skip
