"""drivers/identity, entry/http/threshold and peers: whose home it is, who calls, under which name, from which page."""

from tests.mutants.guard import Guard, guards_of

identity = guards_of("drivers/identity.py", "unit/drivers/test_identity.py")
HOME = (
    identity("return word if form.fullmatch(word) else None", "return word"),
    identity("return word if form.fullmatch(word) else None", "return word if form.match(word) else None"),
    identity("except (FileNotFoundError, Unsound, UnicodeDecodeError):", "except (FileNotFoundError, Unsound):"),
    identity("except (FileNotFoundError, Unsound, UnicodeDecodeError):", "except (FileNotFoundError, UnicodeDecodeError):"),
    identity('read_own(path, owners_of(path.parent)).decode("ascii")', 'path.read_bytes().decode("ascii")'),
    identity("    if _word(path, form) == word:\n        return\n", ""),
    identity("    if os.path.lexists(path):\n", "    if False:\n"),
    identity('_key_in(folder / "sites") or secrets.token_hex(16)', "secrets.token_hex(16)"),
    identity("_keep(path, word, PROBE_KEY, 0o600)", "_keep(path, word, PROBE_KEY, 0o644)"),
    identity("secrets.token_hex(16)", "secrets.token_hex(8)"),
    identity("with contextlib.suppress(OSError, Unsound):\n            if found", "if True:\n            if found"),
    identity('read_own(site, owners_of(sites)).decode(errors="replace")', 'site.read_text(errors="replace")'),
    identity("fcntl.LOCK_EX | fcntl.LOCK_NB", "fcntl.LOCK_SH | fcntl.LOCK_NB"),
    identity("    make_way(path)\n", ""),
    identity(
        "os.O_CLOEXEC | os.O_NOFOLLOW, 0o644",
        "os.O_CLOEXEC, 0o644",
        same="only against a link put there between the two lines: one that was there is set aside before",
    ),
    identity(
        "os.O_CLOEXEC | os.O_NOFOLLOW, 0o644", "os.O_NOFOLLOW, 0o644", same="Python opens every file so; said for the reader"
    ),
    identity('        _write_pid(handle, b"")\n', ""),
    identity("    with contextlib.suppress(OSError):\n        os.ftruncate", "    if True:\n        os.ftruncate"),
)

