"""The roles Servers and Rules keep their contracts on all databases (S31: one rule per server, port, network and project)."""

from dataclasses import replace

import pytest
from sqlalchemy import insert

from codeb.drivers.store.schema_hosts import firewall_rules
from codeb.errors import CodebError
from codeb.model.firewall import NOBODY, Rule, Transport
from codeb.model.servers import Server, ServerRole
from tests.postgres import postgres, postgres_server
from tests.stores import KINDS, SHARED, START, Opener, clock, opener, url

__all__ = ["clock", "opener", "postgres", "postgres_server", "url"]

pytestmark = pytest.mark.anyio

ONE = Server(
    "storage-1", (ServerRole.APP, ServerRole.STORAGE), ("192.0.2.7", "2001:db8::7"), "tcp://192.0.2.7:2375", START, "main/owner/k"
)
RULE = Rule("storage-1", Transport.TCP, 5432, "192.0.2.0/24", "shop", "database", START, "main/owner/k")


@pytest.mark.parametrize("url", KINDS, indirect=True)
async def test_a_server_comes_back_as_it_was_said_last(opener: Opener) -> None:
    store = await opener()
    async with store.write() as registry:
        await registry.servers.put(ONE)
        await registry.servers.put(replace(ONE, name="app-2", docker_host=None, created_at=None))
    changed = replace(ONE, roles=(ServerRole.BACKUP,), addresses=("192.0.2.8",), docker_host=None)
    async with store.write() as registry:
        assert list(await registry.servers.all()) == [replace(ONE, name="app-2", docker_host=None, created_at=None), ONE]
        await registry.servers.put(changed)
        await registry.servers.remove("app-2")
        await registry.servers.remove("app-2")
    async with store.read() as registry:
        assert list(await registry.servers.all()) == [changed]


@pytest.mark.parametrize("url", KINDS, indirect=True)
async def test_a_rule_is_there_once(opener: Opener) -> None:
    store = await opener()
    others = [
        replace(RULE, project=NOBODY),
        replace(RULE, transport=Transport.UDP),
        replace(RULE, cidr="::/0"),
        replace(RULE, server="a"),
    ]
    async with store.write() as registry:
        await registry.rules.put(RULE, *others)
        await registry.rules.put(replace(RULE, purpose="posts", created_at=None, created_by="main/owner/other"))
    async with store.read() as registry:
        found = list(await registry.rules.all())
    assert len(found) == 5
    assert replace(RULE, purpose="posts") in found, "when and by whom is as it was"
    async with store.write() as registry:
        await registry.rules.remove(RULE)
        await registry.rules.remove(RULE)
        assert len(await registry.rules.all()) == 4
        await registry.rules.remove_of("shop")
        assert [each.project for each in await registry.rules.all()] == [NOBODY]


@pytest.mark.parametrize("url", SHARED, indirect=True)
async def test_the_database_itself_refuses_a_second_one_and_a_port_that_is_none(opener: Opener) -> None:
    store = await opener()
    values = {**vars(RULE), "transport": "tcp"}
    for rows in ([values, values], [{**values, "port": 99999}], [{**values, "port": 0}]):
        with pytest.raises(CodebError, match="constraint"):
            async with store.write() as registry:
                for each in rows:
                    await registry.rules._tx.write(insert(firewall_rules), each)
    async with store.read() as registry:
        assert list(await registry.rules.all()) == []
