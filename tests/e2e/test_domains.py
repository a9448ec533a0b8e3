"""S27, P2, P15: a domain on real parts: PowerDNS, Caddy, Docker. From a TXT record to HTTPS, and back to nothing.

Also S14: what is asked of a domain goes to the address that it was checked to have.
"""

import contextlib
import http.client
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import dns.message
import dns.query
import dns.rdatatype
import pytest

from codeb.flows import domain_delete, domain_setup, maintenance
from tests import oracle
from tests.e2e.cells import forward_points
from tests.e2e.nursery import QuickStage
from tests.pdns import KEY, PdnsServer, pdns_server
from tests.stage import Stage

pytestmark = [pytest.mark.docker, pytest.mark.proxy, pytest.mark.dns]

ZONE, DOMAIN, BESIDE = "example.test", "shop.example.test", "www.shop.example.test"
FULL = os.environ.get("CODEB_TEST_SIZE") == "full"
EVERY = 20 if FULL else 4
WITHIN = 60.0


@dataclass
class Town:
    stage: Stage
    pdns: PdnsServer
    other: str = ""
    """the key of another team, which has a project of its own"""

    @property
    def where(self) -> dict[str, str]:
        return {"projectName": self.stage.project, "environment": "production"}

    def ask_as_other(self, tool: str, **params: object) -> tuple[int, dict[str, object]]:
        return self.stage.ask(tool, params, {"X-API-Key": self.other})

    def resolve(self, name: str, kind: str = "A") -> list[str]:
        """As a visitor's resolver would: a real query."""
        answer = dns.query.udp(dns.message.make_query(name, kind), "127.0.0.1", port=self.pdns.dns_port, timeout=5)
        wanted = dns.rdatatype.from_text(kind)
        return sorted(item.to_text() for rrset in answer.answer if rrset.rdtype == wanted for item in rrset)

    def https(self, name: str, path: str = "/") -> tuple[int, dict[str, str], bytes, list[str]]:
        """Resolve, connect to what was found, shake hands for the name, ask; also the names in the certificate."""
        (address,) = self.resolve(name)
        context = ssl.create_default_context(cafile=str(self.stage.home / "caddy/data/pki/authorities/local/root.crt"))
        port = int(self.stage.settings["HTTPS_PORT"])
        with socket.create_connection((address, port), 10) as line, context.wrap_socket(line, server_hostname=name) as safe:
            names = [value for _, value in safe.getpeercert()["subjectAltName"]]
            safe.sendall(f"GET {path} HTTP/1.1\r\nHost: {name}:{port}\r\nConnection: close\r\n\r\n".encode())
            answer = http.client.HTTPResponse(safe)
            answer.begin()
            return answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read(), names

    def until(self, what: str, so: Callable[[], bool]) -> float:
        began = time.monotonic()
        while time.monotonic() - began < WITHIN:
            with contextlib.suppress(OSError):
                if so():
                    return time.monotonic() - began
            time.sleep(0.25)
        raise AssertionError(f"not within {WITHIN} s: {what}\n{self.stage.log[-3000:]}")


@pytest.fixture(scope="module")
def town(images: dict[str, str]) -> Iterator[Town]:
    """A server with a DNS server; in that a zone of its operator, with a record that is nobody's business."""
    with pdns_server() as pdns:
        said = {
            "PDNS_URL": pdns.url, "PDNS_API_KEY": KEY, "PDNS_SERVER": f"127.0.0.1:{pdns.dns_port}",
            "PDNS_NAMESERVERS": "ns1.example.net", "PUBLIC_ADDRESSES": "127.0.0.1",
            "DNS_RESOLVERS": f"127.0.0.1:{pdns.dns_port}", "RECONCILE_SECONDS": str(EVERY),
        }  # fmt: skip
        pdns.put(ZONE, f"mail.{ZONE}", "A", "192.0.2.9")
        with QuickStage(**said) as stage:
            made = Town(stage, pdns)
            stage.call("project_create", projectName=stage.project, healthPath="/health")
            made.other = stage.call("team_create", team="rivals")["key"]
            status, _ = made.ask_as_other("project_create", projectName=f"{stage.project}-x")
            assert status == 200
            yield made


