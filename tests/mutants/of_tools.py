"""tools: keys, members, teams, the master key, the audit log, the end of a project."""

from tests.mutants.guard import Guard, guards_of

PEOPLE = "unit/tools/test_people.py"
HANDING = "unit/tools/test_handing_on.py"
RIGHTS = "unit/gate/test_rights.py"
AUDIT = "unit/gate/test_audit.py"
TOGETHER = "unit/gate/test_together.py"
DELETE = "flows/test_project_delete.py"
UNDELETE = "flows/test_undelete.py"
MEANWHILE = "flows/test_deletions_meanwhile.py"

people = guards_of("tools/people.py", HANDING, PEOPLE, TOGETHER)
WHO = (
    people(
        "    if call.actor.key_id not in people.keys:\n        return call.actor\n", "", "unit/gate/test_entrance.py", TOGETHER
    ),
    people("    if call.actor.key_id not in people.keys:", "    if True:"),
    people("if not actor.may_use(call.tool, needed):", "if False:"),
    people("if not actor.whole:", "if False:"),
    people("if actor.team not in people.teams:", "if False:"),
    people("if people.orphans(team, after):", "if False:"),
    people("held = actor.member is not None and key.member == actor.member", "held = key.member == actor.member"),
    people("held = actor.member is not None and key.member == actor.member", "held = False"),
    people("key.created_by == actor.key_id and key.member == actor.member", "key.created_by == actor.key_id"),
    people("key.created_by == actor.key_id and key.member == actor.member", "False"),
    people("return key.team == actor.team and (key.id == actor.key_id or held or made)", "return key.team == actor.team"),
    people(
        "return key.team == actor.team and (key",
        "return (key",
        same="whoever asks has picked the keys of the caller's team already (`mine`); said for whoever asks otherwise one day",
    ),
    people("if actor.role.covers(Role.ADMIN) or own(key, actor)]", "]"),
    people("if actor.role.covers(Role.ADMIN) or own(key, actor)]", "if own(key, actor)]"),
    people("found = people.actor(key.id) and beyond(key, actor)", "found = False"),
    people("found = people.actor(key.id) and beyond(key, actor)", "found = beyond(key, actor)"),
    people("if found and key.id != actor.key_id:", "if found:"),
    people("if found := wider(key, actor):", "if (found := wider(key, actor)) and False:"),
    people("TOKEN_BYTES = 24", "TOKEN_BYTES = 16"),
    people(
        "return actor.team == people.operators and not actor.projects", "return actor.team == people.operators", AUDIT, RIGHTS
    ),
    people("return actor.team == people.operators and not actor.projects", "return not actor.projects", AUDIT, RIGHTS),
    people("    whole(actor, what)\n    if not operates", "    if not operates"),
    people("if not operates(people, actor):", "if False:", RIGHTS),
    people('"sha256": digest(text)', '"sha256": digest(Secret(text.reveal().lower()))'),
)

