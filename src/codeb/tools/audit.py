"""The audit log: what was called, by whom, with what outcome; and whether the log is whole."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from codeb.contracts.audit import AuditAsk, AuditPage
from codeb.contracts.store import Registry
from codeb.model import grammar
from codeb.model.access import Role
from codeb.model.chain import AuditRow, Head, Span, Walk, followed
from codeb.tools import fields
from codeb.tools.call import Call
from codeb.tools.people import known, operates
from codeb.tools.refusals import degraded
from codeb.tools.tool import NextCall, Outcome, Risk, Tool

STRETCHES = 10
"""of the log that one call looks through at the most"""
AT_ONCE = 2_000
"""rows that are checked between two other things"""
SPANS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

CallerId = Annotated[str, AfterValidator(grammar.caller_id), Field(max_length=64, examples=["key_0123456789abcdef"])]
CorrelationId = Annotated[str, AfterValidator(grammar.correlation_id), Field(max_length=64)]


class AuditView(fields.Result):
    at: str
    tool: str
    ok: bool
    code: str
    summary: str
    key_id: str | None
    team: str | None
    role: str | None
    entry: str
    ip: str | None
    duration_ms: float
    correlation_id: str
    params: dict[str, Any] = Field(json_schema_extra=fields.UNTRUSTED)
    chain: str | None
    seq: int | None
    prev: str | None
    hash: str | None


class ListParams(fields.Params):
    tool: fields.ToolName | None = Field(None, description="only calls of this tool")
    project_name: fields.ProjectName | None = None
    key_id: CallerId | None = Field(None, description="only calls with this key")
    ok: bool | None = Field(None, description="true: only what succeeded; false: only what was refused or failed")
    since: fields.Since | None = None
    until: fields.Since | None = Field(None, description="only what is older: RFC 3339, or a span back from now")
    correlation_id: CorrelationId | None = Field(None, description="the one call that was answered with this id")
    limit: fields.Limit = 50
    before: int | None = Field(None, ge=1, le=2**62, description="`nextBefore` of the page before")


class ListResult(fields.Result):
    rows: list[AuditView]
    more: bool
    next_before: int | None


def view(row: AuditRow) -> AuditView:
    """Exactly what the row's hash covers."""
    return AuditView(**{**vars(row), "at": row.at.isoformat(timespec="microseconds"), "params": dict(row.params)})


def moment(text: str | None, now: datetime) -> datetime | None:
    """RFC 3339, or a span back from now; a span further back than a calendar reaches is no bound."""
    if text is None:
        return None
    try:
        if match := grammar.DURATION.fullmatch(text):
            return now - timedelta(**{SPANS[match[2]]: int(match[1])})
        return datetime.fromisoformat(text)
    except (OverflowError, ValueError):
        return None


def asked(call: Call, params: ListParams) -> AuditAsk:
    """What this caller may see of what it asked for: an admin its team's rows, a member those of its own key.

    Rows of no team (calls without a valid key) are for the admins of the operators' team.
    """
    actor, now = call.actor, call.kit.world.now()
    every = actor.role.covers(Role.ADMIN)
    nobodys = every and operates(known(call), actor)
    return AuditAsk(
        team=actor.team, nobodys=nobodys, key_id=params.key_id, tool=params.tool, project=params.project_name,
        own_key=None if every else actor.key_id, projects=actor.projects, ok=params.ok, since=moment(params.since, now),
        until=moment(params.until, now), correlation_id=params.correlation_id,
    )  # fmt: skip


async def _page(call: Call, ask: AuditAsk, before: int | None, limit: int) -> AuditPage:
    return await call.kit.store.consult(lambda registry: registry.audit.page(ask, before=before, limit=limit))


async def pages(call: Call, ask: AuditAsk, before: int | None = None) -> AsyncIterator[list[AuditView]]:
    """Everything there is, newest first, a bounded number at a time."""
    while True:
        page = await _page(call, ask, before, AT_ONCE)
        yield [view(row) for _, row in page.rows]
        if page.before is None:
            return
        before = page.before


async def _list(call: Call, params: ListParams) -> Outcome:
    ask = asked(call, params)
    found, before = list[AuditView](), params.before
    for _ in range(STRETCHES):
        page = await _page(call, ask, before, params.limit - len(found))
        found += [view(row) for _, row in page.rows]
        before = page.before
        if before is None or len(found) >= params.limit:
            break
    result = ListResult(rows=found, more=before is not None, next_before=before)
    away = call.kit.store.standing.degraded
    warnings = ("The database is away: these are only the rows of the time since.",) if away else ()
    said = f"{len(found)} row{'' if len(found) == 1 else 's'}, newest first."
    return Outcome(result, said, warnings=(*call.past(params.project_name), *warnings))


# whether it is whole


class FaultView(fields.Result):
    seq: int
    problem: str


class ChainView(fields.Result):
    chain: str
    rows: int
    first: int | None
    last: int | None
    hash: str | None
    """of the last row: kept elsewhere, it shows later that nothing up to here was changed"""
    pruned: int | None
    """rows up to this one went by their age"""
    why: str
    """why it begins, where another chain was given up for it"""
    whole: bool
    faults: list[FaultView]
    more_faults: int


