"""The settings: one model, read once, from the environment and from `codeb.toml` in the home. Only wiring and entry see it."""

import ipaddress
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from codeb.errors import InvalidParams
from codeb.model import endpoints, grammar, limits, settings
from codeb.model.endpoints import each_of, endpoint, is_loopback
from codeb.model.firewall import Gates, Transport
from codeb.model.limits import Rate
from codeb.model.ports import Range, Ranges
from codeb.model.secret import Secret
from codeb.model.settings import shown

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def default_home() -> Path:
    """`/opt/codeb` for root, else `~/.codeb`."""
    return Path("/opt/codeb") if os.geteuid() == 0 else Path.home() / ".codeb"


Limit = Annotated[str, AfterValidator(settings.rate)]
Database = Annotated[Secret, BeforeValidator(settings.database)]
StorageDatabase = Annotated[Secret, BeforeValidator(settings.storage("postgresql|postgres"))]
StorageRedis = Annotated[Secret, BeforeValidator(settings.storage("redis|rediss"))]
Span = Annotated[str, AfterValidator(settings.span)]
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
    storage_database_url: StorageDatabase = Secret("")
    storage_redis_url: StorageRedis = Secret("")
    master_key_file: Path | None = None
    docker_host: str = "unix:///var/run/docker.sock"
    runtime: Literal["docker"] = "docker"
    caddy_bin: str = ""
    caddy_dir: Path | None = None
    caddy_bind: str = ""
    http_port: TcpPort = Field(default_factory=lambda: 80 if os.geteuid() == 0 else 8080)
    https_port: TcpPort = Field(default_factory=lambda: 443 if os.geteuid() == 0 else 8443)
    tls: Literal["auto", "internal", "off"] | None = None
    base_domain: Annotated[str, AfterValidator(settings.base)] = "localhost"
    image_registry: str = "127.0.0.1:5000"
    firewall: Literal["nftables", "vultr", "none"] = "none"
    ssh_port: TcpPort = 22
    """which no firewall of ours ever closes"""
    vultr_api_key: Annotated[Secret, BeforeValidator(settings.secret)] = Secret("")
    vultr_firewall_group: Annotated[str, AfterValidator(settings.group)] = ""
    vultr_url: Annotated[str, AfterValidator(settings.api)] = "https://api.vultr.com/v2"
    github_token: Annotated[Secret, BeforeValidator(settings.secret)] = Secret("")
    github_url: Annotated[str, AfterValidator(settings.api)] = "https://api.github.com"
    github_repositories: Annotated[str, AfterValidator(settings.repositories)] = ""
    """`team=owner/name` or `team=owner/*`: what teams may use beside the one that runs the installation"""
    image_registry_user: Annotated[str, Field(max_length=255)] = ""
    image_registry_password: Annotated[Secret, BeforeValidator(settings.word)] = Secret("")
    image_history: int = Field(10, ge=1, le=1000)
    previews: int = Field(25, ge=1, le=250)
    """how many environments of pull requests a project may have at once"""
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
    ports_postgres: Span = "5432-5499"
    ports_redis: Span = "6379-6499"
    """of storage servers: where containers of storage are published"""
    postgres_image: Annotated[str, AfterValidator(settings.image)] = "postgres:15"
    redis_image: Annotated[str, AfterValidator(settings.image)] = "redis:7"
    """what those are made from; PostgreSQL's no newer than the pg_dump of this machine"""
    rate_limit: Limit = "100/60"
    auth_failures: Limit = "20/60"
    trusted_proxies: Annotated[str, AfterValidator(settings.networks)] = ""
    allowed_hosts: Annotated[str, AfterValidator(settings.hosts)] = ""
    allowed_origins: Annotated[str, AfterValidator(settings.origins)] = ""
    pdns_url: Annotated[str, AfterValidator(endpoints.api_url)] = ""
    pdns_api_key: Annotated[Secret, BeforeValidator(settings.secret)] = Secret("")
    pdns_server: Annotated[str, AfterValidator(endpoints.endpoints)] = ""
    """where PowerDNS answers queries, `address[:port]`; else port 53 of the host in `pdns_url`, which is an address then"""
    pdns_nameservers: Annotated[str, AfterValidator(endpoints.names)] = ""
    """names of the servers a new zone has; none: no zone is made"""
    public_addresses: Annotated[str, AfterValidator(endpoints.addresses)] = ""
    """where visitors reach the proxy: what A and AAAA records say"""
    dns_resolvers: Annotated[str, AfterValidator(endpoints.endpoints)] = ""
    """who is asked what a name resolves to; none: whom this machine asks"""
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
    def _vultr_is_whole(self) -> "Settings":
        if self.firewall == "vultr" and not (self.vultr_api_key.reveal() and self.vultr_firewall_group):
            raise ValueError("CODEB_FIREWALL=vultr needs CODEB_VULTR_API_KEY and CODEB_VULTR_FIREWALL_GROUP")
        return self

    @model_validator(mode="after")
    def _development_stays_here(self) -> "Settings":
        """Whoever reaches a server in development mode owns it, so nobody else may."""
        if self.env != "development":
            return self
        wide = {
            "HOST": self.host if not is_loopback(self.host) else "",
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
        return tuple(ipaddress.ip_network(each) for each in each_of(self.trusted_proxies))

    @property
    def hosts(self) -> frozenset[str]:
        """What callers may call this server, beside the addresses it has."""
        own = () if self.host in ("0.0.0.0", "::") else (f"[{self.host}]" if ":" in self.host else self.host.lower(),)  # noqa: S104 - compared, not bound
        return frozenset((*own, *each_of(self.allowed_hosts)))

    @property
    def origins(self) -> frozenset[str]:
        return frozenset(each_of(self.allowed_origins))

    @property
    def addresses(self) -> tuple[str, ...]:
        return tuple(str(ipaddress.ip_address(each)) for each in each_of(self.public_addresses))

    @property
    def nameservers(self) -> tuple[str, ...]:
        return tuple(each_of(self.pdns_nameservers))

    @property
    def resolvers(self) -> tuple[tuple[str, int], ...]:
        return tuple(endpoint(each) for each in each_of(self.dns_resolvers))

    @property
    def pdns_endpoint(self) -> tuple[str, int]:
        """Where PowerDNS answers queries. Raises `InvalidParams` (`bad_settings`) where nothing says so."""
        host = endpoints.host_of(self.pdns_url)
        said = self.pdns_server or ("127.0.0.1" if host == "localhost" else host)
        try:
            return endpoint(said)
        except ValueError as fault:
            raise InvalidParams(
                "Where PowerDNS answers queries is not known.", code="bad_settings", hint="Set CODEB_PDNS_SERVER=address[:port]."
            ) from fault

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
    def gates(self) -> Gates:
        """What a firewall leaves open: the way in for people, the proxy, and CodeB itself where it serves others."""
        web = [(Transport.TCP, self.http_port), (Transport.TCP, self.https_port), (Transport.UDP, self.https_port)]
        own = [] if is_loopback(self.host) else [(Transport.TCP, self.port)]
        return Gates(self.ssh_port, (*web, *own))

    @property
    def ranges(self) -> Ranges:
        def span(text: str) -> Range:
            first, _, last = text.partition("-")
            return Range(int(first), int(last))

        return Ranges(
            span(self.ports_production), span(self.ports_staging), span(self.ports_preview), span(self.ports_postgres),
            span(self.ports_redis),
        )  # fmt: skip


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
    if "project" in unknown:
        faults[0] += " (a source tree has a codeb.toml of its own, and this is the server's)"
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
    """Of a secret, whichever it is, no more than that there is one; of an address all but its password."""
    otherwise = {
        "database_url": settings.store_url, "caddy_dir": settings.proxy_dir, "master_key_file": settings.master_key,
        "tls": settings.tls_mode,
    }  # fmt: skip
    value = otherwise.get(name, getattr(settings, name))
    if isinstance(value, Secret):
        return "" if not value.reveal() else shown(value) if name.endswith("_url") else "…"
    return "" if value is None else value