tokens = guards_of("tools/tokens.py", HANDING, PEOPLE, TOGETHER)
KEYS = (
    tokens(
        "for key in mine(people, actor) if key.id == key_id)",
        "for key in people.keys.values() if key.id == key_id)",
        PEOPLE,
        RIGHTS,
    ),
    tokens("if end <= now:", "if end < now:"),
    tokens("if end <= now:", "if False:"),
    tokens("except (ValueError, OverflowError):", "except ValueError:"),
    tokens("except (ValueError, OverflowError):", "except OverflowError:"),
    tokens("if preset and not set(said) <= preset:", "if False:"),
    tokens("return preset or own\n", "return preset\n"),
    tokens("return preset or own\n", "return own\n"),
    tokens("if not preset & own:", "if False:"),
    tokens("    return preset & own\n", "    return preset\n"),
    tokens("    return preset & own\n", "    return own\n"),
    tokens("if params.role is None:\n            raise", "if False:\n            raise"),
    tokens("if params.role is not None and not most.covers(Role(params.role)):", "if False:"),
    tokens("else least.stricter(actor.bound)", "else least"),
    tokens("else least.stricter(actor.bound)", "else actor.bound"),
    tokens("if least.stricter(approval) is not approval:", "if False:"),
    tokens("if preset and preset.needs_projects and not projects:", "if False:"),
    tokens("        if name not in visible:\n", "        if False:\n"),
    tokens("if holder != actor.member and not actor.role.covers(Role.ADMIN):", "if False:"),
    tokens("    holder = actor.member\n", "    holder = None\n"),
    tokens("_end(params.expires, people.now) or actor.expires_at", "_end(params.expires, people.now)"),
    tokens("params.preset, approval, call.actor.key_id,", "params.preset, approval, None,"),
    tokens("    no_wider(key, actor)\n", ""),
    tokens("    actor = caller(call, people, Role.MEMBER)\n    no_orphan", "    actor = call.actor\n    no_orphan"),
    tokens("    no_orphan(people, actor)\n", ""),
    tokens("set(params.tools or ()) - _names()", "set()"),
    tokens(
        "        wanted, drafted = _creating(call, params, people)\n        drafted.still_fits(params)\n",
        "        wanted, drafted = _creating(call, params, people)\n",
        "unit/gate/test_door.py",
    ),
    tokens("for key in mine(people, call.actor) if params.ended", "for key in people.of(call.actor.team) if params.ended"),
    tokens("if params.ended or people.actor(key.id) is not None]", "]"),
    tokens("    actor = caller(call, people, Role.MEMBER)\n    key = key_of", "    actor = call.actor\n    key = key_of"),
    tokens('    within([key], people, actor, f"{key.id} cannot be revoked with this key")\n', ""),
    tokens("    owned_still(people, people.without([key.id]), actor.team)\n", ""),
    tokens("        await registry.keys.revoke(now.now, found.id)\n", ""),
    tokens("found = _revoking(call, params, now)", "found = key"),
    tokens(
        'revoke it")\n        return drafted.shown(f"Would revoke {key.id}; calls with it are refused at once.", apply)'
        "\n    drafted.still_fits(params)",
        'revoke it")\n        return drafted.shown(f"Would revoke {key.id}; calls with it are refused at once.", apply)',
    ),
    tokens("    actor = caller(call, people, Role.MEMBER)\n    old = key_of", "    actor = call.actor\n    old = key_of"),
    tokens(
        "    if role is None:\n        raise Conflict(", "    role = role or old.role\n    if False:\n        raise Conflict("
    ),
    tokens('sha256="", role=role, created_at', 'sha256="", created_at'),
    tokens("    no_wider(fresh, actor)\n", ""),
    tokens("OWN_OVERLAP if old.id == call.actor.key_id else 0", "0"),
    tokens("        if overlap:\n            await", "        if False:\n            await"),
    tokens("            await registry.keys.expire(end, former.id)\n", ""),
    tokens("min(end, former.expires_at or end)", "end"),
    tokens("            await registry.keys.revoke(end, former.id)\n", "            pass\n"),
    tokens("        _rotation(former, overlap).still_fits(params)\n", ""),
    tokens("former, fresh = _rotating(call, params, people)", "former, fresh = old, _rotating(call, params, known(call))[1]"),
)

