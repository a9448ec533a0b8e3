"""A PowerDNS of our own: Debian's package on its own ports, in a folder of its own, without caches; gone afterwards."""

import contextlib
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2

from tests.contracts.backends import free_ports

SERVER = Path("/usr/sbin/pdns_server")
SCHEMA = Path("/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql")
KEY = "codebtest-pdns-key"
CONFIG = """\
launch=gsqlite3
gsqlite3-database={folder}/pdns.sqlite3
gsqlite3-pragma-foreign-keys=yes
local-address=127.0.0.1{also}
local-port={dns}
socket-dir={folder}
api=yes
api-key={key}
webserver=yes
webserver-address=127.0.0.1
webserver-port={api}
webserver-allow-from=127.0.0.1/32
cache-ttl=0
negquery-cache-ttl=0
query-cache-ttl=0
zone-cache-refresh-interval=0
daemon=no
guardian=no
disable-syslog=yes
"""


@dataclass
class PdnsServer:
    """`api()` is how a person with the key changes things by hand."""

    folder: Path
    dns_port: int
    api_port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.api_port}"

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([SERVER, f"--config-dir={self.folder}"], stdout=log, stderr=log)
        end = time.monotonic() + 20
        while True:
            with contextlib.suppress(httpx2.HTTPError):
                self.api("GET", "")
                return
            if time.monotonic() > end:
                raise RuntimeError((self.folder / "log").read_text()[-2000:])
            time.sleep(0.05)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(15)
            self.process = None

    def api(self, method: str, path: str, body: object = None) -> httpx2.Response:
        address = f"{self.url}/api/v1/servers/localhost{path}"
        return httpx2.request(method, address, json=body, headers={"X-API-Key": KEY}, timeout=10, trust_env=False)

    def put(self, zone: str, name: str, kind: str, content: str) -> None:
        """By hand, making the zone when it is not there; no content: the set is deleted."""
        made = {"name": f"{zone}.", "kind": "Native", "nameservers": ["ns1.example.net."]}
        self.api("POST", "/zones", made)
        change = {"changetype": "REPLACE", "ttl": 60, "records": [{"content": content, "disabled": False}]}
        rrset = {"name": f"{name}.", "type": kind, **(change if content else {"changetype": "DELETE"})}
        got = self.api("PATCH", f"/zones/{zone}.", {"rrsets": [rrset]})
        assert got.status_code == 204, got.text


@contextlib.contextmanager
def pdns_server(also: str = "") -> Iterator[PdnsServer]:
    """One that answers; no zone in it. `also`: one more address at which it is asked."""
    assert SERVER.exists(), "install pdns-server and pdns-backend-sqlite3: scripts/bootstrap.sh parts"
    folder = Path(tempfile.mkdtemp(prefix="codebtest-pdns-"))
    server = PdnsServer(folder, *free_ports(2))
    (folder / "pdns.conf").write_text(
        CONFIG.format(also=f",{also}" if also else "", folder=folder, dns=server.dns_port, api=server.api_port, key=KEY)
    )
    with contextlib.closing(sqlite3.connect(folder / "pdns.sqlite3")) as made:
        made.executescript(SCHEMA.read_text())
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)
