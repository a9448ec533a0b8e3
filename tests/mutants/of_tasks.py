"""entry/mcp, what is no tool: whose task it is, what is read, and what gets into a text that a model obeys."""

from tests.mutants.guard import Guard, guards_of

tasks = guards_of("entry/mcp/tasks.py", "unit/entry/mcp/test_tasks.py")
TASKS = (
    tasks("    if not declared(ctx):\n", "    if False:\n"),
    tasks("    if ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS:\n", "    if False:\n"),
    tasks("return EXTENSION in known and ctx.protocol_version in MODERN_PROTOCOL_VERSIONS", "return EXTENSION in known"),
    tasks("return EXTENSION in known and ctx", "return ctx"),
    tasks("        if found is None:\n            raise unknown()\n", "        found = found or {}\n"),
    tasks("    if not known:\n        raise unknown()\n", ""),
)

durable = guards_of("entry/mcp/durable.py", "unit/entry/mcp/test_tasks.py")
DURABLE = (
    durable(
        "        if again is None:\n            return None\n        changes",
        "        again = again or caller.asks(FOLLOW)\n        changes",
    ),
    durable("        if await self._mine(caller, task_id) is None:\n            return False\n", ""),
    durable("return await self._mine(self._around.caller(ctx), task_id) is not None", "return True"),
    durable(
        '            gate.refused(look, 404, "operation_not_found", "A task that is not there was asked for.")\n',
        "            pass\n",
    ),
    durable(" or FOLLOW not in self._around.offered(caller)", ""),
    durable('params.get("wait") is False or ', ""),
    durable('if not tool.long or "idempotencyKey" in said or', "if not tool.long or"),
    durable('        if view["state"] == "cancelled":\n', "        if False:\n"),
    durable('return None if answer.body.get("code") in PASSING else answer', "return answer"),
    durable("answer if _tells(answer) else _recorded(body)", "answer"),
    durable("        if seen.status == 429 and before is not None:\n", "        if False:\n"),
)

people = guards_of("drivers/store/people.py", "unit/entry/mcp/test_tasks.py", "flows/test_called_again.py")
BEGAN = (
    people("(answers.c.operation_id == operation_id) & (answers.c.key_id == key_id)", "(answers.c.operation_id == operation_id)"),
    people("(answers.c.operation_id == operation_id) & (answers.c.key_id == key_id)", "(answers.c.key_id == key_id)"),
    people(" & answers.c.params.is_not(None)", "", "contracts/test_store.py"),
)

resources = guards_of("entry/mcp/resources.py", "unit/entry/mcp/test_resources.py")
RESOURCES = (
    resources("kind.pattern.fullmatch(uri)", "kind.pattern.match(uri)"),
    resources("        if not answer.ok:\n", "        if False:\n"),
    resources('        reading.enter("get_resources")\n', ""),
    resources('    reading.enter("get_guide")\n', ""),
)

oplog = guards_of("entry/mcp/oplog.py", "unit/entry/mcp/test_resources.py")
LOG = (
    oplog("said = json.dumps(text, ensure_ascii=False)", "said = text"),
    oplog("        if room < 0:\n            break\n", ""),
)

prompts = guards_of("entry/mcp/prompts.py", "unit/entry/mcp/test_prompts.py")
PROMPTS = (
    prompts("said[name] = word.rule(arguments[name])", "said[name] = arguments[name]"),
    prompts(" for name in arguments if name not in known]", " for name in () if name not in known]"),
    prompts(" if word.required else []", " if False else []"),
)

GUARDS: tuple[Guard, ...] = (*TASKS, *DURABLE, *BEGAN, *RESOURCES, *LOG, *PROMPTS)
