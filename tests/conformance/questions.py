"""Tools of the official suite that ask before they answer: with the same call again in the newest revision, on the session's
back channel in the one before, where there is one."""

import json
from typing import Any

from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, CallToolRequestParams, SamplingMessage, TextContent

from codeb.entry.mcp.surroundings import Context, Surroundings
from codeb.errors import PublicError
from codeb.model.secret import Secret
from tests.conformance.contents import NO_PARAMS, text

ABOUT = "fixture/question"


def form(words: str, **fields: str) -> dict[str, Any]:
    shape = {"type": "object", "properties": {name: {"type": kind} for name, kind in fields.items()}, "required": list(fields)}
    return {"method": "elicitation/create", "params": {"mode": "form", "message": words, "requestedSchema": shape}}


def sample(words: str, most: int = 100) -> dict[str, Any]:
    said = [{"role": "user", "content": {"type": "text", "text": words}}]
    return {"method": "sampling/createMessage", "params": {"messages": said, "maxTokens": most}}


ROOTS: dict[str, Any] = {"method": "roots/list", "params": {}}
NAME, COLOUR = form("What is your name?", name="string"), form("Step 2: What is your favorite color?", color="string")
CONFIRM = form("Please confirm", ok="boolean")
ASKS: dict[str, tuple[dict[str, dict[str, Any]], ...]] = {
    "test_input_required_result_elicitation": ({"user_name": NAME},),
    "test_input_required_result_sampling": ({"capital_question": sample("What is the capital of France?")},),
    "test_input_required_result_list_roots": ({"client_roots": ROOTS},),
    "test_input_required_result_request_state": ({"confirm": CONFIRM},),
    "test_input_required_result_multiple_inputs": (
        {"user_name": NAME, "greeting": sample("Generate a greeting", 50), "client_roots": ROOTS},
    ),
    "test_input_required_result_multi_round": ({"step1": form("Step 1: What is your name?", name="string")}, {"step2": COLOUR}),
    "test_input_required_result_tampered_state": ({"confirm": CONFIRM},),
    "test_input_required_result_capabilities": ({"user_name": NAME, "greeting": sample("Generate a greeting", 50)},),
}  # fmt: skip
"""the rounds of each, and what is asked in them"""
STATELESS = frozenset(
    {f"test_input_required_result_{each}" for each in ("elicitation", "sampling", "list_roots", "capabilities")}
)
"""that seal no state"""


class Questions:
    def __init__(self, around: Surroundings) -> None:
        self._vault = around.house.kit.vault

    def ask(self, requests: dict[str, Any], state: Any = None) -> dict[str, Any]:
        """What to answer first, with its state sealed as the server seals its own."""
        sealed = {} if state is None else {"requestState": self._vault.seal(Secret(json.dumps(state)), ABOUT)}
        return {"resultType": "input_required", "inputRequests": requests, **sealed}

    def opened(self, sealed: str | None) -> Any:
        try:
            return json.loads(self._vault.open(sealed or "", ABOUT).reveal())
        except PublicError:
            raise MCPError(INVALID_PARAMS, "The state is not one that this server made.") from None

    def answered(self, ctx: Context, params: CallToolRequestParams) -> Any:
        rounds = ASKS[params.name]
        given = wire(params.input_responses)
        stateful = params.name not in STATELESS
        at = self.opened(params.request_state)["round"] if stateful and params.request_state else 0
        if stateful and given and params.request_state is None:
            given = {}
        wanted = {name: each for name, each in rounds[at].items() if may(ctx, each)}
        if set(wanted) - set(given):
            return self.ask(wanted, {"round": at} if stateful else None)
        if at + 1 < len(rounds):
            return self.ask(rounds[at + 1], {"round": at + 1})
        return text(f"Hello, {name_in(given)}! state-ok {json.dumps(given)}")


def wire(responses: Any) -> dict[str, Any]:
    return {
        name: each.model_dump(by_alias=True, mode="json", exclude_none=True) if hasattr(each, "model_dump") else each
        for name, each in (responses or {}).items()
    }


def name_in(given: dict[str, Any]) -> str:
    return str(((given.get("user_name") or {}).get("content") or {}).get("name", "you"))


def may(ctx: Context, asked: dict[str, Any]) -> bool:
    """Whether the client said that it can be asked this."""
    has = ctx.session.client_capabilities
    kind = asked["method"].partition("/")[0]
    return has is not None and getattr(has, kind) is not None


# the revision before

DEFAULTS: dict[str, Any] = {
    "name": {"type": "string", "default": "John Doe"}, "age": {"type": "integer", "default": 30},
    "score": {"type": "number", "default": 95.5},
    "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
    "verified": {"type": "boolean", "default": True},
}  # fmt: skip


def _named(*words: str) -> list[dict[str, str]]:
    return [{"const": f"value{number}", "title": word} for number, word in enumerate(words, 1)]


ENUMS: dict[str, Any] = {
    "untitledSingle": {"type": "string", "enum": ["option1", "option2", "option3"]},
    "titledSingle": {"type": "string", "oneOf": _named("First Option", "Second Option", "Third Option")},
    "legacyEnum": {"type": "string", "enum": ["opt1", "opt2", "opt3"], "enumNames": ["Option One", "Option Two", "Option Three"]},
    "untitledMulti": {"type": "array", "items": {"type": "string", "enum": ["option1", "option2", "option3"]}},
    "titledMulti": {"type": "array", "items": {"anyOf": _named("First Choice", "Second Choice", "Third Choice")}},
}  # fmt: skip
USER: dict[str, Any] = {"username": {"type": "string"}, "email": {"type": "string"}}
FORMS = {"test_elicitation": USER, "test_elicitation_sep1034_defaults": DEFAULTS, "test_elicitation_sep1330_enums": ENUMS}
ONE_TEXT: dict[str, Any] = {"type": "object", "properties": {"message": {"type": "string"}, "prompt": {"type": "string"}}}
LIVE = {**dict.fromkeys(FORMS, ONE_TEXT), "test_sampling": ONE_TEXT, **dict.fromkeys(ASKS, NO_PARAMS)}


async def live(ctx: Context, params: CallToolRequestParams) -> Any:
    """Ask within the call. Raises where there is no back channel: a server without sessions has none."""
    said = params.arguments or {}
    if params.name == "test_sampling":
        asked = [SamplingMessage(role="user", content=TextContent(text=str(said.get("prompt", ""))))]
        told = await ctx.session.create_message(asked, max_tokens=100, related_request_id=ctx.request_id)  # type: ignore[deprecated]
        return text(f"LLM response: {getattr(told.content, 'text', '')}")
    shape = {"type": "object", "properties": FORMS[params.name], "required": []}
    words = str(said.get("message", "Please fill this in."))
    answer = await ctx.session.elicit_form(words, shape, related_request_id=ctx.request_id)
    return text(f"Elicitation completed: action={answer.action}, content={json.dumps(answer.content)}")