threshold = guards_of("entry/http/threshold.py", "entry/test_threshold.py", "entry/test_http_keys.py")
THRESHOLD = (
    threshold("HOST.fullmatch(host.lower())", "HOST.match(host.lower())"),
    threshold("HOST.fullmatch(host.lower())", "HOST.fullmatch(host)"),
    threshold('if name == "localhost" or name in self.hosts or match[0] in self.hosts:', "if True:"),
    threshold("or name in self.hosts or match[0] in self.hosts:", "or match[0] in self.hosts:"),
    threshold("or name in self.hosts or match[0] in self.hosts:", "or name in self.hosts:"),
    threshold("return address.is_loopback or (server is not None and address == ipaddress.ip_address(server[0]))", "return True"),
    threshold("return address.is_loopback or (server", "return (server"),
    threshold("(server is not None and address == ipaddress.ip_address(server[0]))", "False"),
    threshold(
        '            await send({"type": "websocket.close", "code": 1008})\n            return\n',
        "            await self._app(scope, receive, send)\n            return\n",
    ),
    threshold(
        "if self._rules.proxies else Client(peer)",
        "if True else Client(peer)",
        same="without trusted proxies client_of believes nobody either; this only saves the time",
    ),
    threshold('origin is not None and origin.decode("latin-1") in self._rules.origins', "origin is not None"),
    threshold("*([HSTS] if client.https else ())", "HSTS"),
    threshold("*([HSTS] if client.https else ())", "*()"),
    threshold("*(_shared(origin) if welcome and origin else ())", "*(_shared(origin) if origin else ())"),
    threshold('message["headers"] = [*more, *message.get("headers", ())]', "pass"),
    threshold("refused_origin=origin is not None and not welcome", "refused_origin=False"),
    threshold('if welcome and scope["method"] == "OPTIONS"', 'if scope["method"] == "OPTIONS"'),
    threshold("            self._inside -= 1\n", "            pass\n"),
    threshold("        self._inside += 1\n", ""),
    threshold("if self._inside >= MOST_INSIDE and not probe:", "if self._inside >= MOST_INSIDE:"),
    threshold("if self._inside >= MOST_INSIDE and not probe:", "if self._inside > MOST_INSIDE and not probe:"),
    threshold("if not self._ours(scope):", "if False:"),
    threshold("if refused_origin and not probe:", "if refused_origin:"),
    threshold("if refused_origin and not probe:", "if False:"),
    threshold('if holds_key(scope["path"], scope["query_string"]):', "if False:"),
    threshold('probe = scope["method"] == "GET" and scope["path"] == "/health"', 'probe = scope["path"] == "/health"'),
    threshold("if said is None or (len", "if (len"),
    threshold('(len(table(scope)) < len(scope["headers"]) and _times(scope, b"host") > 1)', "False"),
    threshold('seen = (said, scope.get("server"))', "seen = (said, None)"),
    threshold(
        'if not self._rules.names(said.decode("latin-1"), scope.get("server")):\n            return False',
        "if False:\n            return False",
    ),
    threshold("if len(self._known) >= MOST_REMEMBERED:", "if False:"),
    threshold('KEY.search(unquote(path) if "%" in path else path)', "KEY.search(path)"),
    threshold('if KEY.search(unquote(path) if "%" in path else path):', "if False:"),
    threshold(
        'unquote(unquote(query.decode("latin-1").replace("+", " ")))', 'unquote(query.decode("latin-1").replace("+", " "))'
    ),
    threshold("KEY.search(text) is not None or any", "any"),
    threshold("or any(name in KEY_NAMES for name in names)", ""),
    threshold('re.sub(r"[^a-z]", "", part.partition("=")[0].lower())', 'part.partition("=")[0].lower()'),
    threshold('part.partition("=")[0].lower())', 'part.partition("=")[0])'),
    threshold('re.split("[&;]", text)', 're.split("[&]", text)'),
    threshold('_(owner|admin|member|viewer)_", re.IGNORECASE)', '_(owner|admin|member|viewer)_")'),
)

peers = guards_of("entry/http/peers.py", "unit/entry/test_peers.py")
PEERS = (
    peers("if here is None or not _within(here, trusted):", "if here is None:"),
    peers("if here is None or not _within(here, trusted):", "if not _within(here, trusted):"),
    peers('named = _listed(headers, b"x-forwarded-for")', "named: list[str] = []"),
    peers('told = named or [part.get("for", "") for part in last]', 'told = [part.get("for", "") for part in last] or named'),
    peers("reversed(told[-MOST_HOPS:])", "reversed(told)"),
    peers("reversed(told[-MOST_HOPS:])", "told[-MOST_HOPS:]"),
    peers("        if said is None:\n            break\n", "        if said is None:\n            continue\n"),
    peers("        if not _within(said, trusted):\n            break\n", ""),
    peers('["" if named or not last else last[-1].get("proto", "")]', '["" if not last else last[-1].get("proto", "")]'),
    peers('last[-1].get("proto", "")', 'last[0].get("proto", "")'),
    peers('last[-1].get("proto", "")])[-1]', 'last[-1].get("proto", "")])[0]'),
    peers(
        '",".join(value.decode("latin-1") for key, value in headers if key == name)',
        'next((value.decode("latin-1") for key, value in headers if key == name), "")',
    ),
    peers('if word.startswith("["):', "if False:"),
    peers('if word.count(":") == 1 else word', "if True else word"),
    peers('getattr(found, "ipv4_mapped", None) or found', "found"),
)

GUARDS: tuple[Guard, ...] = (*HOME, *THRESHOLD, *PEERS)
