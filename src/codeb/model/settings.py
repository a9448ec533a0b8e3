"""The grammar of every setting: what a text has to be, each refusal in words, and how an address is shown."""

import ipaddress
import re
from collections.abc import Callable
from typing import Any

from codeb.model import grammar, limits, pulls
from codeb.model.endpoints import each_of
from codeb.model.secret import Secret

SPAN = re.compile(r"([0-9]{1,5})-([0-9]{1,5})")
HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?")
ORIGIN = re.compile(rf"https?://{HOST.pattern}")

ADDRESS = re.compile(
    r"(?P<kind>[a-z][a-z0-9+]{0,30})://(?:(?P<user>[^:/@?#]*)(?::(?P<password>[^@]*))?@)?"
    r"(?P<where>(?:\[[0-9A-Fa-f:.%]+\]|[^\s:/@?#]*)(?::[0-9]{1,5})?(?:/[^\s@?#]*)?)(?:\?(?P<more>[^\s@]*))?"
)
"""of a database, split as its driver splits it"""
PLAIN = frozenset({"host", "port", "sslmode", "connect_timeout", "application_name", "target_session_attrs"})
"""what after the `?` of an address is shown; anything else may be a password"""


def span(text: str) -> str:
    match = SPAN.fullmatch(text)
    if not match or not 1024 <= int(match[1]) < int(match[2]) <= 65535:
        raise ValueError("a range of ports is FIRST-LAST, such as 4100-4499")
    return text


def base(text: str) -> str:
    if text == "localhost":
        return text
    return grammar.domain(text, text)


def image(text: str) -> str:
    return grammar.image(text)


def rate(text: str) -> str:
    limits.rate(text)
    return text


def hosts(text: str) -> str:
    if bad := [each for each in each_of(text) if not HOST.fullmatch(each)]:
        raise ValueError(f"{bad[0]!r} is no host; such as codeb.example.com, or 192.0.2.7:9101, parted by commas")
    return text


def origins(text: str) -> str:
    if bad := [each for each in each_of(text) if not ORIGIN.fullmatch(each)]:
        raise ValueError(f"{bad[0]!r} is no origin; such as https://board.example.com, parted by commas, never * or null")
    return text


def networks(text: str) -> str:
    for each in each_of(text):
        if ipaddress.ip_network(each).prefixlen == 0:
            raise ValueError(f"{each} is everybody; a trusted proxy has an address, or a network of its own")
    return text


def _kept(said: Any, fits: Callable[[str], object], refusal: str) -> Secret:
    """What is refused is not in the refusal."""
    text = said.reveal() if isinstance(said, Secret) else said
    if not isinstance(text, str) or not fits(text):
        raise ValueError(refusal)
    return Secret(text)


def secret(said: Any) -> Secret:
    return _kept(said, re.compile(r"[!-~]{0,512}").fullmatch, "it is printable ASCII without spaces")


def group(text: str) -> str:
    if not re.fullmatch(r"([0-9a-f-]{36})?", text):
        raise ValueError("a firewall group is the id that the vendor gives it: 36 lower-case hexadecimal digits and hyphens")
    return text


def api(text: str) -> str:
    if not re.fullmatch(
        r"https://[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?(/[A-Za-z0-9._-]+)*|http://127\.0\.0\.1:[0-9]{1,5}(/[A-Za-z0-9._-]+)*", text
    ):
        raise ValueError("it is https://host/path; plain http only on 127.0.0.1")
    return text


def repositories(text: str) -> str:
    pulls.grants(text)
    return text


def database(said: Any) -> Secret:
    text = _kept(said, lambda _: True, "the address of a database is a text")
    refusal = "it is postgresql://user:password@host:5432/name; within a password @ is %40 and % is %25"
    return _kept(text, lambda text: not text or text.startswith("sqlite:") or ADDRESS.fullmatch(text), refusal)


def word(said: Any) -> Secret:
    """A secret of one line."""
    return _kept(said, lambda text: len(text) <= 4096 and text.isprintable(), "it is a text of one line")


def shown(address: Secret) -> str:
    """The address of a database, with `…` for its password and for whatever might be one."""
    text = address.reveal()
    if text.startswith("sqlite:"):
        return text
    if not (found := ADDRESS.fullmatch(text)):
        return "…"
    user = found["user"] or ""
    who = f"{user}:…@" if found["password"] is not None else f"{user}@" if found["user"] is not None else ""
    said = [part.partition("=") for part in (found["more"] or "").split("&") if part]
    more = "&".join(f"{name}={value}" if name in PLAIN else f"{name}=…" if mark else "…" for name, mark, value in said)
    return f"{found['kind']}://{who}{found['where']}{'?' + more if more else ''}"


def storage(kinds: str) -> Callable[[Any], Secret]:
    """A storage server's address; none is one too."""

    def fits(text: str) -> bool:
        found = ADDRESS.fullmatch(text)
        return not text or (found is not None and re.fullmatch(kinds, found["kind"]) is not None)

    refusal = f"it is an address such as {kinds.partition('|')[0]}://user:password@host:port"
    return lambda said: _kept(said, fits, refusal)
