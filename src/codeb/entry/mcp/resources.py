"""What an assistant may read: an overview, the slots of an environment, operations, and the guide.

Each is made of calls of the gate with the caller's own key, so that role, reach and record are those of the tools.
"""

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    ListResourcesResult,
    ListResourceTemplatesResult,
    PaginatedRequestParams,
    ReadResourceRequestParams,
    ReadResourceResult,
    Resource,
    ResourceTemplate,
    TextResourceContents,
)

from codeb.entry.mcp.begun import Begun
from codeb.entry.mcp.calls import Calls
from codeb.entry.mcp.oplog import log_text
from codeb.entry.mcp.shown import capped
from codeb.entry.mcp.surroundings import Context, Surroundings
from codeb.gate import Answer

JSON, TEXT, MARKDOWN = "application/json", "text/plain", "text/markdown"
MOST_ROWS = 50
"""environments in an overview"""
LIST_FRESH_MS = 3_600_000
GUIDE = "codeb://guide"
OVERVIEW = "codeb://overview"


@dataclass(frozen=True)
class Kind:
    """One kind of resource. `uri` is a template where `{names}` stand in it."""

    uri: str
    name: str
    title: str
    about: str
    mime: str
    read: "Callable[[Reading, Mapping[str, str]], Awaitable[str]]"

    @property
    def pattern(self) -> re.Pattern[str]:
        return _pattern(self.uri)


