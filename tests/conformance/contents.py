"""What the official suite wants to read, word for word: tools that answer at once, resources, prompts."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    AudioContent,
    BlobResourceContents,
    CallToolResult,
    EmbeddedResource,
    GetPromptResult,
    ImageContent,
    Prompt,
    PromptArgument,
    PromptMessage,
    ReadResourceResult,
    Resource,
    ResourceTemplate,
    TextContent,
    TextResourceContents,
    Tool,
)

from codeb.entry.mcp.surroundings import Context

FAILS = "This tool intentionally returns an error for testing"
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
WAV = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQAAAAA="
NO_PARAMS: dict[str, Any] = {"type": "object", "properties": {}}
WORD = {"type": "string"}
DIALECT = "https://json-schema.org/draft/2020-12/schema"
RICH: dict[str, Any] = {
    "$schema": DIALECT,
    "type": "object",
    "$defs": {"address": {"$anchor": "addressDef", "type": "object", "properties": {"street": WORD, "city": WORD}}},
    "properties": {
        "name": WORD, "address": {"$ref": "#/$defs/address"}, "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": WORD, "email": WORD,
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}  # fmt: skip
MIRRORED: dict[str, Any] = {
    "type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}, "required": ["region"],
}  # fmt: skip

Run = Callable[[Context, dict[str, Any]], Awaitable[Any]]


def text(said: str, *, error: bool = False) -> CallToolResult:
    return CallToolResult(content=[TextContent(text=said)], is_error=error)


def _resource(uri: str, mime: str, said: str) -> EmbeddedResource:
    return EmbeddedResource(resource=TextResourceContents(uri=uri, mime_type=mime, text=said))


def _always(result: CallToolResult) -> Run:
    async def run(ctx: Context, said: dict[str, Any]) -> CallToolResult:
        return result

    return run


def _holds(content: Any) -> Run:
    return _always(CallToolResult(content=[content]))


async def _greet(ctx: Context, said: dict[str, Any]) -> CallToolResult:
    return text(f"Hello, {said.get('name', '')}!")


async def _logging(ctx: Context, said: dict[str, Any]) -> CallToolResult:
    for line in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await ctx.session.send_log_message("info", line, related_request_id=ctx.request_id)  # type: ignore[deprecated]  # the suite asks
        await asyncio.sleep(0.05)
    return text("Logged three lines.")


async def _progress(ctx: Context, said: dict[str, Any]) -> CallToolResult:
    for done in (0, 50, 100):
        await ctx.session.report_progress(done, 100, f"{done} of 100")
        await asyncio.sleep(0.05)
    return text("Reported progress.")


async def _missing(ctx: Context, said: dict[str, Any]) -> CallToolResult:
    has = ctx.session.client_capabilities
    if has is None or has.sampling is None:
        raise MCPError(MISSING_REQUIRED_CLIENT_CAPABILITY, "This needs sampling.", {"requiredCapabilities": {"sampling": {}}})
    return text("The client can sample.")


MIXED = CallToolResult(
    content=[
        TextContent(text="Multiple content types test:"), ImageContent(data=PNG, mime_type="image/png"),
        _resource("test://mixed-content-resource", "application/json", '{"test":"data","value":123}'),
    ]
)  # fmt: skip

WITHIN = _resource("test://embedded-resource", "text/plain", "This is an embedded resource content.")
SIMPLE: dict[str, tuple[str, Run, dict[str, Any]]] = {
    "test_simple_text": ("Text.", _always(text("This is a simple text response for testing.")), NO_PARAMS),
    "test_image_content": ("An image.", _holds(ImageContent(data=PNG, mime_type="image/png")), NO_PARAMS),
    "test_audio_content": ("A sound.", _holds(AudioContent(data=WAV, mime_type="audio/wav")), NO_PARAMS),
    "test_embedded_resource": ("A resource within.", _holds(WITHIN), NO_PARAMS),
    "test_multiple_content_types": ("Three kinds.", _always(MIXED), NO_PARAMS),
    "test_error_handling": ("Fails.", _always(text(FAILS, error=True)), NO_PARAMS),
    "test_tool_with_logging": ("Logs.", _logging, NO_PARAMS),
    "test_logging_tool": ("Logs.", _logging, NO_PARAMS),
    "test_tool_with_progress": ("Reports progress.", _progress, NO_PARAMS),
    "test_streaming_elicitation": ("Streams.", _progress, NO_PARAMS),
    "test_missing_capability": ("Needs sampling.", _missing, NO_PARAMS),
    "json_schema_2020_12_tool": ("A rich schema.", _always(text("Understood.")), RICH),
    "test_mirrored_header": ("A param in a header.", _always(text("Understood.")), MIRRORED),
    "greet": ("Greets.", _greet, {"type": "object", "properties": {"name": WORD}}),
}


def tool(name: str, about: str, schema: dict[str, Any]) -> Tool:
    return Tool(name=name, description=about, input_schema=schema)


# resources

RESOURCES = [
    Resource(uri="test://static-text", name="static-text", description="Text.", mime_type="text/plain"),
    Resource(uri="test://static-binary", name="static-binary", description="An image.", mime_type="image/png"),
    Resource(uri="test://watched-resource", name="watched", description="Watched.", mime_type="text/plain"),
]
TEMPLATES = [
    ResourceTemplate(
        uri_template="test://template/{id}/data", name="template", description="By id.", mime_type="application/json"
    )
]


def read(uri: str) -> ReadResourceResult:
    if uri == "test://static-text":
        found: TextResourceContents | BlobResourceContents = TextResourceContents(
            uri=uri, mime_type="text/plain", text="This is the content of the static text resource."
        )
    elif uri == "test://static-binary":
        found = BlobResourceContents(uri=uri, mime_type="image/png", blob=PNG)
    elif uri == "test://watched-resource":
        found = TextResourceContents(uri=uri, mime_type="text/plain", text="Watched.")
    elif uri.startswith("test://template/") and uri.endswith("/data"):
        which = uri.split("/")[3]
        body = json.dumps({"id": which, "templateTest": True, "data": f"Data for ID: {which}"})
        found = TextResourceContents(uri=uri, mime_type="application/json", text=body)
    else:
        raise MCPError(INVALID_PARAMS, "There is no such resource.", {"uri": uri})
    return ReadResourceResult(contents=[found])


# prompts


def _argument(name: str) -> PromptArgument:
    return PromptArgument(name=name, description=f"The {name}.", required=True)


PROMPTS = [
    Prompt(name="test_simple_prompt", description="Text."),
    Prompt(name="test_prompt_with_arguments", description="Two arguments.", arguments=[_argument("arg1"), _argument("arg2")]),
    Prompt(name="test_prompt_with_embedded_resource", description="A resource.", arguments=[_argument("resourceUri")]),
    Prompt(name="test_prompt_with_image", description="An image."),
    Prompt(name="test_input_required_result_prompt", description="Asks first."),
]


def prompt(name: str, said: dict[str, str]) -> GetPromptResult:
    match name:
        case "test_simple_prompt":
            contents: list[Any] = [TextContent(text="This is a simple prompt for testing.")]
        case "test_prompt_with_arguments":
            contents = [TextContent(text=f"Prompt with arguments: arg1='{said['arg1']}', arg2='{said['arg2']}'")]
        case "test_prompt_with_embedded_resource":
            within = _resource(said["resourceUri"], "text/plain", "Embedded resource content for testing.")
            contents = [within, TextContent(text="Please process the embedded resource above.")]
        case "test_prompt_with_image":
            contents = [ImageContent(data=PNG, mime_type="image/png"), TextContent(text="Please analyze the image above.")]
        case _:
            raise MCPError(INVALID_PARAMS, "There is no such prompt.")
    return GetPromptResult(messages=[PromptMessage(role="user", content=each) for each in contents])
