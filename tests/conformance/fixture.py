"""The catalogue that the official suite wants to meet, as a part of the real server: it takes the place of ours."""

from typing import Any

from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CompleteRequestParams,
    CompleteResult,
    Completion,
    EmptyResult,
    GetPromptRequestParams,
    GetPromptResult,
    ListPromptsResult,
    ListResourcesResult,
    ListResourceTemplatesResult,
    ListToolsResult,
    PaginatedRequestParams,
    ReadResourceRequestParams,
    ReadResourceResult,
    SetLevelRequestParams,
    SubscribeRequestParams,
    UnsubscribeRequestParams,
)

from codeb.entry.mcp import tasks
from codeb.entry.mcp.calls import Calls
from codeb.entry.mcp.surroundings import Context, Surroundings
from tests.conformance import contents
from tests.conformance.jobs import SHAPES, Jobs
from tests.conformance.questions import ASKS, LIVE, Questions, form, live, wire


class Fixture:
    def __init__(self, around: Surroundings) -> None:
        self.questions = Questions(around)
        self.jobs = Jobs(self.questions)
        simple = [contents.tool(name, about, schema) for name, (about, _, schema) in contents.SIMPLE.items()]
        others = [contents.tool(name, "For the suite.", schema) for name, schema in {**LIVE, **SHAPES}.items()]
        self.tools = [*simple, *others]

    async def listed(self, ctx: Context, params: PaginatedRequestParams | None) -> ListToolsResult:
        return ListToolsResult(tools=self.tools, ttl_ms=1_000, cache_scope="private")

    async def called(self, ctx: Context, params: CallToolRequestParams) -> Any:
        if params.name in contents.SIMPLE:
            return await contents.SIMPLE[params.name][1](ctx, dict(params.arguments or {}))
        if params.name in SHAPES:
            return await self.jobs.call(ctx, params)
        if params.name in ASKS:
            return self.questions.answered(ctx, params)
        if params.name in LIVE:
            return await live(ctx, params)
        raise MCPError(INVALID_PARAMS, "There is no such tool.")

    def schema(self, name: str) -> dict[str, Any] | None:
        return next((each.input_schema for each in self.tools if each.name == name), None)

    async def prompt(self, ctx: Context, params: GetPromptRequestParams) -> GetPromptResult | dict[str, Any]:
        if params.name != "test_input_required_result_prompt":
            return contents.prompt(params.name, params.arguments or {})
        given = wire(params.input_responses)
        if "user_context" not in given:
            return self.questions.ask({"user_context": form("What context should the prompt use?", context="string")})
        return contents.prompt("test_simple_prompt", {})


async def _resources(ctx: Context, params: PaginatedRequestParams | None) -> ListResourcesResult:
    return ListResourcesResult(resources=contents.RESOURCES, ttl_ms=1_000, cache_scope="private")


async def _templates(ctx: Context, params: PaginatedRequestParams | None) -> ListResourceTemplatesResult:
    return ListResourceTemplatesResult(resource_templates=contents.TEMPLATES, ttl_ms=1_000, cache_scope="private")


async def _read(ctx: Context, params: ReadResourceRequestParams) -> ReadResourceResult:
    return contents.read(str(params.uri))


async def _prompts(ctx: Context, params: PaginatedRequestParams | None) -> ListPromptsResult:
    return ListPromptsResult(prompts=contents.PROMPTS, ttl_ms=1_000, cache_scope="private")


async def _complete(ctx: Context, params: CompleteRequestParams) -> CompleteResult:
    return CompleteResult(completion=Completion(values=["paris", "park", "party"], total=3, has_more=False))


async def _nothing(ctx: Context, params: Any) -> EmptyResult:
    return EmptyResult()


def part(server: Server[Any], around: Surroundings, calls: Calls) -> None:
    fixture = Fixture(around)
    for method, kind, handler in (
        ("tools/list", PaginatedRequestParams, fixture.listed), ("tools/call", CallToolRequestParams, fixture.called),
        ("prompts/list", PaginatedRequestParams, _prompts), ("prompts/get", GetPromptRequestParams, fixture.prompt),
        ("resources/list", PaginatedRequestParams, _resources), ("resources/read", ReadResourceRequestParams, _read),
        ("resources/templates/list", PaginatedRequestParams, _templates),
        ("resources/subscribe", SubscribeRequestParams, _nothing), ("resources/unsubscribe", UnsubscribeRequestParams, _nothing),
        ("completion/complete", CompleteRequestParams, _complete), ("logging/setLevel", SetLevelRequestParams, _nothing),
    ):  # fmt: skip
        server.add_request_handler(method, kind, handler)  # type: ignore[arg-type]  # each handler takes its own kind
    server.get_tool_input_schema = fixture.schema
    tasks.serve(server, fixture.jobs)