def test_a_domain_from_proof_to_https_before_the_first_deploy(town: Town) -> None:
    call, where = town.stage.call, town.where
    pending = call("domain_setup", **where, domain=DOMAIN, redirect=True)
    assert (pending["state"], town.resolve(DOMAIN)) == ("pending", [])
    txt = pending["setAtRegistrar"][0]
    assert (txt["name"], txt["type"]) == (f"_codeb.{DOMAIN}", "TXT")
    town.pdns.put(ZONE, txt["name"], "TXT", f'"{txt["value"]}"')
    made = call("domain_setup", **where, domain=DOMAIN, redirect=True)
    assert (made["state"], made["certificate"], made["setAtRegistrar"]) == ("active", "shown", [])
    assert (town.resolve(DOMAIN), town.resolve(BESIDE)) == (["127.0.0.1"], ["127.0.0.1"])
    status, headers, body, names = town.https(DOMAIN)
    assert (status, names, headers["x-codeb-project"]) == (503, [DOMAIN], town.stage.project)
    assert b"Not available yet" in body
    again = call("domain_setup", **where, domain=DOMAIN, redirect=True)
    assert (again["state"], again["operationId"]) == ("active", None)


def test_it_answers_with_what_is_live_and_is_seen_so_from_outside(town: Town, images: dict[str, str]) -> None:
    call, where = town.stage.call, town.where
    call("deploy", **where, image=images["v1"], autoPromote=True)
    status, headers, _, _ = town.https(DOMAIN)
    assert (status, headers["x-codeb-slot"]) == (200, "blue")
    status, headers, _, _ = town.https(BESIDE, "/a?b=1")
    assert (status, headers["location"]) == (308, f"https://{DOMAIN}:{town.stage.settings['HTTPS_PORT']}/a?b=1")
    seen = call("domain_status", domain=DOMAIN)
    assert (seen["dns"]["status"], seen["dns"]["addresses"]) == ("here", ["127.0.0.1"])
    assert (seen["tls"]["status"], seen["tls"]["trusted"]) == ("warn", False) and "Caddy" in seen["tls"]["issuer"]
    assert (seen["http"]["code"], seen["http"]["slot"]) == (200, "blue")
    assert oracle.judge(town.stage, town.stage.project) == []


@pytest.mark.parametrize("name", [DOMAIN, f"api.{DOMAIN}", ZONE])
def test_another_team_takes_neither_it_nor_what_is_above_or_below(town: Town, name: str) -> None:
    before = oracle.rows(town.stage, "select * from domains order by host")
    ask = {"projectName": f"{town.stage.project}-x", "environment": "production"}
    status, unknown = town.ask_as_other("domain_setup", **ask, domain="nobody.example.test")
    assert (status, unknown["state"]) == (200, "pending")
    status, said = town.ask_as_other("domain_setup", **ask, domain=name)
    assert (status, said["state"]) == (200, "pending")
    assert str(said["summary"]).replace(name, "X") == str(unknown["summary"]).replace("nobody.example.test", "X")
    value = said["setAtRegistrar"][0]["value"]  # type: ignore[index]
    town.pdns.put(ZONE, f"_codeb.{name}", "TXT", f'"{value}"')
    try:
        status, said = town.ask_as_other("domain_setup", **ask, domain=name)
        assert (status, said["code"]) == (409, "domain_taken")
    finally:
        town.pdns.put(ZONE, f"_codeb.{name}", "TXT", "")
    for tool in ("domain_status", "domain_delete"):
        foreign, missing = (town.ask_as_other(tool, domain=each) for each in (name, "nobody.example.test"))
        assert (foreign[0], missing[0]) == (404, 404)
        assert str(foreign[1]["error"]).replace(name, "X") == str(missing[1]["error"]).replace("nobody.example.test", "X")
    assert oracle.rows(town.stage, "select * from domains order by host") == before


