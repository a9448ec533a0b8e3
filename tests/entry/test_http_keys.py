"""Keys of callers and keys of calls, as HTTP brings them (S12)."""

import json

import pytest

from codeb.gate.authenticate import digest
from codeb.model.access import Key, Role, key_text
from tests.entry.door import SHOP, Door, facts
from tests.kit import OWNER, TEAM

pytestmark = pytest.mark.anyio


async def test_401_is_the_same_for_every_key_that_is_not_one(door: Door) -> None:
    good = OWNER.reveal()
    async with door.process.kit.store.write() as registry:
        gone = key_text(TEAM, Role.OWNER, "gone" * 8)
        now = door.process.kit.world.now()
        await registry.keys.add(Key("key_gone", digest(gone), TEAM, Role.OWNER, revoked_at=now))
        late = key_text(TEAM, Role.OWNER, "late" * 8)
        await registry.keys.add(Key("key_late", digest(late), TEAM, Role.OWNER, expires_at=now))
    wrong = (
        good[:-1],
        good + "x",
        good.upper(),
        f"x{good}",
        "x",
        "codeb_main_owner_",
        digest(OWNER),
        gone.reveal(),
        late.reveal(),
        "é" * 40,
    )
    answers = [await door.client.post("/api/slot/list", json={}, headers={b"X-API-Key": each.encode()}) for each in wrong]
    assert {answer.status_code for answer in answers} == {401}
    assert len({json.dumps(facts(answer)) for answer in answers}) == 1
    assert (await door.post("/api/slot/list", {}, None)).status_code == 401


async def test_401_before_anything_about_the_call_is_told(door: Door) -> None:
    for path, body in (
        ("/api/tool", {"tool": "nope"}),
        ("/api/no/such", {}),
        ("/api/deploy", {"bad": 1}),
        ("/api/port/get", SHOP),
    ):
        said = await door.post(path, body, None)
        assert (said.status_code, said.json()["code"]) == (401, "unauthenticated"), path


# --- keys --------------------------------------------------------------------------------------------------------


async def test_a_key_comes_in_either_header(door: Door) -> None:
    key = OWNER.reveal()
    for headers in (
        {"X-API-Key": key}, {"x-api-key": key}, {"Authorization": f"Bearer {key}"}, {"Authorization": f"bearer  {key} "},
        {"X-API-Key": key, "Authorization": "Bearer wrong"},
    ):  # fmt: skip
        assert (await door.client.post("/api/slot/list", json={}, headers=headers)).status_code == 200, headers
    for headers in (
        {"Authorization": key}, {"Authorization": f"Basic {key}"}, {"Authorization": f"Bearer{key}"},
        {"Authorization": "Bearer "},
        {"X-API-Key": "wrong", "Authorization": f"Bearer {key}"}, {"Cookie": f"key={key}; X-API-Key={key}"},
        {"X-API-Key": f"Bearer {key}"},
    ):  # fmt: skip
        assert (await door.client.post("/api/slot/list", json={}, headers=headers)).status_code == 401, headers


async def test_a_key_in_the_address_or_the_body_is_none(door: Door) -> None:
    """S12: refused before anything is looked at, also beside a valid key in the header, and told to nobody."""
    key = OWNER.reveal()
    coded = "".join(f"%{ord(each):02X}" for each in key)
    for name in ("key", "apiKey", "api_key", "X-API-Key", "access_token", "token", "authorization", "q"):
        for said in (
            await door.client.post("/api/slot/list", params={name: key}, json={}),
            await door.post(f"/api/slot/list?x=1&{name}={coded}", {}),
            await door.get(f"/api?{name}={coded.replace('%', '%25')}"),
            await door.get(f"/health?{name}=Bearer+{key}"),
        ):
            assert (said.status_code, said.json()["code"]) == (400, "key_in_url"), name
            assert key not in said.text
        body = await door.post("/api/slot/list", {name: key})
        assert body.status_code == 400
        assert key not in body.text
    for path in (f"/api/{key}", f"/api/slot/{coded}", f"/{key.upper()}"):
        assert (await door.post(path, {})).json()["code"] == "key_in_url"
    assert (await door.client.post(f"http://u:{key}@codeb/api/slot/list", json={})).status_code == 401
    await door.process.audit.flush()
    async with door.process.kit.store.read() as registry:
        assert not [row for row in await registry.audit.latest(1000) if key in repr(row)]


@pytest.mark.parametrize("address", ["?v=0.1.0", "?q=codeb_shop", "?monkey=1", "?keys=1", "?x=codeb_owner"])
async def test_an_address_without_a_key_is_taken(door: Door, address: str) -> None:
    assert (await door.get(f"/api{address}")).status_code == 200


# --- idempotency keys --------------------------------------------------------------------------------------------


async def test_an_idempotency_key_in_the_header_is_the_same_as_in_the_body(door: Door) -> None:
    new = {"projectName": "second"}
    first = await door.post("/api/project/create", new, Idempotency_Key="k-1")
    assert (first.status_code, first.json()["created"]) == (200, True)
    for again in (
        await door.post("/api/project/create", new, Idempotency_Key="k-1"),
        await door.post("/api/project/create", {**new, "idempotencyKey": "k-1"}),
    ):
        assert (again.status_code, again.json()["created"]) == (200, True), "the first answer, not a second look"
    other = await door.post("/api/project/create", {"projectName": "third"}, Idempotency_Key="k-1")
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")
    both = await door.post("/api/project/create", {**new, "idempotencyKey": "k-2"}, Idempotency_Key="k-1")
    assert both.status_code == 400


async def test_an_idempotency_key_that_is_none_is_refused(door: Door) -> None:
    for bad in (b"", b"a b", b"\xe9", b"a" * 129, b"a\tb"):
        headers = {b"X-API-Key": OWNER.reveal().encode(), b"Idempotency-Key": bad}
        said = await door.client.post("/api/project/create", json={"projectName": "second"}, headers=headers)
        assert (said.status_code, said.json()["code"]) == (400, "invalid_params"), bad
    assert (await door.post("/api/project/get", {"projectName": "second"})).status_code == 404


async def test_a_key_is_no_correlation_id(door: Door) -> None:
    """S11: it would be in every record of the call, and in the answer."""
    key = OWNER.reveal()
    for said in (key, f"x.{key}"):
        headers = {"X-API-Key": key, "X-Correlation-ID": said}
        answer = await door.client.post("/api/slot/list", json={"projectName": "shop"}, headers=headers)
        assert answer.status_code == 200
        assert key not in f"{answer.text} {answer.headers}"
        assert answer.headers["x-correlation-id"].startswith("req_")
