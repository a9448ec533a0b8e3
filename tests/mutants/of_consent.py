"""gate/consent, model/approvals, tools/approvals: another identity's yes, to exactly this, once."""

from tests.mutants.guard import Guard, guards_of

CONSENT = "unit/gate/test_consent.py"
ONCE = "unit/gate/test_consent_once.py"
EDGES = "unit/gate/test_asking.py"
APPROVALS = "unit/model/test_approvals.py"

consent = guards_of("gate/consent.py", EDGES, CONSENT, ONCE)
ASKING = (
    consent("or not tool.is_risky(params):\n        return", "or True:\n        return"),
    consent('or getattr(params, "dry_run", False) or not', "or not"),
    consent("if needed is Approval.NONE:", "if needed is not Approval.HUMAN:"),
    consent("if needed is Approval.NONE:", "if needed is not Approval.NAME:"),
    consent("        await _named(tool, call, params)\n", ""),
    consent("if said is not None and (found := await _asked_before(call, body, said)):", "if False:"),
    consent("policy(call.actor, call.kit.store.snapshot.teams.get(call.actor.team))", "call.actor.approval"),
    consent("policy(call.actor, call.kit.store.snapshot.teams.get(call.actor.team))", "call.actor.bound"),
    consent("json.dumps([tool.name, done], sort_keys=True)", "json.dumps(done, sort_keys=True)"),
    consent("json.dumps([tool.name, done], sort_keys=True)", "json.dumps([tool.name], sort_keys=True)"),
    consent("not in (None, outcome.result.plan_id):", "is Ellipsis:"),
    consent("replace(call, idempotency_key=None)", "call"),
    consent('if name is not None and getattr(params, "confirm", "") == name:', 'if getattr(params, "confirm", ""):'),
    consent('if name is not None and getattr(params, "confirm", "") == name:', "if name is not None:"),
    consent(
        'if name is not None and getattr(params, "confirm", "") == name:',
        'if getattr(params, "confirm", "") == name:',
        same="confirm is always a text, so it never equals a name that is None; said for the reader",
    ),
    consent("call.actor.key_id, 1, body_sha256=body, plan_id=plan_id", "call.actor.key_id, 1, plan_id=plan_id"),
    consent("call.actor.key_id, 1, body_sha256=body, plan_id=plan_id", "call.actor.key_id, 1, body_sha256=body"),
    consent(
        "stands(call.kit.world.now()) is not Decision.WAITING else None",
        "stands(call.kit.world.now()) is Decision.APPROVED else None",
    ),
    consent("if found and found[0].stands(call.kit.world.now()) is not Decision.WAITING else", "if found else"),
    consent("    if stands is Decision.REJECTED:\n        raise rejected(found)\n", ""),
    consent("if stands is Decision.APPROVED and nobody_stands_by(found, known(call)):", "if False:"),
    consent("if stands is not Decision.APPROVED and not (stands is Decision.USED and call.idempotency_key):", "if False:"),
    consent("not (stands is Decision.USED and call.idempotency_key)", "stands is not Decision.USED"),
    consent("not (stands is Decision.USED and call.idempotency_key)", "not call.idempotency_key"),
    consent("not (stands is Decision.USED and call.idempotency_key)", "True"),
    consent("    call.approval = found.id\n", ""),
    consent("if store.standing.degraded:", "if False:"),
    consent(
        "            if now < each.expires_at:\n                return each", "            if True:\n                return each"
    ),
    consent("            if now < each.expires_at:\n                return each", "            pass"),
    consent("if each.plan_id == drafted.plan_id and each.stands(now) in", "if each.stands(now) in"),
    consent("each.stands(now) in (Decision.WAITING, Decision.APPROVED):", "each.stands(now) is Decision.WAITING:"),
    consent("each.stands(now) in (Decision.WAITING, Decision.APPROVED):", "each.stands(now) is Decision.APPROVED:"),
    consent("if each.state is Decision.WAITING:", "if False:"),
    consent("if each.stands(now) is Decision.EXPIRED else Decision.STALE", "if False else Decision.STALE"),
    consent("for each in waiting) >= MOST_WAITING:", "for each in waiting) > MOST_WAITING:"),
    consent("sum(each.stands(now) is Decision.WAITING for each", "sum(True for each"),
    consent("call.params.items() if name not in HOW}", "call.params.items()}"),
    consent("expires_at=now + STANDS_FOR", "expires_at=now + STANDS_FOR * 2"),
    consent("    if asked.state is Decision.REJECTED:\n        return rejected(asked)\n", ""),
)

