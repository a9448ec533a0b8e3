"""Addresses that settings say: read strictly, and a key goes in clear only where it does not leave the machine."""

import pytest

from codeb.model import endpoints


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("192.0.2.7", ("192.0.2.7", 53)), ("192.0.2.7:5300", ("192.0.2.7", 5300)), ("2001:db8::7", ("2001:db8::7", 53)),
        ("[2001:db8::7]", ("2001:db8::7", 53)), ("[2001:db8::7]:5300", ("2001:db8::7", 5300)),
    ],
)  # fmt: skip
def test_an_endpoint_is_an_address_and_a_port(text: str, found: tuple[str, int]) -> None:
    assert endpoints.endpoint(text) == found


@pytest.mark.parametrize("text", ["ns1.example.com", "192.0.2.7:0", "192.0.2.7:70000", "192.0.2.7:x", "", "[2001:db8::7]x53"])
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"address|appear"):
        endpoints.endpoint(text)


@pytest.mark.parametrize(
    "url", ["", "http://127.0.0.1:8081", "http://localhost:8081/", "http://[::1]:8081", "https://192.0.2.7:8081"]
)
def test_an_api_on_this_machine_or_encrypted(url: str) -> None:
    assert endpoints.api_url(url) == url


@pytest.mark.parametrize(
    "url",
    ["http://192.0.2.7:8081", "http://pdns.example.com", "ftp://127.0.0.1", "http://a@127.0.0.1", "http://127.0.0.1/api?x=1"],
)
def test_a_key_does_not_leave_the_machine_in_clear(url: str) -> None:
    with pytest.raises(ValueError, match="http"):
        endpoints.api_url(url)
