"""gate: the door, who comes in, how often, what is taken for params, what is kept on record."""

from tests.mutants.guard import Guard, guards_of

RIGHTS = "unit/gate/test_rights.py"
HTTP = "entry/test_http.py"
ENTRANCE = "unit/gate/test_entrance.py"

door = guards_of("gate/door.py", "unit/gate/test_door.py", "unit/gate/test_together.py")
DOOR = (
    door("if not _may(actor, tool):", "if False:", RIGHTS),
    door("for name in (tool.name, *tool.aliases))", "for name in (tool.name,))", "flows/test_init.py"),
    door("        self._scope(actor, params)\n", "", RIGHTS),
    door("if environment is not None and not actor.may_touch(environment):", "if False:", RIGHTS),
    door("if project is not None and actor.projects and project not in actor.projects:", "if False:"),
    door("if project is not None and actor.projects and project", "if project is not None and project", RIGHTS),
    door("        self._able(tool, params)\n", ""),
    door('if not tool.changes or getattr(params, "dry_run", False):\n            return', "if True:\n            return"),
    door("if not standing.leads:", "if False:"),
    door("if standing.degraded and not tool.without_database:", "if False:"),
    door("if standing.degraded and not tool.without_database:", "if standing.degraded:", "unit/gate/test_consent_once.py"),
    door("round(spent, 3 if seen.actor else 0)", "round(spent, 3)", ENTRANCE),
    door("return found.most_bytes if found and (found", "return max(found.most_bytes, 50 * 2**20) if found and (found", HTTP),
    door("or self.entrance.knows(token)) else", "or True) else", HTTP),
    door("or self.entrance.knows(token)) else", ") else", HTTP),
    door(
        "(found.most_bytes == USUAL_BYTES or self.entrance.knows(token))",
        "self.entrance.knows(token)",
        HTTP,
        same="both ways it is the usual size; this one looks at no key for it",
    ),
    door("except FenceLost:", "except ZeroDivisionError:", "unit/gate/test_door.py"),
    door('(seen.unsaid if status == 200 else "")', '""'),
    door('(seen.unsaid if status == 200 else "")', "seen.unsaid"),
    door("        if seen.changes:\n            await self._audit.flush()\n", ""),
    door(
        'self._record(asked, seen, 200, "", f"{asked.tool} was read.", 0.0)',
        "pass",
        ENTRANCE,
    ),
    door("self._record(asked, seen, fault.status, fault.code, fault.message, 0.0)", "pass", ENTRANCE),
    door('self._called[asked.tool].name if asked.tool in self._called else "unknown"', "asked.tool", "unit/gate/test_door.py"),
    door("seen.allowance = self.entrance.count(seen.actor)", "pass"),
    door("ok=status < 400, code=code", "ok=True, code=code"),
    door("params=seen.params, summary=summary[:500]", "params=seen.params, summary=summary"),
    door("beyond=seen.allowance is not None and not seen.allowance.granted", "beyond=False"),
    door("if _may(actor, tool)]", "]", RIGHTS),
    door(
        "params = validate(tool.params, asked.params, tool.must_say if asked.explicit else ())",
        "params = tool.params.model_construct(**asked.params)",
    ),
    door("seen.params = hidden(tool.params, said)", "seen.params = said"),
    door(
        "        if tool.changes:\n            # of",
        "        if False:\n            # of",
        "unit/gate/test_misplaced_keys.py",
    ),
    door('{**seen.params, "Idempotency-Key": asked.idempotency_key}', "seen.params", "unit/gate/test_misplaced_keys.py"),
    door("            await self._audit.refuse_if_blocked(tool.name)", "            pass", "unit/gate/test_audit.py"),
    door(
        'if seen.changes and not getattr(params, "dry_run", False):\n            await',
        "if True:\n            await",
        "unit/gate/test_audit.py",
    ),
    door("if seen.allowance is not None and not seen.allowance.granted:", "if False:", ENTRANCE),
    door("seen.allowance = self.entrance.count(actor)", "seen.allowance = None", ENTRANCE),
    door("if isinstance(name, str) else None", "if name else None", "unit/gate/test_door.py"),
    door("[each.name for each in self.offered(actor)]", "list(self._tools)", RIGHTS),
    door("grammar.idempotency_key(header)", "pass"),
    door("if said not in (None, header):", "if False:"),
    door("if applies and (first := await call.first_answer()):", "if False:"),
    door("if applies and (first", "if tool.changes and (first"),
    door("except Replayed as replay:", "except ZeroDivisionError as replay:", "flows/test_master_key.py"),
    door("        await consent(tool, call, params)\n", "", "unit/gate/test_consent.py"),
    door("if not isinstance(outcome.result, (tool.result, Plan, Accepted)):", "if False:"),
    door("        await call.end_approval()\n", "", "unit/gate/test_consent_once.py"),
    door("if applies and not isinstance(outcome.result, Accepted):", "if False:"),
    door("if applies and not isinstance(outcome.result, Accepted):", "if applies:"),
    door("if applies and not isinstance", "if tool.changes and not isinstance"),
    door("if holds_key(body) else body", "if False else body", "unit/gate/test_misplaced_keys.py"),
)