def test_a_record_deleted_or_changed_by_hand_comes_back(town: Town) -> None:
    town.pdns.put(ZONE, DOMAIN, "A", "")
    assert town.resolve(DOMAIN) == []
    assert town.until("the record is back", lambda: town.resolve(DOMAIN) == ["127.0.0.1"]) < WITHIN
    town.pdns.put(ZONE, DOMAIN, "A", "192.0.2.66")
    town.until("the record is right again", lambda: town.resolve(DOMAIN) == ["127.0.0.1"])
    assert town.resolve(f"mail.{ZONE}") == ["192.0.2.9"]


POINTS = [
    point for saga in (domain_setup.SAGA, domain_delete.SAGA, maintenance.SAGA) for point in forward_points(saga)
    if FULL or point.endswith(("records.do.effect", "site.do.effect", "page.do.effect", "release.do.record"))
]  # fmt: skip


@pytest.mark.timeout(1200)
def test_killed_on_the_way_it_is_whole_or_nothing(town: Town) -> None:
    """P2: kill -9 at points of each of the three, a restart, and then a look at DNS, proxy, page and registry."""
    stage, where, name = town.stage, town.where, f"killed.{DOMAIN}"
    calls = {"domain_setup": {**where, "domain": name}, "domain_delete": {"domain": name}, "maintenance": where}
    for point in POINTS:
        saga = point.partition(".")[0]
        if saga == "domain_delete" and stage.ask("domain_status", {"domain": name})[0] == 404:
            stage.call("domain_setup", **calls["domain_setup"])
        stage.kill()
        stage.start(crash_at=point)
        with contextlib.suppress(OSError, http.client.HTTPException):
            stage.ask("maintenance_on" if saga == "maintenance" else saga, calls[saga])
        stage.until_dead()
        stage.start()
        town.until("nothing runs", lambda: not stage.call("operation_list", running=True)["operations"])
        there = stage.ask("domain_status", {"domain": name})[0] == 200
        assert (town.resolve(name) == ["127.0.0.1"]) is there, point
        site = (stage.home / "caddy/sites" / f"{stage.project}-production.caddy").read_text()
        assert (name in site) is there, point
        assert {row["state"] for row in oracle.rows(stage, "select * from domains")} <= {"active", "released"}, point
        shown = stage.call("slot_status", **where)["maintenanceSince"] is not None
        assert (stage.public(DOMAIN)[0] == 503) is shown, point
        if shown:
            stage.call("maintenance_off", **where)
        if there and saga == "domain_setup":
            stage.call("domain_delete", domain=name)
    if stage.ask("domain_status", {"domain": name})[0] == 200:
        stage.call("domain_delete", domain=name)
    assert oracle.judge(stage, stage.project) == []


def test_a_dns_server_that_is_away_is_told_once_and_nothing_else_stops(town: Town) -> None:
    town.pdns.stop()
    try:

        def told() -> list[object]:
            found = oracle.rows(town.stage, "select * from events order by id")
            return [each for each in found if each["kind"] == "drift_found" and each["text"].startswith("dns could not be")]

        town.until("it is told", lambda: len(told()) == 1)
        time.sleep(EVERY * 2.5)
        assert len(told()) == 1
        status, said = town.stage.ask("domain_delete", {"domain": DOMAIN})
        assert (status, said["code"]) == (503, "dns_unavailable")
        assert town.stage.public(DOMAIN)[0] == 200, "what could not be deleted is as it was"
        findings = {each["name"]: each["status"] for each in town.stage.call("health_check")["checks"]}
        assert findings["dns"] == "fail"
    finally:
        town.pdns.start()
    assert town.https(DOMAIN)[0] == 200