members = guards_of("tools/members.py", HANDING, PEOPLE, TOGETHER)
MEMBERS = (
    members("    actor = caller(call, people, Role.ADMIN)\n    no_orphan", "    actor = call.actor\n    no_orphan"),
    members("    no_orphan(people, actor)\n", ""),
    members("if (there := people.named(actor.team, params.name)) is not None:", "if there := None:", PEOPLE),
    members("actor.tools, actor.projects, actor.environments,\n", "frozenset(), actor.projects, actor.environments,\n"),
    members("actor.tools, actor.projects, actor.environments,\n", "actor.tools, frozenset(), actor.environments,\n"),
    members("actor.tools, actor.projects, actor.environments,\n", "actor.tools, actor.projects, frozenset(),\n"),
    members("people.now, actor.expires_at, None, member.id", "people.now, None, None, member.id"),
    members(
        "people.now, actor.expires_at, None, member.id, None, actor.bound",
        "people.now, actor.expires_at, None, None, None, actor.bound",
    ),
    members("None, actor.bound, actor.key_id,", "None, Key.approval, actor.key_id,"),
    members("None, actor.bound, actor.key_id,", "None, actor.bound, None,"),
    members("    no_wider(key, actor)\n    plan", "    plan"),
    members('if "role" not in params.model_fields_set or role is there.role:', "if role is there.role:", PEOPLE),
    members('if "role" not in params.model_fields_set or role', 'if "role" not in params.model_fields_set or None', PEOPLE),
    members("if not (actor.role.covers(there.role) and", "if not (True and", PEOPLE),
    members("and actor.role.covers(role)):", "and True):", PEOPLE),
    members("role=key.role.lesser(most))", "role=key.role)", PEOPLE),
    members("key.member == there.id]\n", "key.member]\n", PEOPLE),
    members('    within(held, people, actor, f"{there.name} cannot be given another role with this key")\n', "", PEOPLE),
    members("    if most is role:\n", "    if False:\n", PEOPLE),
    members("    if most is role:\n", "    if True:\n", PEOPLE),
    members("if after.actor(key.id) is not None:", "if True:", PEOPLE),
    members("    owned_still(people, after, actor.team)\n", "", PEOPLE),
    members("            await registry.members.set_role(member.id, member.role)\n", "", PEOPLE),
    members("        drafted.still_fits(params)\n        if key is None", "        if key is None", "unit/gate/test_door.py"),
    members("if each.team == team and (params", "if (params"),
    members("(params.removed or each.removed_at is None)", "True"),
    members(
        "    actor = caller(call, people, Role.ADMIN)\n    member = member_of", "    actor = call.actor\n    member = member_of"
    ),
    members("if not actor.role.covers(member.role):", "if False:"),
    members("if key.member == member.id and key.revoked_at is None]", "if key.revoked_at is None]"),
    members("if key.member == member.id and key.revoked_at is None]", "if key.member == member.id]"),
    members('    within(held, people, actor, f"{member.name} cannot be removed with this key")\n', ""),
    members("    owned_still(people, people.without([key.id for key in held], member.id), actor.team)\n", ""),
    members("        await registry.members.remove(people.now, gone.id)\n", ""),
    members("        await registry.keys.revoke(people.now, *(key.id for key in keys))\n", ""),
    members("gone, keys, _ = _removing(call, params, people)", "gone, keys = member, held"),
    members(
        "    drafted.still_fits(params)\n\n    async def act(registry: Registry) -> RemoveResult",
        "\n    async def act(registry: Registry) -> RemoveResult",
    ),
    members("if key.created_by in revoked and people.actor(key.id) is not None]", "if key.created_by in revoked]"),
    members("if key.created_by in revoked and people.actor(key.id) is not None]", "if False]"),
)