class VerifyParams(fields.Params):
    pass


class VerifyResult(fields.Result):
    whole: bool
    rows: int
    """the operators: all there are; others: those of their team"""
    chains: list[ChainView]
    """empty for all but the operators: a chain runs through the rows of all teams"""
    unchained: int
    """rows from before there were chains: nothing can be said of them"""


async def _verify(call: Call, params: VerifyParams) -> Outcome:
    standing = call.kit.store.standing
    if standing.degraded:
        raise degraded(call.tool, standing)
    # first what is known to be written, then what is there: between the two it only grows
    noted = await call.kit.ledger.head()
    waiting = await call.kit.ledger.waiting()

    own = None if operates(known(call), call.actor) else call.actor.team

    async def look(registry: Registry) -> tuple[list[Span], list[AuditRow], int]:
        spans = list(await registry.audit.chains())
        firsts = [row for span in spans if span.first == 1 for row in await registry.audit.run(span.chain, 0, 1)]
        return spans, firsts, await registry.audit.unchained(own)

    spans, firsts, unchained = await call.kit.store.consult(look)
    heads = [head for row in firsts if (head := followed(row)) is not None] + ([noted] if noted else [])
    absent = sorted({head.chain for head in heads} - {span.chain for span in spans})
    begun = {row.chain: row.code for row in firsts if followed(row) or row.tool == "audit_chain"}
    views = [
        await _walked(call, span, [head for head in heads if head.chain == span.chain], waiting, begun.get(span.chain, ""), own)
        for span in [*spans, *(Span(chain, 0, None) for chain in absent)]
    ]
    return _verified(views, unchained, own)


def _verified(views: list[ChainView], unchained: int, own: str | None) -> Outcome:
    """Whether the log is whole is everybody's concern; what a chain shows of the calls of other teams is the operators'."""
    rows, broken = sum(each.rows for each in views), [each for each in views if not each.whole]
    result = VerifyResult(whole=not broken, rows=rows, chains=views if own is None else [], unchained=unchained)
    said = f"{rows} rows in {len(views)} chain{'' if len(views) == 1 else 's'}"
    old = (f"{unchained} rows are from before there were chains; nothing can be said of them.",) if unchained else ()
    nexts = (NextCall("audit_list", {}, "see the newest rows"),) if broken else ()
    if own is not None:
        how = "broken: whoever runs this CodeB sees where" if broken else "whole"
        text = f"The audit log is {how}; {rows} row{' is' if rows == 1 else 's are'} of team {own}."
    elif broken:
        first = broken[0].faults[0]
        text = f"The audit log is broken: {said}; {broken[0].chain}: row {first.seq} {first.problem}."
    else:
        text = f"The audit log is whole: {said}."
    return Outcome(result, text, nexts, old)


async def _walked(call: Call, span: Span, heads: list[Head], waiting: Any, why: str, own: str | None) -> ChainView:
    """One chain from its first row to its last; `own`: counted are the rows of that team.

    Where it begins is read together with its first rows: both may be pruned.
    """
    chain = span.chain

    async def begin(registry: Registry) -> tuple[Head | None, list[AuditRow]]:
        here = next((each for each in await registry.audit.chains() if each.chain == chain), span)
        return here.pruned, list(await registry.audit.run(chain, here.pruned.seq if here.pruned else 0, AT_ONCE))

    pruned, rows = await call.kit.store.consult(begin)
    walk = Walk(chain, pruned, heads, own)
    while rows:
        for row in rows:
            walk.see(row)
        after = rows[-1].seq or 0
        rows = list(await call.kit.store.consult(lambda registry, after=after: registry.audit.run(chain, after, AT_ONCE)))  # type: ignore[misc]  # a default
    for row in waiting:  # of this process: the database does not have them yet
        if row.chain == chain and row.seq > (walk.last.seq if walk.last else 0):
            walk.see(row)
    walk.end()
    last = walk.last
    return ChainView(
        chain=chain, rows=walk.rows, first=walk.first, last=last.seq if last else None, hash=last.hash if last else None,
        pruned=pruned.seq if pruned else None, why=why, whole=walk.whole, more_faults=walk.more,
        faults=[FaultView(seq=each.seq, problem=each.problem) for each in walk.faults],
    )  # fmt: skip


TOOLS: tuple[Tool[Any], ...] = (
    Tool(
        "audit_list", "Read the audit log",
        "Every call, accepted or refused, newest first: an admin sees the team's, a member those of the own key.",
        ListParams, ListResult, Role.MEMBER, Risk.READS, _list,
    ),
    Tool(
        "audit_verify", "Check that the audit log is whole",
        "Recompute every hash of every chain. The operators see which rows are missing, altered, put in or cut off.",
        VerifyParams, VerifyResult, Role.ADMIN, Risk.READS, _verify,
    ),
)  # fmt: skip
