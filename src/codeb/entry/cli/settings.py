"""Where the server is, with which key, and for which project: from the environment and small files, each with its origin."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codeb.model.secret import Secret

REPOSITORY_KEYS = ("project", "environment")
"""of the file, what every command takes from it"""
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104  what a server listens on, not us


class BadSetting(Exception):
    """A settings file or variable that cannot be used: says which and why."""


@dataclass(frozen=True)
class Where:
    """The server to ask. `key` is None where none was found; `key_from` then says where it was looked for."""

    url: str
    url_from: str
    key: Secret | None
    key_from: str
    home: Path


@dataclass(frozen=True)
class Repository:
    """What `codeb.toml` of the repository we stand in says."""

    path: Path | None = None
    project: str | None = None
    environment: str | None = None
    warnings: tuple[str, ...] = ()


def home() -> Path:
    """`CODEB_HOME`, else `/opt/codeb` for root, else `~/.codeb`: the same as the server's."""
    said = os.environ.get("CODEB_HOME")
    return Path(said) if said else Path("/opt/codeb") if os.geteuid() == 0 else Path.home() / ".codeb"


def where(api_url: str | None = None) -> Where:
    """The server and the key. Raises `BadSetting`.

    A key is only sent where it belongs: one from a file that names a server goes to that server, the owner key of
    this machine only to this machine.
    """
    mine = Path.home() / ".codeb" / "config.toml"
    said = _toml(mine)
    url, url_from = _url(api_url, said, mine)
    key, key_from = _key(url, said, mine)
    return Where(url, url_from, key, key_from, home())


def _url(api_url: str | None, said: dict[str, Any], mine: Path) -> tuple[str, str]:
    if api_url:
        return checked_url(api_url, "--api-url"), "--api-url"
    if text := os.environ.get("CODEB_API_URL"):
        return checked_url(text, "CODEB_API_URL"), "CODEB_API_URL"
    if "api_url" in said:
        return checked_url(said["api_url"], str(mine)), str(mine)
    return local_url()


def local_url() -> tuple[str, str]:
    """The address of this machine's own server, and where its port is said."""
    file = home() / "codeb.toml"
    said = _toml(file)
    host = str(os.environ.get("CODEB_HOST") or said.get("host") or "127.0.0.1")
    host = EVERYWHERE.get(host, host)
    port, origin = os.environ.get("CODEB_PORT"), "CODEB_PORT"
    if not port:
        port, origin = str(said.get("port", 9101)), str(file) if "port" in said else "default"
    host = f"[{host}]" if ":" in host else host
    return checked_url(f"http://{host}:{port}", origin), origin


def _key(url: str, said: dict[str, Any], mine: Path) -> tuple[Secret | None, str]:
    if text := os.environ.get("CODEB_API_KEY"):
        return _secret(text, "CODEB_API_KEY"), "CODEB_API_KEY"
    if text := said.get("api_key"):
        if "api_url" not in said or _same(url, checked_url(said["api_url"], str(mine))):
            return _secret(text, str(mine)), str(mine)
        return None, f"{mine} has a key, but for {said['api_url']}"
    file = home() / "owner.key"
    if not _is_here(url):
        return None, "set CODEB_API_KEY: the owner key of this machine is not sent to another one"
    try:
        return _secret(file.read_text(encoding="ascii"), str(file)), str(file)
    except PermissionError:
        return None, f"{file} may not be read by you"
    except FileNotFoundError:
        return None, f"CODEB_API_KEY, {mine} and {file} have none"
    except (OSError, UnicodeDecodeError) as fault:
        raise BadSetting(f"{file} cannot be read: {fault}.") from None


def checked_url(text: Any, origin: str) -> str:
    """Without a slash at the end. Raises `BadSetting` for what is not an address of a server."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(str(text))
        good = parts.scheme in ("http", "https") and parts.hostname and not parts.username and not parts.query
        port = parts.port
    except ValueError:
        good, port = False, None
    if not good or port == 0 or not str(text).isprintable() or " " in str(text):
        raise BadSetting(f"{origin}: {str(text)[:200]!r} is not an address such as http://127.0.0.1:9101.")
    return str(text).rstrip("/")


def _secret(text: Any, origin: str) -> Secret:
    key = str(text).strip()
    if not key.isascii() or not key.isprintable() or " " in key:
        raise BadSetting(f"{origin}: that is not a key.")
    return Secret(key)


def _same(one: str, other: str) -> bool:
    from urllib.parse import urlsplit

    return urlsplit(one)[:2] == urlsplit(other)[:2]


def _is_here(url: str) -> bool:
    from urllib.parse import urlsplit

    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.") or _same(url, local_url()[0])


def _toml(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, PermissionError):
        return {}
    except (OSError, UnicodeDecodeError) as fault:
        raise BadSetting(f"{path} cannot be read: {fault}.") from None
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as fault:
        raise BadSetting(f"{path} cannot be read: {fault}.") from None


def repository(start: Path | None = None) -> Repository:
    """The nearest `codeb.toml` from here up to the root of the repository (`.git`). Raises `BadSetting`.

    Outside a repository only this folder counts; the server's own `codeb.toml` in its home is another file.
    """
    from codeb.model import manifest

    here = start or Path.cwd()
    path = nearest(here)
    if path is None:
        return Repository()
    said = _toml(path)
    for name in REPOSITORY_KEYS:
        if not isinstance(said.get(name, ""), str):
            raise BadSetting(f"{path}: {name} has to be a text.")
    unknown = sorted(set(said) - set(manifest.KEYS))
    warnings = (f"{path}: unknown {', '.join(unknown)}; known are {', '.join(manifest.KEYS)}.",) if unknown else ()
    return Repository(path, said.get("project") or None, said.get("environment") or None, warnings)


def nearest(here: Path) -> Path | None:
    """The `codeb.toml` of the repository that `here` is in."""
    found = None
    for folder in (here, *here.parents):
        file = folder / "codeb.toml"
        if found is None and folder != home() and file.is_file():
            found = file
        if (folder / ".git").exists():
            return found
    return found if found is not None and found.parent == here else None