teams = guards_of("tools/teams.py", HANDING, PEOPLE, TOGETHER)
TEAMS = (
    teams("if found is None or team not in (None, found.id):", "if found is None:", PEOPLE, RIGHTS),
    teams(
        "if found is None or team not in (None, found.id):",
        "if team not in (None, call.actor.team):",
        "unit/gate/test_entrance.py",
        TOGETHER,
    ),
    teams(
        '    actor = caller(call, people, Role.OWNER)\n    whole(actor, "a new', '    actor = call.actor\n    whole(actor, "a new'
    ),
    teams('    whole(actor, "a new team")\n', ""),
    teams("if actor.expires_at is not None:\n        raise", "if False:\n        raise"),
    teams("if params.team in people.teams:", "if False:"),
    teams("approval=actor.approval,\n        created_by", "\n        created_by"),
    teams("approval=actor.approval,\n        created_by", "approval=actor.bound,\n        created_by"),
    teams("        created_by=actor.key_id,\n", ""),
    teams(
        "        drafted.still_fits(params)\n        made = minted(key)", "        made = minted(key)", "unit/gate/test_door.py"
    ),
    teams(
        "found = [people.teams[call.actor.team]] if call.actor.team in people.teams else []",
        "found = list(people.teams.values())",
    ),
    teams("if call.actor.team in people.teams else []", "if True else []", TOGETHER, "unit/gate/test_entrance.py"),
    teams("    actor = caller(call, people, Role.ADMIN)\n    whole", "    actor = call.actor\n    whole"),
    teams('    whole(actor, "the team\'s settings")\n', ""),
    teams("if team.approval.stricter(approval) is not approval:", "if False:"),
    teams("if params.display_name is None and params.approval is None:", "if False:"),
    teams("stuck(team.id, people) if team.approval is Approval.HUMAN else []", "stuck(team.id, people)", PEOPLE),
    teams("        fresh.still_fits(params)\n", "", "unit/gate/test_door.py"),
    teams("wanted, fresh = _setting(call, params, await everybody(registry, call))", "wanted, fresh = team, drafted"),
    teams(
        '    actor = caller(call, people, Role.OWNER)\n    whole(actor, "deleting',
        '    actor = call.actor\n    whole(actor, "deleting',
    ),
    teams('    whole(actor, "deleting a team")\n', ""),
    teams(
        "    team = _theirs(call, people, params.team)\n    if projects", "    team = people.teams[params.team]\n    if projects"
    ),
    teams("    if projects:\n", "    if False:\n"),
    teams(
        "if each.deleted_at is None and each.id != team.id and people.owned(each.id)[1]",
        "if each.id != team.id and people.owned(each.id)[1]",
        same="the keys of a deleted team are worth nothing, so nobody owns it",
    ),
    teams(
        "if each.deleted_at is None and each.id != team.id and people.owned(each.id)[1]",
        "if each.deleted_at is None and people.owned(each.id)[1]",
    ),
    teams("and each.id != team.id and people.owned(each.id)[1]", "and each.id != team.id"),
    teams("people.owned(each.id)[1]", "people.owned(each.id)[0]"),
    teams("for key in people.of(team.id) if key.revoked_at is None]", "for key in people.of(team.id)]"),
    teams("if each.team == call.actor.team]\n    _, ending", "]\n    _, ending"),
    teams("if params.confirm != team:", "if False:", PEOPLE, "unit/gate/test_consent.py"),
    teams(
        "    drafted.still_fits(params)\n\n    async def act(registry: Registry) -> DeleteResult",
        "\n    async def act(registry: Registry) -> DeleteResult",
    ),
    teams("left = [each for each in await registry.projects.all() if each.team == team]", "left = projects"),
    teams("_, keys = _deleting(call, params, people, left)", "keys = ending"),
    teams("        await registry.teams.delete(people.now, team)\n", ""),
    teams("        await registry.members.remove(people.now, *(each.id for each in people.present(team)))\n", ""),
    teams("        await registry.keys.revoke(people.now, *keys)\n", ""),
)

CHANGED = "flows/test_master_key.py"
keys = guards_of("tools/keys.py", CHANGED, TOGETHER)
MASTER = (
    keys("    operating(known(call), call.actor, WHAT)\n", "", RIGHTS, TOGETHER),
    keys("        operating(people, caller(call, people, Role.OWNER), WHAT)\n", ""),
    keys("operating(people, caller(call, people, Role.OWNER), WHAT)", "operating(people, call.actor, WHAT)"),
    keys("            raise Replayed(first)\n", "            pass\n"),
    keys("if kit.keyring.fault is not None and not params.lost:", "if False:"),
    keys("        _draft(call, params).still_fits(params)\n", "", CHANGED, "unit/gate/test_door.py"),
    keys("lost=params.lost, allowed", "lost=True, allowed"),
    keys("allowed=allowed, note", "allowed=None, note"),
    keys("note=note)", "note=None)"),
)