known = guards_of("gate/authenticate.py", ENTRANCE, RIGHTS)
KNOWN = (
    known("if token is None:", "if False:"),
    known("if development and key is NOBODY:", "if key is NOBODY:"),
    known("if development and key is NOBODY:", "if development:"),
    known("hmac.compare_digest(key.sha256, found)", "key.sha256 == found"),
    known("same = hmac.compare_digest(key.sha256, found)", "hmac.compare_digest(key.sha256, found); same = True"),
    known("if not same or actor is None:", "if not same:"),
    known(", expires_at=datetime(1970, 1, 1, tzinfo=UTC))", ")"),
    known(
        "    if development and key",
        "    if key is NOBODY and not development:\n        raise refused()\n    if development and key",
    ),
    known("worth(key, teams, registry.members, now)", "worth(key, teams, registry.members, NOBODY.expires_at - (now - now) * 2)"),
)

entrance = guards_of("gate/entrance.py", ENTRANCE)
IN = (
    entrance("if left.granted:", "if True:"),
    entrance("if self._failures is None:", "if True:"),
    entrance("self._failures.take(neighbourhood(ip),", 'self._failures.take("all",'),
    entrance("self._failures.take(neighbourhood(ip),", 'self._failures.take(ip or "",'),
    entrance("self._calls.take(actor.key_id,", 'self._calls.take("all",'),
    entrance("for each in self.on_stranger:", "for each in ():"),
    entrance(
        "            return authenticate(token, self._kit.store.snapshot, self._kit.world.now(), "
        "development=self._kit.policy.development)",
        "            return authenticate(token, self._kit.store.snapshot, self._kit.world.now(), development=True)",
    ),
    entrance("            return False\n        return True\n", "            return True\n        return True\n", HTTP),
    entrance("            return False\n        return True\n", "            return False\n        return False\n", HTTP),
    entrance('code="too_many_failures", hint="Correct', 'code="too_many_failures", status=403, hint="Correct'),
)

limits = guards_of("gate/limits.py", "unit/gate/test_limits.py")
OFTEN = (
    limits("while calls and calls[0] <= old:", "while calls and calls[0] < old:"),
    limits("len(calls) < limit:", "len(calls) <= limit:"),
    limits("            self._seen.move_to_end(who)\n", ""),
    limits("if len(self._seen) < self._most and calls", "if calls"),
    limits("and calls and calls[-1] > now - self._rate.seconds:", "and calls:"),
    limits("for _ in range(2):", "for _ in range(1):"),
    limits("if address.ipv4_mapped:", "if False:"),
    limits("(address, 64)", "(address, 128)"),
    limits('return "unknown"', 'return ip or ""'),
)

flood = guards_of("gate/flood.py", "unit/gate/test_flood.py", "unit/gate/test_audit.py")
FLOOD = (
    flood("min(float(BURST), self._left + (now - self._at) * PER_SECOND)", "self._left + (now - self._at) * PER_SECOND"),
    flood("if self._left >= 1:", "if True:"),
    flood("self._left -= 1", "pass"),
    flood("if kind not in self._kinds and len(self._kinds) >= MOST:", "if False:"),
    flood("row, ip=None, key_id=None, team=None, role=None, tool", "row, tool"),
    flood("if not self._kinds or (not at_once and now - self._since < EVERY_SECONDS):", "if not self._kinds:"),
    flood("(not at_once and now", "(now"),
    flood("        if not self._kinds:\n            self._since = now\n", ""),
    flood('}"[:500])', '}")'),
)

