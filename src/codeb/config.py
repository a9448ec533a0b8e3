"""The settings: one model, read once, from the environment and from `codeb.toml` in the home. Only wiring and entry see it."""

import ipaddress
import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from codeb.errors import InvalidParams
from codeb.model import grammar, limits
from codeb.model.limits import Rate
from codeb.model.ports import Range, Ranges
from codeb.model.secret import Secret

SPAN = re.compile(r"([0-9]{1,5})-([0-9]{1,5})")
HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?")
ORIGIN = re.compile(rf"https?://{HOST.pattern}")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
ADDRESS = re.compile(
    r"(?P<kind>[a-z][a-z0-9+]{0,30})://(?:(?P<user>[^:/@?#]*)(?::(?P<password>[^@]*))?@)?"
    r"(?P<where>(?:\[[0-9A-Fa-f:.%]+\]|[^\s:/@?#]*)(?::[0-9]{1,5})?(?:/[^\s@?#]*)?)(?:\?(?P<more>[^\s@]*))?"
)
"""of a database, split as its driver splits it"""
PLAIN = frozenset({"host", "port", "sslmode", "connect_timeout", "application_name", "target_session_attrs"})
"""what after the `?` of an address is shown; anything else may be a password"""


def default_home() -> Path:
    """`/opt/codeb` for root, else `~/.codeb`."""
    return Path("/opt/codeb") if os.geteuid() == 0 else Path.home() / ".codeb"


def _span(text: str) -> str:
    match = SPAN.fullmatch(text)
    if not match or not 1024 <= int(match[1]) < int(match[2]) <= 65535:
        raise ValueError("a range of ports is FIRST-LAST, such as 4100-4499")
    return text


def _base(text: str) -> str:
    if text == "localhost":
        return text
    return grammar.domain(text, text)


def _rate(text: str) -> str:
    limits.rate(text)
    return text


