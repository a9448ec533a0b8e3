"""Servers, and the rules of their firewall."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import RowMapping, delete, select

from codeb.drivers.store.schema_hosts import firewall_rules, servers
from codeb.drivers.store.transaction import Transaction, upsert
from codeb.model.firewall import Rule, Transport
from codeb.model.servers import Server, ServerRole

_RULES = firewall_rules.c


class SqlServers:
    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    async def put(self, server: Server) -> None:
        values = {**vars(server), "roles": [each.value for each in server.roles], "addresses": list(server.addresses)}
        await self._tx.write(upsert(self._tx.dialect, servers), values)

    async def all(self) -> Sequence[Server]:
        return [_server(row) for row in (await self._tx.read(select(servers).order_by(servers.c.name))).all]

    async def remove(self, name: str) -> None:
        await self._tx.write(delete(servers).where(servers.c.name == name))


def _server(row: RowMapping) -> Server:
    roles = tuple(ServerRole(each) for each in row["roles"])
    return Server(**{**row, "roles": roles, "addresses": tuple(row["addresses"])})


class SqlRules:
    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    async def put(self, *rules: Rule) -> None:
        for rule in rules:
            fresh = self._tx.insert(firewall_rules)
            key = [column.name for column in firewall_rules.primary_key]
            again = fresh.on_conflict_do_update(index_elements=key, set_={"purpose": fresh.excluded.purpose})
            await self._tx.write(again, {**vars(rule), "transport": rule.transport.value})

    async def all(self) -> Sequence[Rule]:
        ordered = select(firewall_rules).order_by(_RULES.server, _RULES.port, _RULES.transport, _RULES.cidr, _RULES.project)
        return [_rule(row) for row in (await self._tx.read(ordered)).all]

    async def remove(self, *rules: Rule) -> None:
        for rule in rules:
            await self._tx.write(delete(firewall_rules).where(_this(rule)))

    async def remove_of(self, project: str) -> None:
        await self._tx.write(delete(firewall_rules).where(_RULES.project == project))


def _this(rule: Rule) -> Any:
    return (
        (_RULES.server == rule.server) & (_RULES.transport == rule.transport.value) & (_RULES.port == rule.port)
        & (_RULES.cidr == rule.cidr) & (_RULES.project == rule.project)
    )  # fmt: skip


def _rule(row: RowMapping) -> Rule:
    return Rule(**{**row, "transport": Transport(row["transport"])})