FILES = "unit/gate/test_audit.py"
hiding = guards_of("gate/hiding.py", "unit/gate/test_audit.py")
HIDING = (
    hiding('if schema.get("writeOnly"):', "if False:"),
    hiding('if "$ref" in schema:', "if False:"),
    hiding('for either in ("anyOf", "oneOf", "allOf"):', "for either in ():"),
    hiding("named.get(name, others)", "named.get(name)"),
    hiding("if isinstance(value, list):", "if False:"),
    hiding("return schema if any(", "return None if any("),
    hiding("(\"'writeOnly': True\", \"'contentMediaType'\")", "(\"'contentMediaType'\",)"),
    hiding("(\"'writeOnly': True\", \"'contentMediaType'\")", "(\"'writeOnly': True\",)", FILES),
    hiding('if schema.get("contentMediaType") and isinstance(value, str):', "if False:", FILES),
)

params = guards_of("gate/validate.py", "unit/gate/test_door.py", "unit/gate/test_validate.py")
PARAMS = (
    params("if not isinstance(params, dict):", "if False:"),
    params("dict(islice(params.items(), MOST_LOOKED_AT))", "dict(params)"),
    params("by_name=False", "by_name=True"),
    params("errors[:MOST_SHOWN]", "errors"),
    params("str(part)[:64]", "str(part)"),
    params(
        'str(error["loc"][-1])[:64]',
        'str(error["loc"][-1])',
        same="no field has such a name; it bounds the search for near ones",
    ),
    params(
        "    if found:\n        raise InvalidParams",
        "    if False:\n        raise InvalidParams",
        "unit/gate/test_misplaced_keys.py",
    ),
)

record = guards_of("gate/audit.py", "unit/gate/test_audit.py", "unit/gate/test_audit_begins.py", "unit/gate/test_flood.py")
RECORD = (
    record('return API_KEY.sub("codeb_…", value)', "return value"),
    record("{without_keys(name): without_keys(each)", "{name: without_keys(each)"),
    record("{without_keys(name): without_keys(each)", "{without_keys(name): each"),
    record("[without_keys(each) for each in value] if isinstance(value, list) else value", "value"),
    record("(row.key_id is None or beyond)", "row.key_id is None", "unit/gate/test_together.py"),
    record("(row.key_id is None or beyond)", "beyond"),
    record("beyond) and not row.ok and", "beyond) and"),
    record("        row = _harmless(row)\n", ""),
    record("            _harmless(\n", "            (\n"),
    record("if len(self._rows) >= MOST_HELD:", "if False:"),
    record("            self._lost += 1\n", ""),
    record("if not (self._rows or self._placed or self._aside):", "if not (self._rows or self._placed):"),
    record("if not (self._rows or self._placed or self._aside):", "if not (self._rows or self._aside):"),
    record("        if self._lost:", "        if False:"),
    record("(opening := start.opening(rows[0].at)) is not None", "(opening := start.opening(rows[0].at)) is None"),
    record("if not rows or not await self._put_aside(rows):", "if not rows:"),
    record("self.blocked = str(fault)", "pass"),
    record('        self.blocked = ""\n        del', "        del"),
    record("        self._aside = True\n        return True", "        return True"),
    record("kept.chain != newest.chain or kept.seq < newest.seq else kept", "kept.chain != newest.chain else kept"),
    record("if self._store.standing.degraded:", "if False:"),
    record("kept is not None and await _there(registry, kept, spans)", "kept is not None"),
    record("        await self.flush()\n        if self.blocked:", "        if self.blocked:"),
    record("        await self.flush()\n        if self.blocked:", "        await self.flush()\n        if False:"),
    record("if span is None:\n        return False", "if span is None:\n        return True"),
    record("if span.pruned is not None and head.seq <= span.pruned.seq:", "if False:"),
    record("return head.seq < span.pruned.seq or head == span.pruned", "return True"),
    record("any(row.head == head for row", "any(row.seq == head.seq for row"),
)

GUARDS: tuple[Guard, ...] = (*DOOR, *KNOWN, *IN, *OFTEN, *FLOOD, *HIDING, *PARAMS, *RECORD)
