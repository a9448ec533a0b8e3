"""Hostile values in every field, hostile bodies and hostile HTTP against a real server with a real Docker, Caddy and store.

Each answer is 4xx in the one envelope, within a second; afterwards nothing has moved: no container, network or event of
Docker, no file of the proxy or the home, no row of the store but the audit's own.

Shows S2, S3, S4.
"""

import json
import os
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codeb.tools.catalog import TOOLS
from tests.entry import hostile
from tests.entry.attack import JSON_TYPE, Attack
from tests.entry.hostile import Field
from tests.ports import free_block
from tests.real_registry import serving
from tests.stage import Stage

pytestmark = [pytest.mark.docker, pytest.mark.proxy, pytest.mark.images]

FULL = os.environ.get("CODEB_TEST_SIZE") == "full"
SAMPLE = 10_000 if FULL else 9
"""values tried in a field that another tool has too, where it was tried with all"""
EXAMPLES = 5000 if FULL else 300


@pytest.fixture(scope="module")
def attack() -> Iterator[Attack]:
    with serving(free_block(1)) as registry, Stage(**registry.settings) as stage:
        made = Attack(stage)
        yield made
        made.line.close()


FIELDS = hostile.fields()
ABSENT = (
    "registry_delete", "domain_delete", "conflict_settle", "token_revoke", "token_rotate", "member_remove", "approve", "reject",
    "db_rotate", "db_delete", "project_adopt",
    "redis_rotate", "redis_delete", "task_get", "task_update",
)  # fmt: skip
"""what they are about is not there"""


