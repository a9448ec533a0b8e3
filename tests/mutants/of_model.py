"""model/access, model/limits, model/chain: roles and reach, what a key is worth, rates, the audit's chain."""

from tests.mutants.guard import Guard, guards_of

ACCESS = "unit/model/test_access.py"
PEOPLE = "unit/tools/test_people.py"
CHAIN = "unit/model/test_chain.py"
AUDIT = "unit/gate/test_audit.py"

access = guards_of("model/access.py", ACCESS)
RIGHTS = (
    access("return self.rank >= needed.rank", "return self.rank > needed.rank"),
    access("return self.rank >= needed.rank", "return self.rank <= needed.rank"),
    access("return self if other.covers(self) else other", "return self"),
    access("return self if other.covers(self) else other", "return other"),
    access("return other if _STRICTNESS[other] > _STRICTNESS[self]", "return other if _STRICTNESS[other] < _STRICTNESS[self]"),
    access("return self.revoked_at is None and (", "return ("),
    access("now < self.expires_at)", "now <= self.expires_at)"),
    access("(self.expires_at is None or now < self.expires_at)", "True"),
    access(
        "return team == self.team and (not self.projects or name in self.projects)",
        "return not self.projects or name in self.projects",
    ),
    access("return team == self.team and (not self.projects or name in self.projects)", "return team == self.team"),
    access(
        "return self.role.covers(needed) and (not self.tools or tool in self.tools)",
        "return not self.tools or tool in self.tools",
    ),
    access("return self.role.covers(needed) and (not self.tools or tool in self.tools)", "return self.role.covers(needed)"),
    access("return not self.environments or _reached(environment, self.environments)", "return True"),
    access('("preview" in environments and PULL_REQUEST.fullmatch(environment) is not None)', '("preview" in environments)'),
    access('("preview" in environments and PULL_REQUEST.fullmatch(environment) is not None)', "False"),
    access('"preview" in environments and PULL_REQUEST.fullmatch', "PULL_REQUEST.fullmatch"),
    access("actor.environments | known", "actor.environments"),
    access("not (self.tools or self.projects or self.environments)", "not (self.projects or self.environments)"),
    access("not (self.tools or self.projects or self.environments)", "not (self.tools or self.environments)"),
    access("not (self.tools or self.projects or self.environments)", "not (self.tools or self.projects)"),
    access("for key in self.keys.values() if key.team == team)", "for key in self.keys.values())", ACCESS, PEOPLE),
    access("if each.name == name)", ")"),
    access("if each.team == team and not each.removed_at)", "if not each.removed_at)", ACCESS, PEOPLE),
    access("if each.team == team and not each.removed_at)", "if each.team == team)", ACCESS, PEOPLE),
    access("if each.created_at and each.deleted_at is None]", "if each.created_at]", ACCESS, AUDIT),
    access("if each.created_at and each.deleted_at is None]", "if each.deleted_at is None]", ACCESS, AUDIT),
    access("return min(there)[1] if", "return max(there)[1] if", ACCESS, AUDIT),
    access("member: replace(self.members[member], role=role)}", "}", ACCESS, PEOPLE),
    access("replace(self.keys[each], revoked_at=self.now)", "self.keys[each]"),
    access("replace(self.members[member], removed_at=self.now)", "self.members[member]"),
    access("and actor.role is Role.OWNER and actor.whole]", "and actor.whole]"),
    access("and actor.role is Role.OWNER and actor.whole]", "and actor.role is Role.OWNER]"),
    access("any(each.expires_at is None for each in owners)", "bool(owners)"),
    access("return bool(owners), any", "return False, any"),
    access("any(was and not still for was", "any(False for was"),
    access("any(was and not still for was", "any(not still for was"),
    access("if team is None or team.deleted_at is not None or not usable:", "if team is None or not usable:"),
    access("if team is None or team.deleted_at is not None or not usable:", "if team is None or team.deleted_at is not None:"),
    access(
        "if team is None or team.deleted_at is not None or not usable:",
        "if team is not None and (team.deleted_at is not None or not usable):",
    ),
    access(
        "if holder is None or holder.team != key.team or holder.removed_at is not None:",
        "if holder is None or holder.removed_at is not None:",
    ),
    access(
        "if holder is None or holder.team != key.team or holder.removed_at is not None:",
        "if holder is None or holder.team != key.team:",
    ),
    access("    if key.member is not None:\n        holder", "    if key.member in members:\n        holder"),
    access("role = role.lesser(holder.role)", "pass"),
    access("team.approval.stricter(key.approval), key.preset", "key.approval, key.preset"),
    access("team.approval.stricter(key.approval), key.preset", "team.approval, key.preset"),
    access("return not outer or (bool(inner) and inner <= outer)", "return not outer or inner <= outer"),
    access("return not outer or (bool(inner) and inner <= outer)", "return not outer or bool(inner)"),
    access('[] if key.team == actor.team else ["team"]', "list[str]()"),
    access('[] if actor.role.covers(key.role) else ["role"]', "[]"),
    access('reach = ("tools", "projects")', 'reach = ("projects",)'),
    access('reach = ("tools", "projects")', 'reach = ("tools",)'),
    access('else ("environments",)))', "else ()))"),
    access("(key.expires_at is None or key.expires_at > actor.expires_at)", "key.expires_at is None"),
    access(
        "(key.expires_at is None or key.expires_at > actor.expires_at)",
        "(key.expires_at is not None and key.expires_at > actor.expires_at)",
    ),
    access("if key.approval.stricter(actor.bound) is not key.approval:", "if False:"),
    access("KEY_FORM.fullmatch(text.reveal())", "KEY_FORM.match(text.reveal())", "unit/gate/test_entrance.py"),
    access("match[1], Role(match[2])", "match[1], Role.OWNER", "unit/gate/test_entrance.py"),
    access(
        "text = value if isinstance(value, str) else str(value)",
        'text = value if isinstance(value, str) else ""',
        "unit/gate/test_misplaced_keys.py",
    ),
    access("and any(API_KEY.finditer(text))", "", "unit/gate/test_misplaced_keys.py"),
)