turning = guards_of("flows/master_key.py", CHANGED, "flows/test_master_key_owed.py")
CHANGE = (
    turning("not (changing or standing.pending or standing.owed)", "not (standing.pending or standing.owed)"),
    turning("not (changing or standing.pending or standing.owed)", "not (changing or standing.owed)"),
    turning("not (changing or standing.pending or standing.owed)", "not (changing or standing.pending)"),
    turning("seals.use(newest, changing=True)", "seals.use(newest)"),
    turning("        await registry.seals.use(newest)\n", ""),
    turning("if may_claim and in_force == ring.ids[0] and len", "if may_claim and len"),
    turning("if may_claim and in_force == ring.ids[0] and len", "if in_force == ring.ids[0] and len"),
    turning("if in_force is not None or named:", "if in_force is not None:"),
    turning("if in_force is not None or named:", "if named:"),
    turning("        if not may_claim:\n", "        if False:\n"),
    turning("may_claim and set(named) <= set(ring.ids):", "may_claim:"),
    turning("return None if in_force in ring.ids else", "return None if True else"),
    turning("if allowed is not None:", "if False:"),
    turning("    if standing.pending or standing.owed:", "    if False:"),
    turning("if lost and not missing:", "if False:"),
    turning("if ring.fault is not None and not (lost and missing):", "if False:"),
    turning("if not lost and len(ring.ids) > 1:", "if False:"),
    turning("if note is not None and (finished or not earlier):", "if note is not None:"),
    turning("ring.keep, named)\n    return ended", "ring.keep, {newest})\n    return ended"),
)

looks = guards_of("tools/audit.py", AUDIT)
LOOKS = (
    looks(
        "nobodys = every and operates(known(call), actor)",
        "nobodys = operates(known(call), actor)",
        same="who is no admin sees the rows of the own key only, and a row of no team has none",
    ),
    looks("nobodys = every and operates(known(call), actor)", "nobodys = every"),
    looks("own_key=None if every else actor.key_id", "own_key=None"),
    looks("team=actor.team, nobodys", "team=None, nobodys"),
    looks("projects=actor.projects, ok", "projects=frozenset(), ok"),
    looks("own = None if operates(known(call), call.actor) else call.actor.team", "own = None"),
    looks("own = None if operates(known(call), call.actor) else call.actor.team", "own = call.actor.team"),
    looks("chains=views if own is None else []", "chains=views"),
    looks("    if standing.degraded:\n        raise", "    if False:\n        raise"),
)

ends = guards_of("tools/deletions.py", MEANWHILE, DELETE, UNDELETE)
ENDS = (
    ends("if found is None or not call.actor.sees_project(name, found.team):", "if found is None:"),
    ends("if set(_places(name, pairs)) != set(locked):", "if False:"),
    ends("purge = params.purge or project.state == PURGING", "purge = params.purge"),
    ends("    _refuse_wrong_end(project, purge)\n", ""),
    ends("if params.confirm != name:", "if False:"),
    ends(
        "    drafted.still_fits(params)\n    operation",
        "    operation",
        same="a first look; the transaction that begins it holds the plan against what is there",
    ),
    ends("if not purge and is_deleted(project):", "if False:"),
    ends("if purge and not is_deleted(project):", "if False:"),
    ends("        _refuse_wrong_end(found, purge=False)\n", ""),
    ends("        _draft_delete(call, found, pairs, purge=False).still_fits(params)\n", ""),
    ends("        _refuse_wrong_end(found, purge=True)\n", ""),
    ends("if found.deleted_at != project.deleted_at:", "if False:"),
    ends("            _draft_delete(call, found, pairs, purge=True).still_fits(params)\n", "            pass\n"),
    ends("    if project.state == PURGING:\n        raise gone(project)\n", ""),
    ends('if project.state == "deleting":', "if False:"),
    ends("if project.state != DELETED:", "if False:"),
    ends("pair.grace if pair.grace and grace_expired(pair.grace, now) else None", "None"),
    ends("    _refuse_undelete(project)\n", ""),
    ends("        _refuse_undelete(found)\n", ""),
    ends("    drafted.still_fits(params)\n    locked", "    locked", UNDELETE, "unit/gate/test_door.py"),
    ends(
        "if row.state is not State.EMPTY),",
        "),",
        same="what stands in an empty slot is removed right after, under the name it is set aside by too",
    ),
)

GUARDS: tuple[Guard, ...] = (*WHO, *KEYS, *MEMBERS, *TEAMS, *MASTER, *CHANGE, *LOOKS, *ENDS)