def _each(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _hosts(text: str) -> str:
    if bad := [each for each in _each(text) if not HOST.fullmatch(each)]:
        raise ValueError(f"{bad[0]!r} is no host; such as codeb.example.com, or 192.0.2.7:9101, parted by commas")
    return text


def _origins(text: str) -> str:
    if bad := [each for each in _each(text) if not ORIGIN.fullmatch(each)]:
        raise ValueError(f"{bad[0]!r} is no origin; such as https://board.example.com, parted by commas, never * or null")
    return text


def _networks(text: str) -> str:
    for each in _each(text):
        if ipaddress.ip_network(each).prefixlen == 0:
            raise ValueError(f"{each} is everybody; a trusted proxy has an address, or a network of its own")
    return text


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


Limit = Annotated[str, AfterValidator(_rate)]


def _database(said: Any) -> Secret:
    """What is refused is not in the refusal."""
    text = said.reveal() if isinstance(said, Secret) else said
    if not isinstance(text, str):
        raise ValueError("the address of a database is a text")
    if text and not text.startswith("sqlite:") and not ADDRESS.fullmatch(text):
        raise ValueError("it is postgresql://user:password@host:5432/name; within a password @ is %40 and % is %25")
    return Secret(text)


def _word(said: Any) -> Secret:
    """A secret of one line. What is refused is not in the refusal."""
    text = said.reveal() if isinstance(said, Secret) else said
    if not isinstance(text, str) or len(text) > 4096 or not text.isprintable():
        raise ValueError("it is a text of one line")
    return Secret(text)


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


Database = Annotated[Secret, BeforeValidator(_database)]
Span = Annotated[str, AfterValidator(_span)]
TcpPort = Annotated[int, Field(ge=1, le=65535)]


class Settings(BaseSettings):
    """Effective settings. Each comes from `CODEB_<NAME>`, else `codeb.toml` in the home, else its default."""

    model_config = SettingsConfigDict(
        env_prefix="CODEB_", extra="ignore", frozen=True, arbitrary_types_allowed=True, hide_input_in_errors=True
    )

    home: Path = Field(default_factory=default_home)
    host: str = "127.0.0.1"
    port: TcpPort = 9101
    database_url: Database = Secret("")
    master_key_file: Path | None = None
    docker_host: str = "unix:///var/run/docker.sock"
    runtime: Literal["docker"] = "docker"
    caddy_bin: str = ""
    caddy_dir: Path | None = None
    caddy_bind: str = ""
    http_port: TcpPort = Field(default_factory=lambda: 80 if os.geteuid() == 0 else 8080)
    https_port: TcpPort = Field(default_factory=lambda: 443 if os.geteuid() == 0 else 8443)
    tls: Literal["auto", "internal", "off"] | None = None
    base_domain: Annotated[str, AfterValidator(_base)] = "localhost"
    image_registry: str = "127.0.0.1:5000"
    image_registry_user: Annotated[str, Field(max_length=255)] = ""
    image_registry_password: Annotated[Secret, BeforeValidator(_word)] = Secret("")
    image_history: int = Field(10, ge=1, le=1000)
    grace_hours: float = Field(48, gt=0, le=24 * 365)
    health_timeout: float = Field(60, ge=1, le=540)
    deploy_timeout: float = Field(600, ge=1, le=840)
    switch_timeout: float = Field(60, ge=1, le=600)
    undo_timeout: float = Field(30, ge=3, le=50)
    reconcile_seconds: float = Field(20, ge=1, le=60)
    audit_days: int = Field(400, ge=0, le=36_500)
    ports_production: Span = "4100-4499"
    ports_staging: Span = "4500-4999"
    ports_preview: Span = "5000-5499"
    rate_limit: Limit = "100/60"
    auth_failures: Limit = "20/60"
    trusted_proxies: Annotated[str, AfterValidator(_networks)] = ""
    allowed_hosts: Annotated[str, AfterValidator(_hosts)] = ""
    allowed_origins: Annotated[str, AfterValidator(_origins)] = ""
    env: Literal["production", "development"] = "production"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    crash_at: str | None = None
    """a journal point at which the process kills itself: for the crash tests"""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings

    @field_validator("image_registry")
    @classmethod
    def _registry(cls, text: str) -> str:
        grammar.image(f"{text}/probe:1")
        return text

    @field_validator("home")
    @classmethod
    def _home(cls, path: Path) -> Path:
        if not path.is_absolute():
            raise ValueError("the home is an absolute path")
        return path

    @field_validator("master_key_file")
    @classmethod
    def _key_file(cls, path: Path | None) -> Path | None:
        if path is not None and not path.is_absolute():
            raise ValueError("the path of the master key is an absolute one")
        return path

    @model_validator(mode="after")
    def _development_stays_here(self) -> "Settings":
        """Whoever reaches a server in development mode owns it, so nobody else may."""
        if self.env != "development":
            return self
        wide = {
            "HOST": self.host if not _loopback(self.host) else "",
            "TRUSTED_PROXIES": self.trusted_proxies,
            "ALLOWED_HOSTS": self.allowed_hosts,
            "BASE_DOMAIN": self.base_domain if self.base_domain != "localhost" else "",
        }
        if said := ", ".join(f"CODEB_{name}={value}" for name, value in wide.items() if value):
            raise ValueError(f"development accepts any key, so it serves this machine alone; not with {said}")
        return self

    # what the rest of the program asks for

    @property
    def master_key(self) -> Path:
        return self.master_key_file or self.home / "master.key"

    @property
    def calls(self) -> Rate | None:
        return limits.rate(self.rate_limit)

    @property
    def failures(self) -> Rate | None:
        return limits.rate(self.auth_failures)

    @property
    def development(self) -> bool:
        return self.env == "development"

    @property
    def proxies(self) -> tuple[Network, ...]:
        """Whose word about who called is believed."""
        return tuple(ipaddress.ip_network(each) for each in _each(self.trusted_proxies))

    @property
    def hosts(self) -> frozenset[str]:
        """What callers may call this server, beside the addresses it has."""
        own = () if self.host in ("0.0.0.0", "::") else (f"[{self.host}]" if ":" in self.host else self.host.lower(),)  # noqa: S104 - compared, not bound
        return frozenset((*own, *_each(self.allowed_hosts)))

    @property
    def origins(self) -> frozenset[str]:
        return frozenset(_each(self.allowed_origins))

    @property
    def store_url(self) -> Secret:
        """It may hold a password: it is revealed where a driver opens it, and shown by `shown`."""
        return self.database_url if self.database_url.reveal() else Secret(f"sqlite:///{self.home}/codeb.db")

    @property
    def shared_store(self) -> bool:
        """Whether the registry is a database server's, which may go away and which other processes may use."""
        return self.database_url.reveal().startswith("postgres")

    @property
    def proxy_dir(self) -> Path:
        return self.caddy_dir or self.home / "caddy"

    @property
    def tls_mode(self) -> Literal["auto", "internal", "off"]:
        """`internal` where no public authority could issue a certificate."""
        return self.tls or ("internal" if self.base_domain.rpartition(".")[2] == "localhost" else "auto")

    @property
    def public_url(self) -> str:
        """How a host is shown: https where certificates are public, else plain http, which every client accepts."""
        if self.tls_mode == "auto":
            return "https://{host}" if self.https_port == 443 else f"https://{{host}}:{self.https_port}"
        return "http://{host}" if self.http_port == 80 else f"http://{{host}}:{self.http_port}"

    @property
    def ranges(self) -> Ranges:
        def span(text: str) -> Range:
            first, _, last = text.partition("-")
            return Range(int(first), int(last))

        return Ranges(span(self.ports_production), span(self.ports_staging), span(self.ports_preview))


def _from_file(home: Path) -> dict[str, Any]:
    path = home / "codeb.toml"
    if not path.exists():
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as fault:
        raise InvalidParams(f"{path} cannot be read: {fault}.", code="bad_settings") from fault


def load() -> Settings:
    """Read the settings. Raises `InvalidParams` (`bad_settings`) naming every fault."""
    home = Path(os.environ.get("CODEB_HOME") or default_home())
    said = _from_file(home)
    unknown = sorted(set(said) - set(Settings.model_fields))
    faults = [f"{home / 'codeb.toml'} has settings CodeB does not know: {', '.join(unknown)}"] if unknown else []
    try:
        settings = Settings(**{**said, "home": home})
    except ValidationError as fault:
        for each in fault.errors():
            name = str(each["loc"][0]) if each["loc"] else "env"
            faults.append(f"CODEB_{name.upper()}: {each['msg'].removeprefix('Value error, ')}")
    else:
        if not faults:
            return settings
    raise InvalidParams(f"The settings cannot be used: {'; '.join(faults)}.", code="bad_settings", hint="See `we config`.")


def explained(settings: Settings) -> list[dict[str, str]]:
    """Every setting: name, effective value, and where it came from. A password in a database URL is not shown."""
    said = _from_file(settings.home)
    rows = []
    for name in Settings.model_fields:
        variable = f"CODEB_{name.upper()}"
        origin = "environment" if variable in os.environ else "codeb.toml" if name in said else "default"
        rows.append({"variable": variable, "value": str(_effective(settings, name)), "from": origin})
    return rows


def _effective(settings: Settings, name: str) -> Any:
    otherwise = {
        "database_url": shown(settings.store_url),
        "image_registry_password": "…" if settings.image_registry_password.reveal() else "",
        "caddy_dir": settings.proxy_dir,
        "master_key_file": settings.master_key,
        "tls": settings.tls_mode,
    }
    value = otherwise.get(name, getattr(settings, name))
    return "" if value is None else value
