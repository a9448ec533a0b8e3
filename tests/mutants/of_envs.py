"""tools/envs, tools/env_writes: who sees values, what a write may take away; tools/call: what every tool is given to ask."""

from tests.mutants.guard import Guard, guards_of

ENVS = "unit/tools/test_envs.py"
RIGHTS = "unit/gate/test_rights.py"
ONCE = "unit/gate/test_consent_once.py"

reads = guards_of("tools/envs.py", ENVS)
READS = (
    reads(
        "_get(call: Call, params: GetParams) -> Outcome:\n    call.project(params.project_name)\n",
        "_get(call: Call, params: GetParams) -> Outcome:\n",
    ),
    reads(
        "_history(call: Call, params: HistoryParams) -> Outcome:\n    call.project(params.project_name)\n",
        "_history(call: Call, params: HistoryParams) -> Outcome:\n",
    ),
    reads(
        "_diff(call: Call, params: DiffParams) -> Outcome:\n    call.project(params.project_name)\n",
        "_diff(call: Call, params: DiffParams) -> Outcome:\n",
    ),
    reads(
        "_scan(call: Call, params: ContentParams) -> Outcome:\n    call.project(params.project_name)\n",
        "_scan(call: Call, params: ContentParams) -> Outcome:\n",
    ),
    reads("if params.reveal and not call.actor.role.covers(Role.MEMBER):", "if False:"),
    reads("if params.reveal and not call.actor.role.covers(Role.MEMBER):", "if not call.actor.role.covers(Role.MEMBER):"),
    reads("        _rehearsal(params, place, version, names).still_fits(params)\n", "        pass\n"),
    reads("    if params.dry_run:\n        return _rehearse(params, place, version, names)\n", ""),
    reads("    if params.reveal:\n        await call.spend_approval()\n", ""),
    reads("env.values[name] if params.reveal else MASK", "env.values[name]"),
    reads("env.values[name] if params.reveal else MASK", "MASK"),
    reads("risky=lambda params: params.reveal", "risky=lambda params: False"),
    reads("if missing := sorted(set(keys) - env.values.keys()):", "if missing := list[str]():"),
    reads('"version": number, "keys": names,', '"version": number, "keys": [],'),
    reads(
        '"version": number, "keys": names,',
        '"version": None, "keys": names,',
        same="the plan is bound to the version beside what it shows of it",
    ),
    reads("if len(said) != 1:", "if not said:"),
    reads("if len(said) != 1:", "if len(said) > 1:"),
    reads("    if found.faults:\n", "    if False:\n"),
    reads("    if version is None:\n        at =", "    if False:\n        at ="),
)

writes = guards_of("tools/env_writes.py", ENVS)
WRITES = (
    writes("name = call.project(params.project_name).name", "name = params.project_name"),
    writes("        await call.ready(registry, name)\n", "", ENVS, "flows/test_envs.py", "flows/test_deletions_meanwhile.py"),
    writes("        _draft(call.tool, place, now, wanted).still_fits(params)\n", ""),
    writes(
        '{"version": now.number})\n\n\nasync def _write',
        "{})\n\n\nasync def _write",
        same="what it shows names the version it starts from",
    ),
    writes("    if params.dry_run:\n        drafted", "    if False:\n        drafted"),
    writes("if not params.values and not params.unset:", "if False:"),
    writes("params.unset or (), force=params.force", "params.unset or (), force=True"),
    writes("with_file(now, values, force=params.force)", "with_file(now, values, force=True)"),
    writes("with_version(now, then, force=params.force)", "with_version(now, then, force=True)"),
    writes("with_version(now, then, force=params.force)", "with_version(now, then, force=False)"),
    writes("by=call.actor.name, action=action", 'by="", action=action'),
    writes(
        "    try:\n        await envs.publish(call.kit, place)\n    except Exception as fault:",
        "    try:\n        await envs.publish(call.kit, place)\n    except ZeroDivisionError as fault:",
        ENVS,
        "flows/test_envs.py",
    ),
)

call = guards_of("tools/call.py", ONCE, "unit/gate/test_door.py", "unit/gate/test_together.py", RIGHTS)
CALL = (
    call(
        "            await self.kit.store.transact(self._use_approval)\n            self.approval = None\n\n    async def end",
        "            self.approval = None\n\n    async def end",
        ENVS,
    ),
    call(
        "            await self.kit.store.transact(self._use_approval)\n            self.approval = None\n\n    async def end",
        "            await self.kit.store.transact(self._use_approval)\n\n    async def end",
        same="what is used up already is passed over when the call ends",
    ),
    call("            await self._use_approval(registry)\n            done", "            done"),
    call("            await self._use_approval(registry, operation_id)\n", ""),
    call("stands = found.stands(now) if found", "stands = found.state if found"),
    call("        if stands is not Decision.APPROVED:\n            raise", "        if False:\n            raise"),
    call("Decision.USED, used_at=now, operation_id=operation_id", "Decision.APPROVED, used_at=now, operation_id=operation_id"),
    call("if found is not None and found.state is Decision.APPROVED:", "if False:"),
    call(
        "if self.needs_database and standing.degraded:", "if False:", ONCE, "unit/gate/test_door.py", "unit/gate/test_together.py"
    ),
    call("(found.tool, found.body_sha256) != (self.tool, self._body)", "False"),
    call("(found.tool, found.body_sha256) != (self.tool, self._body)", "found.tool != self.tool"),
    call(
        "(found.tool, found.body_sha256) != (self.tool, self._body)",
        "found.body_sha256 != self._body",
        same="the name of the tool is in what is hashed",
    ),
    call(
        "            if earlier is not None:\n                raise Replayed",
        "            if False:\n                raise Replayed",
    ),
    call(
        "if found is None or not self.actor.sees_project(name, found.team):",
        "if found is None:",
    ),
    call(
        "if project is None or not self.actor.sees_project(name, project.team):",
        "if project is None:",
        RIGHTS,
        "unit/gate/test_together.py",
    ),
    call(
        "        if not deleted and is_deleted(found):\n            raise gone(found)\n",
        "",
        "flows/test_undelete.py",
        "flows/test_project_delete.py",
    ),
    call(
        "        if fault := not_ready(project):\n            raise fault\n",
        "",
        "flows/test_deletions_meanwhile.py",
        "flows/test_project_delete.py",
    ),
    call("and self.actor.sees_project(name, each.team)\n        }", "\n        }"),
    call("if (deleted or not is_deleted(each)) and self", "if self", "flows/test_undelete.py", "flows/test_project_delete.py"),
)

GUARDS: tuple[Guard, ...] = (*READS, *WRITES, *CALL)