@cache
def _pattern(uri: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/?#]{1,80})", re.escape(uri)))


class Reading:
    """One read, by one caller."""

    def __init__(self, around: Surroundings, calls: Calls, ctx: Context, uri: str) -> None:
        self._around, self._calls, self._ctx, self.uri = around, calls, ctx, uri

    def enter(self, what: str) -> None:
        self._around.enter(self._ctx, what)

    @property
    def correlation_id(self) -> str:
        return self._around.caller(self._ctx).correlation_id

    async def ask(self, tool: str, **params: Any) -> Answer:
        return await self._calls.begin(Begun(self._around.caller(self._ctx).asks(tool, params))).task

    async def body(self, tool: str, **params: Any) -> dict[str, Any]:
        """The answer's body. Raises `MCPError` where there is none."""
        answer = await self.ask(tool, **params)
        if not answer.ok:
            code = INTERNAL_ERROR if answer.status in (429, 500, 503) else INVALID_PARAMS
            said = f"{answer.body['error']} {answer.body['hint']}".strip()
            raise MCPError(code, said, {"uri": self.uri, "code": answer.body["code"]})
        return answer.body


def _told(body: dict[str, Any]) -> str:
    """Within the same size as an answer, and with the names of what others wrote first."""
    body = capped(body)
    theirs = {"untrusted": body["untrusted"]} if body.get("untrusted") else {}
    return json.dumps({**theirs, **body}, ensure_ascii=False, separators=(",", ":"))


async def _overview(reading: Reading, _: Mapping[str, str]) -> str:
    """What this key may see, in short. A part that the key may not ask for says so; the others are there."""
    parts: dict[str, Any] = {}
    asked: tuple[tuple[str, str, dict[str, Any], Callable[[dict[str, Any]], Any]], ...] = (
        ("you", "whoami", {}, _you),
        ("environments", "slot_list", {"limit": MOST_ROWS}, _rows),
        ("running", "operation_list", {"running": True, "limit": MOST_ROWS}, _operations),
    )  # fmt: skip
    for name, tool, params, pick in asked:
        answer = await reading.ask(tool, **params)
        parts[name] = pick(answer.body) if answer.ok else {"unavailable": answer.body["error"]}
        if answer.body.get("more"):
            parts["more"] = [*parts.get("more", ()), f"There are more {name}: {tool} pages through them."]
    return _told({**parts, "guide": GUIDE})


def _you(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: body[name] for name in ("team", "role", "member", "projects", "environments", "approval", "expiresAt")}


def _rows(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [_row(each) for each in body["environments"]]


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    slots = {name: {"state": row[name]["state"], "version": row[name]["version"]} for name in ("blue", "green")}
    busy = {"operation": row["operation"]["operationId"]} if row["operation"] else {}
    return {"projectName": row["projectName"], "environment": row["environment"], "url": row["url"], **slots, **busy}


def _operations(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    named = ("operationId", "tool", "projectName", "environment", "state", "step", "startedAt")
    return [{name: view[name] for name in named} for view in body["operations"]]


async def _slots(reading: Reading, names: Mapping[str, str]) -> str:
    return _told(await reading.body("slot_status", projectName=names["projectName"], environment=names["environment"]))


async def _operation(reading: Reading, names: Mapping[str, str]) -> str:
    return _told(await reading.body("operation_get", operationId=names["operationId"]))


async def _log(reading: Reading, names: Mapping[str, str]) -> str:
    return log_text(await reading.body("operation_get", operationId=names["operationId"]), reading.correlation_id)


async def _guide(reading: Reading, _: Mapping[str, str]) -> str:
    reading.enter("get_guide")
    return guide()


@cache
def guide() -> str:
    return files("codeb.entry.mcp").joinpath("guide.md").read_text(encoding="utf-8")


SLOTS = "codeb://projects/{projectName}/{environment}/slots"
OPERATION = "codeb://operations/{operationId}"
KINDS = (
    Kind(
        OVERVIEW, "overview", "Overview", "Who you are, every environment you may see with both slots, what runs now.",
        JSON, _overview,
    ),
    Kind(GUIDE, "guide", "Guide", "How to deploy safely with CodeB, written for an assistant.", MARKDOWN, _guide),
    Kind(
        SLOTS, "slots", "Slots", "Both slots of an environment: state, version, health, grace, drift, as slot_status says.",
        JSON, _slots,
    ),
    Kind(
        OPERATION, "operation", "Operation", "One operation with its steps and its result, as operation_get says.",
        JSON, _operation,
    ),
    Kind(
        f"{OPERATION}/log", "operation-log", "Operation log",
        "What an operation did, step by step, as text; with the last lines of a container that failed.", TEXT, _log,
    ),
)  # fmt: skip


class Resources:
    def __init__(self, around: Surroundings, calls: Calls) -> None:
        self._around, self._calls = around, calls

    async def list(self, ctx: Context, params: PaginatedRequestParams | None) -> ListResourcesResult:
        self._around.enter(ctx, "get_resources")
        there = [
            Resource(uri=each.uri, name=each.name, title=each.title, description=each.about, mime_type=each.mime)
            for each in KINDS if "{" not in each.uri
        ]  # fmt: skip
        return ListResourcesResult(resources=there, ttl_ms=LIST_FRESH_MS, cache_scope="private")

    async def templates(self, ctx: Context, params: PaginatedRequestParams | None) -> ListResourceTemplatesResult:
        self._around.enter(ctx, "get_resources")
        there = [
            ResourceTemplate(uri_template=each.uri, name=each.name, title=each.title, description=each.about, mime_type=each.mime)
            for each in KINDS if "{" in each.uri
        ]  # fmt: skip
        return ListResourceTemplatesResult(resource_templates=there, ttl_ms=LIST_FRESH_MS, cache_scope="private")

    async def read(self, ctx: Context, params: ReadResourceRequestParams) -> ReadResourceResult:
        uri = str(params.uri)
        reading = Reading(self._around, self._calls, ctx, uri)
        for kind in KINDS:
            if found := kind.pattern.fullmatch(uri):
                text = await kind.read(reading, found.groupdict())
                fresh = LIST_FRESH_MS if kind.uri == GUIDE else 0
                content = TextResourceContents(uri=uri, mime_type=kind.mime, text=text)
                return ReadResourceResult(contents=[content], ttl_ms=fresh, cache_scope="private")
        reading.enter("get_resources")
        raise MCPError(INVALID_PARAMS, "There is no such resource.", {"uri": uri})


def part(server: Server[Any], around: Surroundings, calls: Calls) -> None:
    """Resources, as a part of the server."""
    resources = Resources(around, calls)
    server.add_request_handler("resources/list", PaginatedRequestParams, resources.list)
    server.add_request_handler("resources/templates/list", PaginatedRequestParams, resources.templates)
    server.add_request_handler("resources/read", ReadResourceRequestParams, resources.read)