approvals = guards_of("model/approvals.py", APPROVALS, CONSENT)
IDENTITY = (
    approvals("late = now >= self.expires_at", "late = now > self.expires_at"),
    approvals("self.state in (Decision.WAITING, Decision.APPROVED)", "self.state is Decision.WAITING"),
    approvals("self.state in (Decision.WAITING, Decision.APPROVED)", "self.state is Decision.APPROVED"),
    approvals("actor.approval.stricter(team.approval) if team else actor.approval", "actor.approval"),
    approvals("return asked.team == actor.team and not actor.projects", "return asked.team == actor.team"),
    approvals("return asked.team == actor.team and not actor.projects", "return not actor.projects"),
    approvals("return actor.sees_project(asked.project, asked.team)", "return asked.team == actor.team"),
    approvals('keys.get((found.created_by or "").rpartition("/")[2])', "None"),
    approvals("if not line or decider.key_id == asker_key:", "if not line:"),
    approvals("if not line or decider.key_id == asker_key:", "if decider.key_id == asker_key:"),
    approvals("if any(each.id == asker_key for each in line):", "if False:"),
    approvals("member = asker.member if asker else None", "member = None"),
    approvals("(member in makers or any(each.member == member for each in line))", "any(each.member == member for each in line)"),
    approvals("(member in makers or any(each.member == member for each in line))", "member in makers"),
    approvals("any(each.member == member for each in line))", "line[0].member == member)"),
    approvals("if any(each.preset in MACHINES for each in line):", "if False:"),
    approvals("if any(each.preset in MACHINES for each in line):", "if line[0].preset in MACHINES:"),
    approvals("if any(each.approval is Approval.HUMAN for each in line):", "if False:"),
    approvals("if any(each.approval is Approval.HUMAN for each in line):", "if line[0].approval is Approval.HUMAN:"),
    approvals('frozenset({"agent", "ci"})', 'frozenset({"agent"})'),
    approvals('return people.actor(asked.decided_key or "") is None', "return False"),
    approvals("and actor.role.covers(Role.MEMBER)}", "}"),
    approvals("if (actor := people.actor(key.id)) and actor", "if (actor := Actor(key.id, team, key.role)) and actor"),
    approvals("each.role.covers(asker.role.lesser(Role.ADMIN)) and not not_another", "not not_another"),
    approvals("asker.role.lesser(Role.ADMIN)", "asker.role"),
    approvals("and not not_another(each, key_id, people.keys)", ""),
    approvals("STANDS_FOR = timedelta(hours=1)", "STANDS_FOR = timedelta(hours=1, seconds=1)"),
)

tools = guards_of("tools/approvals.py", EDGES, CONSENT, ONCE, "unit/gate/test_together.py")
DECIDING = (
    tools("if asked is None or not visible(call.actor, asked):", "if asked is None:"),
    tools("asked.requested_key == call.actor.key_id:\n        next_", "True:\n        next_"),
    tools("and asked.requested_key != call.actor.key_id and call.actor", "and call.actor"),
    tools('and call.actor.may_use("approve", Role.MEMBER):', "and True:"),
    tools("call.past(params.project_name))", "())", EDGES),
    tools("team=call.actor.team, projects=reach", "team=call.actor.team, projects=None"),
    tools("if params.project_name else call.actor.projects or None", "if params.project_name else None"),
    tools("found[: params.limit]", "found"),
    tools("roles.get(asked.tool, Role.OWNER)", "roles.get(asked.tool, Role.MEMBER)"),
    tools("if not actor.may_use(asked.tool, role) or not", "if not"),
    tools("not (asked.environment is None or actor.may_touch(asked.environment)):", "False:"),
    tools("if who := not_another(actor, asked.requested_key, people.keys):", "if who := '':"),
    tools("if stands in (Decision.STALE, Decision.EXPIRED):", "if stands is Decision.STALE:"),
    tools("if stands in (Decision.STALE, Decision.EXPIRED):", "if stands is Decision.EXPIRED:"),
    tools("if stands is not Decision.WAITING:", "if False:"),
    tools("    _refuse(call, asked, roles, known(call))\n", ""),
    tools("        _refuse(mine, fresh, roles, people)\n", ""),
    tools("_refuse(mine, fresh, roles, people)", "_refuse(mine, fresh, roles, known(call))", ONCE),
    tools("actor, now = caller(call, people, Role.MEMBER), people.now", "actor, now = call.actor, people.now", ONCE),
    tools("        _draft(call.tool, fresh).still_fits(params)\n", ""),
    tools("fresh = await _found(registry, mine, params.approval_id)", "fresh = asked"),
)

GUARDS: tuple[Guard, ...] = (*ASKING, *IDENTITY, *DECIDING)
