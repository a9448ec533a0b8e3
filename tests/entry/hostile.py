"""A corpus of hostile values, and how they are put into every field of every tool: read off the catalogue, nothing by hand."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from codeb.tools.catalog import TOOLS

CANARY = "codebtestcanary"
"""in everything that would leave a mark if it were executed"""


@dataclass(frozen=True)
class Raw:
    """JSON text that `json.dumps` would not write."""

    text: str


FREE = {
    ("rollback", "reason"), ("approve", "reason"), ("reject", "reason"), ("logs", "grep"), ("slot_list", "after"),
    *((tool, name) for tool in ("env_sync", "env_scan") for name in ("envContent", "content")),
    ("token_create", "label"), ("team_create", "displayName"), ("team_settings", "displayName"), ("team_delete", "confirm"),
    *((tool.name, "confirm") for tool in TOOLS if tool.may_be_risky),
    *((tool, name) for tool in ("task_create", "task_update") for name in ("title", "description")),
    ("task_complete", "commitMessage"),
    ("pr_create", "title"), ("pr_create", "text"), ("pr_review", "text"),
}  # fmt: skip
"""fields that take any words; an idempotency key takes any printable ones"""

STRINGS: tuple[str, ...] = (
    # shells
    f"; touch /tmp/{CANARY}", f"$(touch /tmp/{CANARY})", f"`touch /tmp/{CANARY}`", f"a|tee /tmp/{CANARY}", "a&&id", "a;id",
    "$IFS",
    f"${{jndi:ldap://127.0.0.1/{CANARY}}}", "a>b", "a<b",
    # options
    "-", "--", "-v=/:/host", "--privileged", "--network=host", "-h",
    # paths
    ".", "..", "../", f"../../../../tmp/{CANARY}", "a/../../b", "/../etc/passwd", "/a/./b", "//etc//passwd", "..%2f..%2fetc",
    "%00",
    "%2e%2e", "C:\\windows", "~root", "file:///etc/passwd", "http://127.0.0.1/",
    # lines and control characters
    "\n", "a\nb", "shop\n", "production\n", "1.0\n", "/health\n", "10m\n", "blue\n", "op_0123456789abcdef\n",
    f"a\r\nX-{CANARY}: 1",
    "\0", "a\0b", "shop\0", "\x1b[2J", "\x7f", "a\tb", "", " ", " shop", "shop ", "\u0085", "\u2028",
    # the proxy's language
    "{", "}", "{http.request.uri}", "{env.PATH}", "{$HOME}", "{{", f'}}\n:80 {{\nrespond "{CANARY}"\n}}', "import *", "@hold",
    "#x",
    # quotes, SQL, YAML, markup
    '"', "'", 'a"b', "a\\b", "\\", "`", "' OR '1'='1", f"'; DROP TABLE projects; -- {CANARY}",
    "!!python/object/apply:os.system ['id']",
    "&a", "*", "?", "[a]", "- a", "a: b", "<script>", "%(a)s", "${{ secrets.A }}",
    # look-alikes, directions, what is not a character
    "ｓｈｏｐ", "sh\u043ep", "\u212aelvin", "\u0130", "ßhop", "\u0661\u0660m", "\u0968", "é", "e\u0301", "\u202eflip", "\u200b",
    "a\u200db",
    "\ufeffshop", "\U0001f4a5", "\ud800", "a\udfffb", "\udc80\ud800", "\ufffe",
    # lengths
    "a" * 300, "a" * 100_000, "é" * 5000, "/" + "a/" * 5000,
)  # fmt: skip

ONLY: dict[str, tuple[str, ...]] = {
    "projectName": (
        "-shop", "shop-", "sh--op", "1shop", "a" * 41, "shop-blue", "shop-green", "shop-production", "shop-staging",
        "shop-preview",
        "shop-pr-1", "Shop_PR_7", "shop__x", "shop.x", "a/b", "_", "shop_",
    ),
    "environment": ("Production", "prod", "pr-0", "pr-01", "pr--1", "pr-", "pr-1.5", "pr-9999999999", "pr-१", "production-blue",
    "PR-1"),
    "version": (".1", "-1", "1..2", "a" * 129, "1/2", "1:2", "1@2", "1+2", "v 1"),
    "image": (
        "Shop:1", "shop:", "shop:-1", "shop@sha256:abc", "shop@sha256:" + "A" * 64, "shop@sha512:" + "a" * 128, ":1", "/shop",
        "shop/",
        "a//b", "a:b:c", "host:99999999/shop:1", "user:pw@host/shop:1", "http://host/shop", "shop:" + "a" * 129,
        "sha256:" + "a" * 64 + "!",
        "-host/shop", "shop:1@", "a" * 256,
    ),
    "container": (
        "-web", ".web", "_web", "/web", "web/../db", "web/json", "web?force=1", "web%2fjson", "web#x", "wéb", "a" * 129, "web:1",
    ),
    "repository": (
        "Shop", "/shop", "shop/", "a//b", "shop:1", "shop@x", ".shop", "shop.", "-shop", "a..b", "a/../b", "_catalog", "a" * 201,
        "127.0.0.1:5000/shop", "host.example.com:5000/shop", "shop/_", "a/b?n=1", "a%2fb",
    ),
    "tag": (".1", "-1", "a" * 129, "1/2", "1:2", "1@2", "1+2", "v 1", "../x", "a?b", "a%00"),
    "digest": (
        "sha256:" + "a" * 63, "sha256:" + "a" * 65, "sha256:" + "A" * 64, "sha512:" + "a" * 128, "a" * 64, "sha256:../x",
        "sha256:" + "a" * 64 + "\n",
    ),
    "healthPath": ("health", "/a b", "/a?x=1", "/a#b", "/%2e%2e/", "/..", "/a/../b", "/./", "//", "/a//b", "/" + "a" * 1024,
    "/é", "/a;b"),
    "operationId": ("op_", "op_A1234567", "OP_0123456789abcdef", "op_" + "a" * 41, "plan_0123", "0123456789abcdef", "op_../../x"),
    "conflictId": ("cf_", "cf_" + "A" * 28, "cf_" + "a" * 27, "cf_" + "a" * 29, "op_0123456789abcdef", "cf_../../x"),
    "approvalId": ("ap_", "ap_A1234567", "AP_0123456789abcdef", "ap_" + "a" * 41, "plan_0123", "0123456789abcdef", "ap_../../x"),
    "domain": (
        "localhost", "shop", "-a.example.com", "a-.example.com", "a..example.com", ".example.com", "example.com.",
        "*.example.com",
        "example.com:443", "192.0.2.7", "[2001:db8::7]", "2001:db8::7", "Example.com", "ex_ample.com", "_codeb.example.com",
        "exämple.com", "a.b", "printer.local", "a.internal", "9.in-addr.arpa", "a" * 64 + ".example.com",
        "a." * 126 + "example.com", "example.com/x", "http://example.com", "user@example.com", "shop.example.c0m", "a.1",
        "shop.example.com,blog.example.com", "shop.example.com\n", "{env.HOME}.example.com", "a`b.example.com",
    ),
    "taskId": (
        "task_", "task_complete", "TASK_" + "0" * 28, "task_" + "A" * 28, "task_" + "0" * 41, "op_0123456789abcdef", "task_../x",
    ),
    "branch": ("-x", "a..b", "a//b", "a.lock", ".a", "a/.b", "a/", "a.", "a@{1}", "a~1", "a^", "refs/heads/é", "a" * 201),
    "title": ("", " ", "a\nb", "a\x1b[2J", "\u202eflip", "a" * 201),
    "description": ("a\x1b[2J", "a\r\n", "\u202eflip", "a" * 4001),
    "commitMessage": ("a\0b", "\ud800", "a" * 65_537),
    "lockTtl": ("0m", "59s", "8d", "1w", "-1h", "1.5h", "2026-12-31T00:00:00Z", "h", "8 h", "999999d"),
    "sha": ("HEAD", "main", "0" * 39, "0" * 41, "A" * 40, "g" * 40, "0" * 40 + "\n", "0x" + "0" * 38),
    "base": ("-x", "a..b", "a//b", "a.lock", "main:x", "refs/heads/\u00e9", "a" * 201),
    "verdict": ("APPROVE", "approved", "dismiss", "approve,comment"), "method": ("MERGE", "fast-forward", "octopus"),
    "text": ("a\x1b[2J", "a\r\n", "\u202eflip", "a" * 20_001),
    "planId": ("plan_", "plan_" + "A" * 32, "plan_" + "a" * 31, "plan_" + "a" * 33, "op_0123456789abcdef"),
    "since": ("0m", "10", "m", "10M", "10 m", "1.5h", "-10m", "+10m", "1w", "9999999d", "2026-01-31", "2026-01-31 10:00:00Z",
    "yesterday",
              "2026-01-31T10:00:00", "2026-01-31T10:00:00.Z", "2026-01-31T10:00:00.1234567890Z", "10m2h"),
    "tool": ("Deploy", "deploy_", "_deploy", "a_b_c", "deploy1", "slot-status", "de ploy"),
    "correlationId": ("", "a b", "a/b", "a" * 65, "a:b", "a\n"),
    "team": ("-main", "main-", "ma--in", "1main", "a" * 41, "main.x", "a/b", "_", "main_", "main__x"),
    "name": ("-ana", ".ana", "@ana", "a" * 65, "ana b", "ana/b", "ana:b", "ana,b", "ana;b", "ana<b", "+ana"),
    "member": ("-ana", ".ana", "@ana", "a" * 65, "ana b", "ana/b"),
    "keyId": ("key_", "key_A", "KEY_0123", "key_" + "a" * 41, "op_0123456789abcdef", "key_../../x", "codeb_main_owner_x"),
    "role": ("Owner", "OWNER", "root", "owner,admin", "superuser"),
    "approval": ("None", "NAME", "humans", "off"),
    "preset": ("CI", "ci,agent", "owner"),
    "expires": ("0m", "10", "m", "10M", "10 m", "1.5h", "-10m", "+10m", "1w", "9999999d", "never", "2026-01-31",
    "2020-01-01T00:00:00Z",
    "2026-02-30T00:00:00Z"),
    "fromVersion": ("0", "01", "-1", "1.0", "Master", "latest", "2026-01-31", "2026-02-30T00:00:00Z",
    "20261331T100000Z", "9" * 10),
    "toVersion": ("0", "+1", "1e3", "MASTER", "v1", "2026-01-31T10:00:00", "1\n"),
    "slot": ("Blue", "BLUE", "red", "blue,green", "both"),
    "type": ("Docker", "php", "any"),
    "server": ("-local", "local-", "lo--cal", "1local", "Local", "local_1", "a" * 41, "local.", "a/b", "192.0.2.7"),
    "cidr": (
        "192.0.2.0", "192.0.2.1/24", "192.0.2.0/33", "192.0.2.0/024", "192.0.2/24", "192.0.2.0/255.255.255.0", "0/0", "/0",
        "192.0.2.0/-1", "192.000.002.000/24", "3221225984/24", "0xC0.0.2.0/24", "2001:DB8::/32",
        "2001:db8:0::/32", "2001:db8::1/64",
        "::ffff:192.0.2.0/120", "fe80::%eth0/64", "fe80::%1/64", "::/129", "192.0.2.0/24 accept", "192.0.2.0/24,198.51.100.0/24",
        "192.0.2.0-192.0.2.9", "{ 192.0.2.0/24 }", "@set/24", "any", "0.0.0.0", "192.0.2.0/24\n", "192.0.2.0/\u0662\u0664",
    ),
    "purpose": ("-a", "a-", "A", "a_b", "a b", 'a"b', "a" * 41, "a:b", "a;drop", "a\n"),
    "protocol": ("TCP", "icmp", "tcp,udp", "6", "any"),
    "dockerHost": (
        "192.0.2.7:2375", "http://192.0.2.7:2375", "tcp://192.0.2.7", "tcp://192.0.2.7:0", "tcp://192.0.2.7:99999",
        "tcp://host:2375",
        "tcp://0.0.0.0:2375", "unix://", "unix://a", "unix:///a/../b", "unix:///a//b", "tcp://192.0.2.7:2375/x", "ssh://a@192.0.2.7",
        "tcp://[fe80::1%1]:2375", "tcp://u@192.0.2.7:2375",
    ),
    "serverUrl": (
        "codeb.example.com", "ftp://codeb.example.com", "https://", "https://a b", "https://u@codeb.example.com", "https://A.example.com",
        "https://codeb.example.com/", "https://codeb.example.com/?a=b", "https://codeb.example.com/#a", "http://127.0.0.1:999999",
        "https://codeb.example.com/' || secrets.A || '", "https://codeb.example.com,name=x", "https://codeb.example.com\n",
    ),
    "s3Endpoint": ("s3.example.com", "https://s3.example.com,bucket=x", "https://s3.example.com/", "https://s3.example.com "),
    "s3Bucket": ("ab", "A" * 5, "a_b", "-ab", "ab-", "a..b", "a,b=c", "a" * 64),
    "s3Region": ("US", "us_east", "-a", "a-", "a,name=b", "a" * 65),
    "context": ("../x", "/x", "a//b", "a/./b", "-x", "~x", "a b", "a*", "x\n"),
    "idempotencyKey": ("", " ", "a b", "a\n", "\0", "é", "a" * 129, "\x7f", "\ud800"),
}  # fmt: skip
"""more that a certain field has to refuse"""

NOT_STRINGS: tuple[Any, ...] = (
    0,
    1,
    -1,
    8080,
    1.5,
    True,
    False,
    [],
    ["shop"],
    {},
    {"a": "b"},
    {"$ne": None},
    Raw("1e3"),
    Raw("1e999"),
)
NOT_INTEGERS: tuple[Any, ...] = (
    "8080", "1", "", "8_080", "0x1f", "\u0661", " 1", "1\n", "true", "NaN", True, False, 8080.0, 1.5, -0.0, -1, -(2**63),
    10**30, 10**400,
    Raw("1e3"), Raw("1.0"), Raw("1e999"), [], [1], {}, {"a": 1}, None,
)  # fmt: skip
NOT_NUMBERS: tuple[Any, ...] = (
    "60", "1", "", "6_0", "1e1", "nan", "inf", "Infinity", " 1", True, False, -1, -0.0, 10**30, 10**400, Raw("1e999"),
    Raw("-1e999"), [], [1],
    {}, None,
)  # fmt: skip
NOT_BOOLS: tuple[Any, ...] = (0, 1, -1, 1.0, 0.0, "true", "false", "True", "yes", "on", "1", "", [], [True], {}, None)
NOT_LISTS: tuple[Any, ...] = (
    "production", "", 1, True, None, {}, {"0": "production"}, [], [[]], [["production"]], [1], [True], [None], [{}], ["prod"],
    ["production\n"], ["production", "../x"], ["production"] * 11, ["production"] * 50_000, ["\ud800"], [STRINGS[0]],
)  # fmt: skip


NOT_NAMES: tuple[Any, ...] = (
    [""], ["1A"], ["A B"], ["A-B"], ["A="], ["CODEB_KEY"], ["A\n"], ["A\0"], ["é"], ["a" * 129], ["A", STRINGS[0]], ["-v"],
    ["A", 1],
)  # fmt: skip
NOT_VARIABLES: tuple[Any, ...] = (
    "A=1", "", 1, True, [], ["A"], [["A", "1"]], {"A": 1}, {"A": True}, {"A": None}, {"A": ["x"]}, {"A": {}},
    {"": "x"},
    {"1A": "x"}, {"A B": "x"}, {"A=": "x"}, {"CODEB_KEY": "x"}, {"A\n": "x"}, {"A\0": "x"}, {"é": "x"}, {"-v": "x"},
    {"a" * 129: "x"}, {"../x": "x"}, {"A": "a\0b"}, {"A": "\ud800"}, {"A": "x" * 32769}, {"A": "한" * 11_000},
    {f"A{number}": "" for number in range(1001)},
)  # fmt: skip


PATHS = ("paths", "files", "addFiles", "removeFiles")
NOT_PATHS: tuple[Any, ...] = (
    [""], ["."], ["/"], ["/etc/passwd"], [".."], ["a/../b"], ["-v"], ["a\0"], ["a\x1b[2J"], ["a\u202eb"], ["\u2028"],
    ["a" * 1025], ["src", "../x"], [f"f{number}" for number in range(201)],
)  # fmt: skip
LITERAL: tuple[Any, ...] = (["prod"], ["production"] * 11, [STRINGS[0]])
"""lists of which each part is a path that could be"""
NOT_FILES: tuple[Any, ...] = (
    "Dockerfile", "", 1, True, [], ["Dockerfile"], {}, {"Dockerfile": 1}, {"Dockerfile": True}, {"Dockerfile": ["x"]},
    {"Dockerfile": {}}, {"": None}, {"/etc/passwd": None}, {"../x": None}, {"a/../b": None}, {"a//b": None}, {"a/": None},
    {"./a": None}, {"-v": None}, {"~root": None}, {"a b": None}, {"a\n": None}, {"a\0": None}, {"é": None}, {"a" * 512: None},
    {"a" * 256: None}, {"Dockerfile": "\ud800"}, {"Dockerfile": "x" * 65_537},
    {f"f{number}": "x" * 60_001 for number in range(10)}, {f"f{number}": None for number in range(2001)},
)  # fmt: skip


@dataclass(frozen=True)
class Field:
    """One field of one tool."""

    tool: str
    name: str
    kind: str
    nullable: bool
    required: bool
    changes: bool

    @property
    def free(self) -> bool:
        return (self.tool, self.name) in FREE

    @property
    def printable(self) -> bool:
        return self.name == "idempotencyKey"

    def refused(self) -> Iterator[Any]:
        """Every value of the corpus that does not fit here."""
        match self.kind:
            case "string":
                yield from NOT_STRINGS
                if not self.free and not self.printable:
                    # a folder may have such a name
                    yield from (each for each in STRINGS if (self.name, each) != ("context", "@hold"))
                same = {("logs", "after"): "since", ("audit_list", "until"): "since", ("domain_list", "after"): "domain"}
                yield from ONLY.get(same.get((self.tool, self.name), self.name), ())
            case "string or integer":
                yield from (value for value in NOT_STRINGS if value not in (1, 8080) or value is True)
                yield from STRINGS
                yield from ONLY["fromVersion"] + ONLY["toVersion"]
            case "object":
                yield from NOT_FILES if self.name == "files" else NOT_VARIABLES
            case "integer":
                yield from self._but_null(NOT_INTEGERS)
            case "number":
                yield from self._but_null(NOT_NUMBERS)
            case "boolean":
                yield from self._but_null(NOT_BOOLS)
            case "array":
                if self.name in PATHS:
                    fits = (*LITERAL, *(() if self.required else ([],)))
                    yield from NOT_PATHS
                    yield from (each for each in self._but_null(NOT_LISTS) if each not in fits)
                    return
                names = self.name in ("tools", "projects", "keys", "unset", "runnerLabels")
                yield from NOT_NAMES if self.name in ("keys", "unset") else ()
                # what is no environment may be a name, and of names there may be more
                yield from (each for each in self._but_null(NOT_LISTS) if not (names and each in (["prod"], ["production"] * 11)))
        if self.kind == "string" and not self.nullable:
            yield None

    def _but_null(self, values: tuple[Any, ...]) -> Iterator[Any]:
        """Without null where that means: as it is."""
        yield from (value for value in values if value is not None or not self.nullable)

    def words(self) -> Iterator[Any]:
        """What is taken literally, or refused, and nothing else, by a field for words."""
        if self.kind == "object":
            yield from ({"A": word} for word in STRINGS)
        if self.free or self.printable:
            yield from STRINGS


def fields() -> list[Field]:
    """Every field of every tool in the catalogue."""
    found = []
    for tool in TOOLS:
        schema = tool.params.model_json_schema(by_alias=True)
        for name, said in schema["properties"].items():
            either = [one for each in said.get("anyOf", [said]) for one in each.get("anyOf", [each])]
            kinds = [each["type"] for each in either]
            kind = " or ".join(each for each in kinds if each != "null")
            found.append(Field(tool.name, name, kind, "null" in kinds, name in schema.get("required", ()), tool.changes))
    return found


def encoded(params: dict[str, Any]) -> bytes:
    """As JSON, in ASCII: half characters become escapes."""
    marks = {f"@raw{number}@": value.text for number, value in enumerate(params.values()) if isinstance(value, Raw)}
    names = iter(marks)
    text = json.dumps({name: next(names) if isinstance(value, Raw) else value for name, value in params.items()})
    for mark, raw in marks.items():
        text = text.replace(f'"{mark}"', raw)
    return text.encode()


def deep(levels: int) -> bytes:
    return b'{"projectName":' + b"[" * levels + b"]" * levels + b"}"


KEY = b'{"projectName":"shop"}'
MALFORMED: dict[str, bytes] = {
    "nothing": b"", "spaces": b"  \n", "null": b"null", "true": b"true", "a number": b"8080", "a text": b'"shop"',
    "a list": b"[]",
    "a list of objects": b"[" + KEY + b"]", "not closed": b'{"projectName":"shop"', "too much": KEY + b"x", "two": KEY + KEY,
    "a comma": b'{"projectName":"shop",}', "single quotes": b"{'projectName':'shop'}", "a comment": b'{/**/"projectName":"shop"}',
    "no quotes": b"{projectName:1}", "NaN": b'{"limit":NaN}', "Infinity": b'{"limit":Infinity}',
    "-Infinity": b'{"limit":-Infinity}',
    "a key twice": b'{"projectName":"shop","projectName":"other"}', "a key twice, escaped": b'{"limit":1,"\\u006cimit":2}',
    "twice, deep": b'{"projectName":{"a":1,"a":2}}', "a line in a text": b'{"projectName":"a\nb"}',
    "a NUL": b'{"projectName":"a\0"}',
    "a bad escape": b'{"projectName":"\\x41"}', "half an escape": b'{"projectName":"\\u12"}', "leading zero": b'{"limit":01}',
    "hex": b'{"limit":0x10}', "plus": b'{"limit":+1}', "a point": b'{"limit":1.}', "underscore": b'{"limit":1_0}',
    "a BOM": b"\xef\xbb\xbf" + KEY, "UTF-16": KEY.decode().encode("utf-16"), "latin-1": b'{"projectName":"caf\xe9"}',
    "overlong": b'{"projectName":"\xc0\xaf"}', "a surrogate in UTF-8": b'{"projectName":"\xed\xa0\x80"}',
    "cut": b'{"projectName":"\xe2\x82',
    "33 deep": deep(32), "1,000 deep": deep(1000), "100,000 deep": deep(100_000), "500,000 open": b"[" * 500_000,
    "objects without end": b'{"a":' * 100_000, "5,000 digits": b'{"limit":' + b"9" * 5000 + b"}",
    "a million digits": b"9" * 1_000_000,
    "gzip": b"\x1f\x8b\x08\x00" + b"\0" * 20, "a form": b"projectName=shop", "XML": b'<?xml version="1.0"?><a/>',
}  # fmt: skip