def chosen(field: Field, values: list[Any]) -> list[Any]:
    """All for the first tool that has such a field, some for the others, each other ones."""
    like = [each for each in FIELDS if (each.name, each.kind, each.nullable) == (field.name, field.kind, field.nullable)]
    number = like.index(field)
    return values if number == 0 else values[number % 7 :: max(1, len(values) // SAMPLE)]


@pytest.mark.parametrize("tool", [tool.name for tool in TOOLS])
def test_a_field_refuses_what_does_not_fit_and_nothing_happens(attack: Attack, tool: str) -> None:
    for field in [each for each in FIELDS if each.tool == tool]:
        for value in chosen(field, list(field.refused())):
            status, said = attack.put(field, value, dry=False)
            assert (status, said.get("code")) == (400, "invalid_params"), (
                f"{tool}.{field.name} = {str(value)[:200]!r}: {status} {said}"
            )
            faults = [each["field"].split(".")[0] for each in said["details"]["fields"]]
            # of a list every part that does not fit is told
            assert (sorted(set(faults)) if field.kind == "array" else faults) == [field.name], said
    attack.nothing_moved()


@pytest.mark.parametrize("field", [each for each in FIELDS if list(each.words())], ids=lambda field: f"{field.tool}.{field.name}")
def test_words_are_only_words(attack: Attack, field: Field) -> None:
    """Taken literally or refused; `confirm` has to be the name, so a dry run is where it is taken."""
    for value in chosen(field, list(field.words())):
        status, said = attack.put(field, value, dry=True)
        # a call may be in order and still not be possible now
        right = (200, 400, 404, 409) if field.tool in ABSENT else (200, 400, 409)
        assert status in right, f"{field} = {value[:100]!r}: {said}"
    attack.nothing_moved()


@pytest.mark.parametrize("field", ["since", "after"])
def test_times_at_the_end_of_the_calendar(attack: Attack, field: str) -> None:
    """Those that the grammar takes and a calendar does not hold."""
    said: dict[str, int] = {}
    spans = ["1s", "999999s", "999999m", "999999h", "999999d"]
    edges = ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "1969-12-31T23:59:59.5Z"]
    for text in (
        *spans,
        *edges,
        "2026-02-30T00:00:00Z",
        "2026-01-01T24:00:01Z",
        "0000-01-01T00:00:00Z",
        "2026-01-01T00:00:00+99:99",
    ):
        params = {"projectName": attack.stage.project, field: text}
        said[text] = attack.post("/api/logs", hostile.encoded(params))[0]
    assert {said[text] for text in (*spans, *edges)} == {200}, said
    assert {said[text] for text in said if text not in (*spans, *edges)} == {400}, said
    attack.nothing_moved()


def test_fields_that_are_not_there(attack: Attack) -> None:
    names = [
        "apiKey",
        "team",
        "role",
        "privileged",
        "binds",
        "env",
        "__proto__",
        "constructor",
        "",
        " ",
        "project_name",
        "PROJECTNAME",
    ]
    names += ["projectName\n", "\0", "\ud800", "é", "a" * 5000, "{http.request.uri}", "..", "$ref", "-v"]
    for tool in TOOLS:
        for name in names:
            status, said = attack.post(
                "/api/tool", json.dumps({"tool": tool.name, "params": {**attack.base(tool.name), name: 1}}).encode()
            )
            assert (status, said.get("code")) == (400, "invalid_params"), f"{tool.name} {name!r}: {said}"
        odd: tuple[Any, ...] = (None, [], "x", 1, True, [{}])
        for body in (json.dumps({"tool": tool.name, "params": each}).encode() for each in odd):
            assert attack.post("/api/tool", body)[1]["code"] == "malformed"
    attack.nothing_moved()


def test_a_hundred_thousand_unknown_fields_are_refused_at_once(attack: Attack) -> None:
    many = json.dumps({f"x{number}": 0 for number in range(80_000)}).encode()
    near = json.dumps({f"projectNam{number}": 0 for number in range(45_000)}).encode()
    for body in (many, near):
        status, said = attack.post("/api/slot/list", body)
        assert (status, len(said["details"]["fields"])) == (400, 20)
        assert said["error"].startswith("100 fields "), "no more are looked at"
        assert len(json.dumps(said)) < 20_000
    attack.nothing_moved()


def test_names_of_tools(attack: Attack) -> None:
    names: list[Any] = [
        *hostile.STRINGS,
        "Deploy",
        "deploy ",
        "deploy_",
        "_deploy",
        "__class__",
        "call",
        "deploy__",
        "slot.status",
    ]
    for name in names:
        status, said = attack.post("/api/tool", json.dumps({"tool": name, "params": {}}).encode())
        assert (status, said.get("code")) == (404, "unknown_tool"), f"{name[:100]!r}: {said}"
    for name in (*hostile.NOT_STRINGS, None):
        status, said = attack.post("/api/tool", hostile.encoded({"tool": name, "params": {}}))
        assert (status, said.get("code")) == (400, "malformed"), f"{name!r}: {said}"
    bodies: tuple[dict[str, Any], ...] = (
        {}, {"params": {}}, {"tool": "deploy", "param": {}}, {"tool": "deploy", "params": {}, "dryRun": True},
    )  # fmt: skip
    for body in bodies:
        assert attack.post("/api/tool", json.dumps(body).encode())[1]["code"] == "malformed"
    for text in hostile.STRINGS:
        path = quote(text.encode("utf-8", "surrogatepass"), safe="")
        if text in (".", "..") or len(path) > 50_000:
            continue
        for where in (f"/api/{path}", f"/api/slot/{path}", f"/api/{path}/status"):
            if where not in ("/api/", "/api//status"):
                assert attack.post(where, b"{}")[0] in (404, 405), where
    attack.nothing_moved()


@pytest.mark.parametrize("path", ["/api/tool", "/api/slot/list", "/api/deploy"])
def test_a_body_that_is_no_body(attack: Attack, path: str) -> None:
    for name, body in hostile.MALFORMED.items():
        status, said = attack.post(path, body)
        assert (status, said.get("code")) == (400, "malformed"), f"{name}: {said}"
    for kind in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "application/xml",
        "json",
        "",
        "\xff",
        "a" * 9000,
    ):
        status, said = attack.post(path, hostile.KEY, {"Content-Type": kind})
        assert (status, said.get("code")) == (400, "malformed"), kind
    attack.nothing_moved()


def test_the_deepest_and_the_longest_that_is_still_read(attack: Attack) -> None:
    """The limits are where they are said to be: one less is an ordinary answer."""
    assert attack.post("/api/slot/list", hostile.deep(31))[1]["code"] == "invalid_params"
    padded = hostile.KEY[:-1] + b" " * (2**20 - len(hostile.KEY)) + b"}"
    assert attack.post("/api/project/get", padded)[1]["code"] == "project_not_found"
    assert attack.post("/api/project/get", padded + b" ")[1]["code"] == "too_large"


def test_a_body_over_the_limit_is_not_read(attack: Attack) -> None:
    big = b" " * (2**20 + 1)
    status, said = attack.post("/api/tool", big)
    assert (status, said.get("code")) == (413, "too_large")
    chunks = [b" " * 65536] * 40
    status, said = attack.post("/api/tool", chunks, {**JSON_TYPE, "Transfer-Encoding": "chunked"}, encode_chunked=True)  # type: ignore[arg-type]
    assert (status, said.get("code")) == (413, "too_large")
    assert attack.post("/api/slot/list", b"{}")[0] == 200, "the connection goes on"
    attack.nothing_moved()