@dataclass
class Visitors:
    """Requests for one host over and over; each answer, and each that did not come."""

    port: int
    host: str
    answers: list[tuple[int, bool]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def visit(self) -> None:
        while not self.over.is_set():
            try:
                line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
                line.request("GET", "/", headers={"Host": self.host})
                got = line.getresponse()
                self.answers.append((got.status, b"Maintenance" in got.read()))
                line.close()
            except (OSError, http.client.HTTPException) as fault:
                self.faults.append(repr(fault))


def test_maintenance_under_traffic_loses_nothing_and_outlives_everything(town: Town, images: dict[str, str]) -> None:
    """P1: every request is answered, by the application or by the page."""
    call, where, stage = town.stage.call, town.where, town.stage
    visitors = Visitors(int(stage.settings["HTTP_PORT"]), DOMAIN)
    crowd = [threading.Thread(target=visitors.visit) for _ in range(4)]
    for each in crowd:
        each.start()
    try:
        for _ in range(3):
            call("maintenance_on", **where)
            assert (stage.public(DOMAIN)[0], stage.public(f"{stage.project}.localhost")[0]) == (503, 503)
            call("maintenance_off", **where)
            assert stage.public(DOMAIN)[0] == 200
    finally:
        visitors.over.set()
        for each in crowd:
            each.join(30)
    assert visitors.faults == []
    assert set(visitors.answers) == {(200, False), (503, True)}
    call("maintenance_on", **where)
    deployed = call("deploy", **where, image=images["v2"])
    preview = deployed["previewUrl"].split("/")[2].partition(":")[0]
    assert stage.public(preview)[0] == 200, "previews stay reachable"
    promoted = call("promote", **where)
    assert promoted["activeSlot"] == "green" and any("maintenance" in each for each in promoted["warnings"])
    assert stage.public(DOMAIN)[0] == 503
    stage.kill()
    stage.start()
    assert (stage.public(DOMAIN)[0], call("slot_status", **where)["maintenanceSince"] is not None) == (503, True)
    marker = stage.home / "caddy/slots" / f"{stage.project}-production" / "curtain"
    marker.unlink()
    town.until("the page is back", lambda: stage.public(DOMAIN)[0] == 503)
    call("maintenance_off", **where)
    assert (stage.public(DOMAIN)[0], town.https(DOMAIN)[1]["x-codeb-slot"]) == (200, "green")


def test_a_zone_of_our_own_goes_with_its_name(town: Town) -> None:
    call, own = town.stage.call, f"{town.stage.project}.localhost"
    assert call("domain_setup", **town.where, domain=own)["proof"] == "own"
    assert (town.resolve(own), town.resolve(own, "NS")) == (["127.0.0.1"], ["ns1.example.net."])
    call("domain_delete", domain=own)
    assert town.pdns.api("GET", f"/zones/{own}.").status_code == 404
    assert town.stage.public(own)[0] == 200, "its own host goes on being served"


def test_deletion_leaves_no_record_site_host_or_row_in_force(town: Town) -> None:
    stage = town.stage
    stage.call("domain_delete", domain=DOMAIN)
    assert (town.resolve(DOMAIN), town.resolve(BESIDE), town.resolve(f"mail.{ZONE}")) == ([], [], ["192.0.2.9"])
    site = (stage.home / "caddy/sites" / f"{stage.project}-production.caddy").read_text()
    assert DOMAIN not in site and stage.public(DOMAIN)[0] == 404
    assert stage.call("domain_list")["domains"] == []
    assert {row["state"] for row in oracle.rows(stage, "select * from domains")} == {"released"}
    # a record left behind by hand gives it to nobody else
    town.pdns.put(ZONE, DOMAIN, "A", "127.0.0.1")
    ask = {"projectName": f"{stage.project}-x", "environment": "production"}
    assert town.ask_as_other("domain_setup", **ask, domain=DOMAIN)[1]["state"] == "pending"
    assert oracle.judge(stage, stage.project) == []
