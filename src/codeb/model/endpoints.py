"""Addresses that settings say: where a server listens, who is asked, where visitors come in. Pure; each raises `ValueError`."""

import ipaddress
import re

from codeb.model import grammar

PORT = re.compile(r"[1-9][0-9]{0,4}")
API = re.compile(r"(?P<scheme>https?)://(?P<host>[a-z0-9.-]{1,253}|\[[0-9a-f:.]{2,45}\])(?P<port>:[0-9]{1,5})?/?")


def each_of(text: str) -> list[str]:
    """Parted by commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def names(text: str) -> str:
    for each in each_of(text):
        grammar.domain(each, each)
    return text


def addresses(text: str) -> str:
    for each in each_of(text):
        ipaddress.ip_address(each)
    return text


def endpoint(text: str, port: int = 53) -> tuple[str, int]:
    """`192.0.2.7`, `192.0.2.7:5300`, `2001:db8::7` or `[2001:db8::7]:5300`."""
    head, bracket, tail = text.removeprefix("[").partition("]")
    if not bracket and text.count(":") == 1:
        head, _, tail = text.partition(":")
    said = tail.removeprefix(":")
    if said and not (PORT.fullmatch(said) and int(said) <= 65535):
        raise ValueError(f"{text!r} is no address with a port, such as 192.0.2.7:53")
    return str(ipaddress.ip_address(head)), int(said) if said else port


def endpoints(text: str) -> str:
    for each in each_of(text):
        endpoint(each)
    return text


def api_url(text: str) -> str:
    """A key goes with every request, so beyond this machine it goes encrypted."""
    if not text:
        return text
    found = API.fullmatch(text)
    if found is None:
        raise ValueError("it is http://127.0.0.1:8081, or https:// where the server runs on another machine")
    if found["scheme"] == "http" and not is_loopback(found["host"].strip("[]")):
        raise ValueError("http:// is for a server on this machine; elsewhere it is https://, because the key goes with it")
    return text


def host_of(url: str) -> str:
    """The host of what `api_url` took."""
    found = API.fullmatch(url)
    return found["host"].strip("[]") if found else ""