def raw(attack: Attack, text: bytes, seconds: float = 5, shut: bool = False) -> bytes:
    """What comes back for these bytes on a connection of their own."""
    with socket.create_connection(("127.0.0.1", attack.stage.api_port), timeout=seconds) as line:
        line.sendall(text)
        if shut:
            line.shutdown(socket.SHUT_WR)
        said = b""
        while part := line.recv(65536):
            said += part
        return said


HEAD = b"Host: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"
NOT_HTTP = {
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "no version": b"GET\r\n\r\n",
    "a raw path": b"POST /api/\xff HTTP/1.1\r\n" + HEAD + b"\r\n",
    "negative length": b"POST /api/tool HTTP/1.1\r\n" + HEAD + b"Content-Length: -1\r\n\r\n",
    "length in other digits": b"POST /api/tool HTTP/1.1\r\n" + HEAD + b"Content-Length: \xb2\r\n\r\n",
    "length beyond numbers": b"POST /api/tool HTTP/1.1\r\n" + HEAD + b"Content-Length: " + b"9" * 400 + b"\r\n\r\n",
    "two lengths": b"POST /api/tool HTTP/1.1\r\n" + HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "length and chunks": b"POST /api/tool HTTP/1.1\r\n"
    + HEAD
    + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a header line alone": b"GET /api HTTP/1.1\r\n" + HEAD + b"X-Correlation-ID: a\rSet-Cookie: b\r\n\r\n",
    "bad chunk": b"POST /api/tool HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_HTTP)
def test_bytes_that_are_not_http(attack: Attack, name: str) -> None:
    assert raw(attack, NOT_HTTP[name]).startswith(b"HTTP/1.1 400 ")
    assert attack.post("/api/slot/list", b"{}")[0] == 200


def test_lengths_that_lie(attack: Attack) -> None:
    key = b"X-API-Key: " + attack.before["key"].encode() + b"\r\n"
    tall = b"POST /api/tool HTTP/1.1\r\n" + HEAD + key + b"Content-Length: 5000000\r\n\r\n{}"
    assert raw(attack, tall).startswith(b"HTTP/1.1 413 "), "announced is enough"
    short = b"POST /api/project/create HTTP/1.1\r\n" + HEAD + key + b'Content-Length: 500\r\n\r\n{"projectName":"x"}'
    assert b" 200 " not in raw(attack, short, shut=True), "half a body is no call"
    smuggled = (
        b"POST /api/slot/list HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
        + key
        + b"\r\n{}"
    )
    said = raw(attack, smuggled + b'{"projectName":"x"}\r\n\r\n')
    assert said.count(b"HTTP/1.1 200") <= 1
    assert said.count(b"HTTP/1.1 400") == 1
    attack.at_the_gate += 3
    attack.nothing_moved()


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
NEARLY = st.sampled_from(
    [*(word for words in hostile.ONLY.values() for word in words if len(word) < 60), "shop", "1.4.2", "/health", "10m", "blue"]
)
TEXTS = st.text() | st.builds(
    lambda word, at, char: word[:at] + char + word[at:], NEARLY, st.integers(0, 12), st.characters() | st.just("")
)


@settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(field=st.sampled_from(FIELDS), value=TEXTS | TEXTS | ANYTHING)
def test_any_value_in_any_field(attack: Attack, field: Field, value: Any) -> None:
    status, said = attack.put(field, value, dry=True)
    if status == 200 and isinstance(value, str) and not field.free:
        assert value.isascii(), said
        assert value.isprintable(), said
        assert field.printable or not set(value) & set(" \"'`\\{}$;|&<>*?!()[]%\0\n"), said
        assert field.printable or not value.startswith("-"), said


@settings(max_examples=EXAMPLES // 2, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(tool=st.sampled_from([tool.name for tool in TOOLS]), params=st.dictionaries(st.text(max_size=20), ANYTHING, max_size=5))
def test_any_params_for_any_tool(attack: Attack, tool: str, params: dict[str, Any]) -> None:
    attack.post("/api/tool", json.dumps({"tool": tool, "params": {**params, "dryRun": 0}}).encode())


@settings(max_examples=EXAMPLES // 2, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(body=st.binary(max_size=300) | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_for_a_body(attack: Attack, body: bytes) -> None:
    status, said = attack.post("/api/tool", body)
    assert (status, said.get("code")) == (400, "malformed")


def test_after_all_of_it_nothing_has_moved(attack: Attack) -> None:
    """Last in the file: what came before is on the audit's record, and on no other."""
    attack.nothing_moved()
    attack.all_was_audited()
    print(f"\n{attack.tried} hostile calls, {attack.at_the_gate} of them to the gate; {len(FIELDS)} fields of {len(TOOLS)} tools")
