"""entry/mcp: what assistants must say, what a person allowed, what others wrote, which door leads where."""

from tests.mutants.guard import Guard, guards_of

MCP = "unit/entry/mcp"

asking = guards_of("entry/mcp/asking.py", f"{MCP}/test_asking.py")
ASKING = (
    asking("self._policy(caller) is not Approval.NAME:\n            return said", "True:\n            return said"),
    asking('answer.action != "accept" or (answer.content or {}).get(KEY) != state["name"]', 'answer.action != "accept"'),
    asking('answer.action != "accept" or', ""),
    asking('if self._around.house.kit.world.now().timestamp() >= state["until"]:', "if False:"),
    asking("body = json.dumps([tool.name, said], sort_keys=True)", "body = tool.name"),
    asking("{actor.key_id if actor else ''}", ""),
    asking("""{} if "idempotencyKey" in said else {"idempotency_key": f"asked-{state['once']}"}""", "{}"),
    asking('        self._use(state["once"], state["until"])\n', ""),
    asking('ctx.protocol_version >= "2026-07-28" and ', ""),
)

doors = guards_of("entry/mcp/doors.py", f"{MCP}/test_doors.py")
DOORS = (
    doors("if tool.changes == (name == READ):", "if False:"),
    doors("tools = self._around.house.gate.offered(actor)", "tools = list(self._around.house.gate._tools.values())"),
    doors("if any(tool.changes for tool in others) else ()", ""),
)

calls = guards_of("entry/mcp/calls.py", f"{MCP}/test_calls.py")
CALLS = (
    calls("if type(seconds) is not int or not 0 <= seconds <= MOST_SECONDS:", "if False:"),
    calls(
        "answer = await asyncio.shield(begun.task)",
        "answer = await begun.task",
        same="a long call is not cut in `follow`, which only looks",
    ),
)

shown = guards_of("entry/mcp/shown.py", f"{MCP}/test_shown.py")
SHOWN = (
    shown("    theirs = {name: data.pop(name) for name in list(data) if name in others}\n", "    theirs: dict[str, Any] = {}\n"),
    shown("if len(compact(body)) <= most:", "if True:"),
    shown("if str(key) in NEWEST_LAST else value[:keep]", "if False else value[:keep]"),
    shown("_cut(compact(each), LONG_LINE) for each in theirs", "str(each) for each in theirs"),
    shown("said[-MOST_EVIDENCE:] if name in NEWEST_LAST else said[:MOST_EVIDENCE]", "said"),
)

helps = guards_of("entry/mcp/helps.py", "entry/test_mcp_tools.py", f"{MCP}/test_calls.py")
HELPS = (helps("            params.setdefault(field.alias or name, field.get_default())\n", "            pass\n"),)

door = guards_of("gate/door.py", f"{MCP}/test_calls.py")
DOOR = (door("tool.must_say if asked.explicit else ()", "()"), door("tool.must_say if asked.explicit else ()", "tool.must_say"))

entrance = guards_of("entry/http/assistants.py", "entry/test_mcp.py")
ENTRANCE = (
    entrance("        self._around.let_in(request, counted=False)\n", ""),
    entrance(
        "            self._around.let_in(request, counted=True)\n        return body", "            pass\n        return body"
    ),
    entrance("if method in COUNTED and not caller.asked:", "if False:"),
    entrance('if request.method != "POST":', "if False:"),
    entrance("body = await body_of(request, MOST_BYTES)", "body = await body_of(request, 100 * MOST_BYTES)"),
    entrance("said = strict_json.loads(body)", "said = __import__('json').loads(body)"),
    entrance("        self._leave.set()\n", ""),
)

GUARDS: tuple[Guard, ...] = (*ASKING, *DOORS, *CALLS, *SHOWN, *HELPS, *DOOR, *ENTRANCE)