limits = guards_of("model/limits.py", "unit/gate/test_limits.py")
RATES = (
    limits("FORM.fullmatch(text)", "FORM.match(text)"),
    limits("or int(match[1]) > MOST_CALLS or", "or"),
    limits("or int(match[2]) > MOST_SECONDS:", "or False:"),
    limits("    if text in OFF:\n        return None\n", ""),
    limits("([1-9][0-9]{0,5})", "([0-9]{1,6})"),
)

chain = guards_of("model/chain.py", CHAIN)
WHOLE = (
    *(
        chain(each, '""')
        for each in (
            'row["chain"]',
            'row["seq"]',
            'row["prev"]',
            'row["correlation_id"]',
            'row["entry"]',
            'row["tool"]',
            'row["ok"]',
            'row["code"]',
            'row["key_id"]',
            'row["team"]',
            'row["role"]',
            'row["ip"]',
            'float(row["duration_ms"])',
            'row["params"]',
            'row["summary"]',
        )
    ),
    chain('row["at"].astimezone(UTC).isoformat(timespec="microseconds")', 'row["at"].isoformat()'),
    chain('isoformat(timespec="microseconds")', 'isoformat(timespec="seconds")'),
    chain('"seq": head.seq + 1, "prev": head.hash', '"seq": head.seq + 1, "prev": ZERO'),
    chain("plain(each) if isinstance(each, str) else each for", "each for"),
    chain('if text.isascii() and "\\0" not in text:', "if text.isascii():"),
    chain('if text.isascii() and "\\0" not in text:', "if True:"),
    chain('text.replace("\\0", "\\ufffd").encode', "text.encode"),
    chain("self.rows += self._team in (None, row.team)", "self.rows += 1", AUDIT),
    chain('"params": _plain(row.params)', '"params": row.params'),
    chain("return {plain(name): _plain(each)", "return {name: _plain(each)"),
    chain("round(float(row.duration_ms), 3)", "row.duration_ms", CHAIN),
    chain('span.chain.startswith(f"{home}.")', "span.chain.startswith(home)"),
    chain("span.chain == home or span.chain.startswith", "span.chain.startswith"),
    chain('if span.chain == home or span.chain.startswith(f"{home}.")', "if span.chain == home"),
    chain("key=lambda span: span.place", "key=lambda span: -span.place"),
    chain("and kept is None and newest is None:", "and kept is None:"),
    chain("and kept is None and newest is None:", "and newest is None:"),
    chain("if spans is not None and kept is None", "if kept is None"),
    chain("kept is not None and there and newest is not None:", "kept is not None and newest is not None:"),
    chain(
        "kept is not None and there and newest is not None:",
        "there and newest is not None:",
        same="without a note there is no row of it to find: `there` is false then",
    ),
    chain("follows.hash if follows else ZERO", "ZERO"),
    chain("if row.tool == BEGUN and row.seq == 1 else None", "if row.tool == BEGUN else None"),
    chain("if row.tool == BEGUN and row.seq == 1 else None", "if row.seq == 1 else None"),
    chain('if not isinstance(told, Mapping) or set(told) != {"chain", "seq", "hash"}:', "if not isinstance(told, Mapping):"),
    chain("if not isinstance(told, Mapping) or set(told)", "if set(told or ())"),
    chain("isinstance(head.chain, str) and type(head.seq) is int and", "type(head.seq) is int and"),
    chain("type(head.seq) is int", "isinstance(head.seq, int)"),
    chain("type(head.seq) is int and isinstance(head.hash, str)", "type(head.seq) is int"),
    chain("if row.chain != self.chain or seq < expected:", "if seq < expected:"),
    chain("if row.chain != self.chain or seq < expected:", "if row.chain != self.chain:"),
    chain("        if seq > expected:\n", "        if False:\n"),
    chain("elif not self._linked(row):", "elif False:"),
    chain("if hash_of(row) != row.hash:", "if False:"),
    chain("elif self._known.get(seq, row.hash) != row.hash:", "elif False:"),
    chain("        if self._at.seq:\n            return", "        if True:\n            return"),
    chain("return row.prev == self._at.hash", "return True"),
    chain("return row.prev == (begun.hash if begun else ZERO)", "return True"),
    chain("return row.prev == (begun.hash if begun else ZERO)", "return row.prev == ZERO"),
    chain("if self._pruned is not None and self._known.get", "if False and self._known.get"),
    chain(
        "if (newest := max(self._known, default=0)) > self._at.seq:",
        "if (newest := max(self._known, default=0)) > self._at.seq + 1:",
    ),
    chain("if len(self.faults) < MOST_FAULTS:", "if True:"),
    chain("self.more += 1", "pass"),
    chain('self._at = pruned or Head(chain, 0, "")', 'self._at = Head(chain, 0, "")'),
)

GUARDS: tuple[Guard, ...] = (*RIGHTS, *RATES, *WHOLE)
