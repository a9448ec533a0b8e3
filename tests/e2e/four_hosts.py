"""An installation on four machines: CodeB and its apps, a storage server, a DNS server, and one that looks on from outside."""

import asyncio
import contextlib
import http.client
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import dns.rdatatype
import psycopg

from codeb.drivers.runtime.docker_client import DockerClient
from tests.contracts.netns import entered, inside
from tests.nodes import NET, Node, Nodes, nodes
from tests.pdns import KEY as PDNS_KEY
from tests.pdns import PdnsServer, pdns_server
from tests.postgres import Server, postgres_server
from tests.redis import ADMIN, CLOSED, RedisServer, redis_server
from tests.stage import Stage
from tests.storage_images import storage_image
from tests.vultr import KEY as VENDOR_KEY
from tests.vultr import Group, vendor

ADMIN_WORD = "canary-four-4711"
ROLES = {"app": ["app"], "storage": ["storage"], "dns": ["dns"], "backup": ["backup"]}


@dataclass
class Town:
    nodes: Nodes
    stage: Stage
    postgres: Server
    redis: RedisServer
    pdns: PdnsServer
    group: Group
    shop: str
    """the image of the app"""

    def close_edge(self) -> None:
        """What the vendor's network does in front of the storage server: it lets in what the group says, and nothing else."""
        lines = [
            f"ip saddr {rule['subnet']}/{rule['subnet_size']} {rule['protocol']} dport {rule['port'].replace(':', '-')} accept"
            for rule in self.group.rules.values() if rule["ip_type"] == "v4" and rule["port"]
        ]  # fmt: skip
        first = ['iifname != "cn*" accept', "ct state established,related accept", "ip protocol icmp accept"]
        rules = "\n".join([*first, *lines])
        text = "add table inet vendor\ndelete table inet vendor\ntable inet vendor {\nchain edge {\n"
        text += f"type filter hook prerouting priority -150; policy drop;\n{rules}\n}}\n}}\n"
        inside(self.nodes.storage.space, "nft", "-f", "-", text=text)

    def we(self, tree: Path, *words: str) -> "subprocess.CompletedProcess[str]":
        """The command, in a source tree on the app server."""
        kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
        where = {"CODEB_API_URL": f"http://127.0.0.1:{self.stage.api_port}", "CODEB_API_KEY": self.stage.key, "HOME": str(tree)}
        return subprocess.run(
            [sys.executable, "-m", "codeb.entry.cli.main", *words], cwd=tree, env={**kept, **where}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    def resolve(self, name: str) -> list[str]:
        """As the machine outside does, of the DNS server."""
        with entered(self.nodes.backup.space):
            answer = dns.query.udp(dns.message.make_query(name, "A"), self.nodes.dns.address, port=self.pdns.dns_port, timeout=5)
        return sorted(item.to_text() for rrset in answer.answer if rrset.rdtype == dns.rdatatype.A for item in rrset)

    def visit(self, name: str, path: str) -> tuple[int, str, list[str]]:
        """From outside: resolve, connect to what was found, check its certificate, ask. Status, text, names that it has."""
        (address,) = self.resolve(name)
        context = ssl.create_default_context(cafile=str(self.stage.home / "caddy/data/pki/authorities/local/root.crt"))
        with entered(self.nodes.backup.space):
            line = socket.create_connection((address, 443), 10)
        with line, context.wrap_socket(line, server_hostname=name) as safe:
            names = [str(value) for _, value in safe.getpeercert()["subjectAltName"]]
            safe.sendall(f"GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
            answer = http.client.HTTPResponse(safe)
            answer.begin()
            return answer.status, answer.read().decode(), names

    def ask_app(self, port: int, path: str) -> str:
        """On the app server itself, where a slot is published."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", path)
        try:
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    # what is left, as each layer says by its own tools

    def left(self, name: str) -> dict[str, list[str]]:
        """Everything that bears this project's name, anywhere, but for what is kept on purpose: final dumps and records, logs,
        and the certificates that Caddy keeps until they are over."""
        plain, home = name.replace("-", "_"), self.stage.home
        with entered(self.nodes.storage.space):
            with psycopg.connect(self.postgres.address("postgres")) as admin:
                roles = admin.execute("SELECT rolname FROM pg_roles UNION SELECT datname FROM pg_database").fetchall()
            redis = self.redis.client()
            users, keys = redis.acl_list(), redis.keys("*")
            listening = inside(self.nodes.storage.space, "ss", "-Hltn")
        with entered(self.nodes.dns.space):
            zone = self.pdns.api("GET", "/zones/example.test.")
            sets = zone.json()["rrsets"] if zone.status_code == 200 else []
        kept = {home / each for each in ("backups", "logs", "caddy/data/certificates")}
        files = [path for path in home.rglob(f"*{name}*") if not kept & set(path.parents)]
        said = {
            "roles and databases": [row[0] for row in roles if str(row[0]).startswith(plain)],
            "users of Redis": [each for each in users if f"user {name}" in each], "keys of Redis": list(keys),
            "records": [f"{each['name']} {each['type']}" for each in sets if each["type"] in ("A", "AAAA", "CNAME")],
            "rules": [rule["notes"] for rule in self.group.rules.values() if f":{name}:" in rule["notes"]],
            "files": sorted(str(path.relative_to(home)) for path in files),
            "ports of storage": [port for port in ("5433", "6380") if f":{port} " in listening],
        }  # fmt: skip
        for node in (self.nodes.app, self.nodes.storage):
            said[f"containers on {node.name}"] = node.docker("ps", "-a", "--format", "{{.Names}}")
            said[f"volumes on {node.name}"] = node.docker("volume", "ls", "-q")
            networks = node.docker("network", "ls", "--format", "{{.Name}}")
            said[f"networks on {node.name}"] = [each for each in networks if each not in ("bridge", "host", "none")]
        return {what: those for what, those in said.items() if those}


async def _images(app: Node, storage: Node) -> tuple[str, str, str]:
    there = DockerClient(app.engine), DockerClient(storage.engine)
    try:
        shop, postgres, redis = await asyncio.gather(
            storage_image(there[0], "shop"), storage_image(there[1], "postgres"), storage_image(there[1], "redis")
        )
    finally:
        for each in there:
            await each.close()
    return shop, postgres, redis


@contextmanager
def four_hosts() -> Iterator[Town]:
    """CodeB runs on the app server, and this thread lives there; its storage server is closed to everybody at first."""
    with contextlib.ExitStack() as stack:
        made = stack.enter_context(nodes())
        shop, postgres_image, redis_image = asyncio.run(_images(made.app, made.storage))
        with entered(made.storage.space):
            postgres = stack.enter_context(postgres_server(made.storage.address, f"{NET}.0/24", 5432))
            with psycopg.connect(postgres.address("postgres"), autocommit=True) as admin:
                admin.execute(f"ALTER ROLE postgres PASSWORD '{ADMIN_WORD}'".encode())
            redis = stack.enter_context(redis_server(CLOSED + ADMIN, made.storage.address, 6379))
        with entered(made.dns.space):
            pdns = stack.enter_context(pdns_server(made.dns.address))
        tunnel = made.tunnel(made.app, made.dns, pdns.api_port)
        stack.enter_context(entered(made.app.space))
        # what comes through a tunnel of the operator: nothing but loopback speaks plain HTTP with a key
        provider = stack.enter_context(vendor())
        provider.rate = 1000
        group = provider.group()
        stack.enter_context(_environment("CODEB_DOCKER_HOST", made.app.engine))
        stage = stack.enter_context(
            Stage(
                HTTP_PORT="80", HTTPS_PORT="443", CADDY_BIND=f"127.0.0.1 {made.app.address}", BASE_DOMAIN="apps.example.test",
                TLS="internal", PUBLIC_ADDRESSES=made.app.address, PDNS_URL=f"http://127.0.0.1:{tunnel}",
                PDNS_API_KEY=PDNS_KEY, PDNS_SERVER=f"{made.dns.address}:{pdns.dns_port}", PDNS_NAMESERVERS="ns1.example.net",
                DNS_RESOLVERS=f"{made.dns.address}:{pdns.dns_port}", FIREWALL="vultr", VULTR_API_KEY=VENDOR_KEY,
                VULTR_FIREWALL_GROUP=group.id, VULTR_URL=provider.url, POSTGRES_IMAGE=postgres_image, REDIS_IMAGE=redis_image,
                STORAGE_DATABASE_URL=f"postgresql://postgres:{ADMIN_WORD}@{made.storage.address}:5432/postgres",
                STORAGE_REDIS_URL=f"redis://admin:admin-word@{made.storage.address}:6379",
            )
        )  # fmt: skip
        town = Town(made, stage, postgres, redis, pdns, group, shop)
        answer = provider.answer

        def at_once(method: str, *words: Any) -> tuple[int, Any]:
            said = answer(method, *words)
            if method != "GET":
                town.close_edge()
            return said

        provider.answer = at_once  # type: ignore[method-assign]
        town.close_edge()
        yield town


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before
