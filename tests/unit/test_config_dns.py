"""S11: the settings about DNS; the key of PowerDNS is shown nowhere, and does not leave the machine in clear."""

from pathlib import Path

import pytest

from codeb import config
from codeb.errors import InvalidParams
from codeb.wiring import dns_of, policy_of

KEY = "codebtest-pdns-canary-4711"


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("CODEB_HOME", str(tmp_path))
    monkeypatch.setenv("CODEB_PDNS_URL", "http://127.0.0.1:8081")
    monkeypatch.setenv("CODEB_PDNS_API_KEY", KEY)
    return monkeypatch


def test_the_key_is_shown_nowhere(said: pytest.MonkeyPatch) -> None:
    settings = config.load()
    assert settings.pdns_api_key.reveal() == KEY
    shown = {row["variable"]: row["value"] for row in config.explained(settings)}
    assert shown["CODEB_PDNS_API_KEY"] == "…"
    assert KEY not in f"{settings!r} {settings.model_dump()} {vars(settings)} {shown} {vars(dns_of(settings))['_settings']!r}"
    said.setenv("CODEB_PDNS_API_KEY", f"{KEY} with a space")
    with pytest.raises(InvalidParams) as refused:
        config.load()
    assert KEY not in f"{refused.value} {refused.value.details}"


def test_where_it_answers_and_what_records_say(said: pytest.MonkeyPatch) -> None:
    assert config.load().pdns_endpoint == ("127.0.0.1", 53)
    said.setenv("CODEB_PDNS_SERVER", "[2001:db8::7]:5300")
    said.setenv("CODEB_PUBLIC_ADDRESSES", "192.0.2.7, 2001:DB8::7")
    said.setenv("CODEB_DNS_RESOLVERS", "192.0.2.53,192.0.2.54:5300")
    settings = config.load()
    assert settings.pdns_endpoint == ("2001:db8::7", 5300)
    assert policy_of(settings).public_addresses == ("192.0.2.7", "2001:db8::7")
    assert settings.resolvers == (("192.0.2.53", 53), ("192.0.2.54", 5300))
    said.delenv("CODEB_PDNS_SERVER")
    said.setenv("CODEB_PDNS_URL", "https://pdns.example.com")
    with pytest.raises(InvalidParams, match="not known"):
        dns_of(config.load())
    said.setenv("CODEB_PDNS_URL", "")
    assert dns_of(config.load()) is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("PDNS_URL", "http://192.0.2.7:8081"), ("PDNS_SERVER", "ns1.example.com"), ("PDNS_NAMESERVERS", "ns1,ns2"),
        ("PUBLIC_ADDRESSES", "example.com"), ("DNS_RESOLVERS", "192.0.2.53:99999"),
    ],
)  # fmt: skip
def test_what_is_none_is_refused_by_its_name(said: pytest.MonkeyPatch, name: str, text: str) -> None:
    said.setenv(f"CODEB_{name}", text)
    with pytest.raises(InvalidParams, match=f"CODEB_{name}"):
        config.load()
