"""Settings of the firewall: what always stays open follows from them, and the vendor's key is shown nowhere (S11)."""

from pathlib import Path

import pytest

from codeb import config
from codeb.errors import InvalidParams
from codeb.model.firewall import Transport
from codeb.model.secret import Secret
from codeb.wiring import firewall_of

GROUP = "0123abcd-0123-4567-89ab-0123456789ab"
CANARY = "vendor-canary-0123456789"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CODEB_HOME", str(tmp_path))
    return tmp_path


def test_there_is_none_unless_said() -> None:
    assert firewall_of(config.load(), lambda: None).provider == "none"


def test_each_is_made_as_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEB_FIREWALL", "nftables")
    here = firewall_of(config.load(), lambda: None)
    assert (here.provider, here.everywhere) == ("nftables", False)
    for name, value in (("FIREWALL", "vultr"), ("VULTR_API_KEY", CANARY), ("VULTR_FIREWALL_GROUP", GROUP)):
        monkeypatch.setenv(f"CODEB_{name}", value)
    there = firewall_of(config.load(), lambda: None)
    assert (there.provider, there.everywhere) == ("vultr", True)


def test_what_stays_open_is_ssh_the_proxy_and_what_codeb_serves_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("HTTP_PORT", "80"), ("HTTPS_PORT", "443"), ("SSH_PORT", "2222")):
        monkeypatch.setenv(f"CODEB_{name}", value)
    gates = config.load().gates
    assert (gates.ssh, gates.public) == (2222, ((Transport.TCP, 80), (Transport.TCP, 443), (Transport.UDP, 443)))
    monkeypatch.setenv("CODEB_HOST", "192.0.2.1")
    assert (Transport.TCP, 9101) in config.load().gates.public


def test_the_key_is_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEB_VULTR_API_KEY", CANARY)
    said = config.load()
    assert said.vultr_api_key == Secret(CANARY)
    assert CANARY not in str(config.explained(said)) + repr(said) + str(said)
    assert {each["variable"]: each["value"] for each in config.explained(said)}["CODEB_VULTR_API_KEY"] == "…"
    monkeypatch.setenv("CODEB_VULTR_API_KEY", f"{CANARY} \n")
    with pytest.raises(InvalidParams) as refused:
        config.load()
    assert CANARY not in str(vars(refused.value))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FIREWALL", "ufw"), ("SSH_PORT", "0"), ("VULTR_FIREWALL_GROUP", "../x"), ("VULTR_FIREWALL_GROUP", GROUP.upper()),
        ("VULTR_URL", "http://192.0.2.1/v2"), ("VULTR_URL", "https://user@192.0.2.1/v2"), ("VULTR_URL", "https://192.0.2.1/v2?x=1"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"CODEB_{name}", value)
    with pytest.raises(InvalidParams, match=f"CODEB_{name}: "):
        config.load()


def test_the_vendor_needs_key_and_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEB_FIREWALL", "vultr")
    monkeypatch.setenv("CODEB_VULTR_API_KEY", CANARY)
    with pytest.raises(InvalidParams, match="CODEB_VULTR_FIREWALL_GROUP") as refused:
        config.load()
    assert CANARY not in str(vars(refused.value))
