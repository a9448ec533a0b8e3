"""Putting a risky call to the person at the client, where the key's policy wants a name typed and the client can ask.

The gate decides what is needed (decision 11). A name typed here is `name`, never `human`: another identity's yes is given out
of band. What a model filled in as `confirm` counts for nothing where a person can be asked.
"""

import hashlib
import json
from typing import Any

from mcp_types import CallToolRequestParams, ElicitRequest, ElicitRequestFormParams, ElicitResult, InputRequiredResult

from codeb.entry.mcp.caller import Caller
from codeb.entry.mcp.surroundings import Context, Surroundings
from codeb.errors import Conflict, PublicError
from codeb.gate import Answer
from codeb.model.access import Approval
from codeb.model.approvals import policy
from codeb.model.secret import Secret
from codeb.tools.tool import Tool

STANDS_SECONDS = 120.0
"""how long a question may be answered, by somebody who is there (S25)"""
KEY = "confirm"
MOST_USED = 1_000


class Asking:
    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._used: dict[str, float] = {}
        """answers that were used for calls which change nothing, until they expire: those are kept nowhere else"""

    def without_a_models_word(self, ctx: Context, caller: Caller, tool: Tool[Any], said: dict[str, Any]) -> dict[str, Any]:
        """The params without `confirm`, where a person will be asked for it."""
        if KEY not in said or not tool.may_be_risky or not can_ask(ctx) or self._policy(caller) is not Approval.NAME:
            return said
        return {name: value for name, value in said.items() if name != KEY}

    def _policy(self, caller: Caller) -> Approval:
        actor = self._around.actor(caller)
        return Approval.NONE if actor is None else policy(actor, self._around.house.kit.store.snapshot.teams.get(actor.team))

    def question(
        self, ctx: Context, caller: Caller, tool: Tool[Any], said: dict[str, Any], answer: Answer
    ) -> InputRequiredResult | None:
        """What to ask the person before the call is made again; None when there is nothing to ask, or nobody who can."""
        details = answer.body.get("details", {})
        if answer.body.get("code") != "confirm_needed" or "planId" not in details or not can_ask(ctx):
            return None
        kit, name = self._around.house.kit, str(details["confirm"])
        until = kit.world.now().timestamp() + STANDS_SECONDS
        state = {"name": name, "planId": details["planId"], "once": kit.world.new_id("ask"), "until": until}
        try:
            sealed = kit.vault.seal(Secret(json.dumps(state)), self._about(caller, tool, said))
        except PublicError:
            # nothing to bind an answer with: the refusal stands, and says what a call by a person needs
            return None
        field = {"type": "string", "title": f"Type {name} to go on", "maxLength": 253}
        form = {"type": "object", "required": [KEY], "properties": {KEY: field}}
        does = "; ".join(map(str, details.get("changes", ()))) or tool.about
        words = f"{tool.title}: {does[:800]}. Type {name} to allow exactly this, once."
        ask = ElicitRequest(params=ElicitRequestFormParams(message=words, requested_schema=form))
        return InputRequiredResult(input_requests={KEY: ask}, request_state=sealed)

    def answered(
        self, caller: Caller, tool: Tool[Any], said: dict[str, Any], params: CallToolRequestParams
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The call as the person allowed it, and how it is made: once. Raises `Conflict`: `declined`, `question_over`."""
        state = self._opened(caller, tool, said, params.request_state or "")
        answer = (params.input_responses or {}).get(KEY)
        if not isinstance(answer, ElicitResult) or answer.action != "accept" or (answer.content or {}).get(KEY) != state["name"]:
            raise Conflict(
                f"The person who was asked did not allow {tool.name}; nothing was done.", code="declined",
                hint="Do not ask for the same again; what was said stands.",
            )  # fmt: skip
        said = {**said, KEY: state["name"], "planId": state["planId"]}
        if tool.changes:
            # the same answer once more is the same call: it finds what was done, and does nothing
            return said, {} if "idempotencyKey" in said else {"idempotency_key": f"asked-{state['once']}"}
        self._use(state["once"], state["until"])
        return said, {}

    def _opened(self, caller: Caller, tool: Tool[Any], said: dict[str, Any], sealed: str) -> dict[str, Any]:
        try:
            opened = self._around.house.kit.vault.open(sealed, self._about(caller, tool, said))
        except PublicError:
            raise _over("is not an answer to this call") from None
        state: dict[str, Any] = json.loads(opened.reveal())
        if self._around.house.kit.world.now().timestamp() >= state["until"]:
            raise _over("came too late")
        return state

    def _about(self, caller: Caller, tool: Tool[Any], said: dict[str, Any]) -> str:
        """What a question is sealed for: whose it is, and exactly which call."""
        actor = self._around.actor(caller)
        body = json.dumps([tool.name, said], sort_keys=True)
        return f"question/{actor.key_id if actor else ''}/{hashlib.sha256(body.encode()).hexdigest()}"

    def _use(self, once: str, until: float) -> None:
        now = self._around.house.kit.world.now().timestamp()
        self._used = {each: end for each, end in self._used.items() if end > now}
        if once in self._used or len(self._used) >= MOST_USED:
            raise _over("was used already")
        self._used[once] = until


def can_ask(ctx: Context) -> bool:
    """Whether the client can put a form to a person and bring the answer back with the same call."""
    has = ctx.session.client_capabilities
    asks = has.elicitation if has else None
    return ctx.protocol_version >= "2026-07-28" and asks is not None and (asks.form is not None or asks.url is None)


def _over(why: str) -> Conflict:
    return Conflict(
        f"The answer {why}; nothing was done.", code="question_over", hint="Make the call again: the person is asked once more."
    )
