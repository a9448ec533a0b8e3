"""The one bundle of everything outside, passed explicitly."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from codeb.contracts.databases import Caches, Databases
from codeb.contracts.dns import Dns
from codeb.contracts.envs import EnvFiles
from codeb.contracts.firewall import Firewall
from codeb.contracts.guests import Guests
from codeb.contracts.health import Health
from codeb.contracts.image_registry import ImageRegistry
from codeb.contracts.instances import Inside, Instances
from codeb.contracts.ledger import Ledger
from codeb.contracts.machines import Reach
from codeb.contracts.outside import Outside
from codeb.contracts.proxy import Curtain, Proxy, ProxyUpkeep
from codeb.contracts.pulls import Pulls
from codeb.contracts.records import Records
from codeb.contracts.runtime import Checked, Images, Logs, Networks, Ports, Restarter, Runtime, Upkeep
from codeb.contracts.sight import Sight
from codeb.contracts.store import Store
from codeb.contracts.vault import Keyring, Vault
from codeb.contracts.world import World
from codeb.model.drift import LastRound
from codeb.model.limits import Rate
from codeb.model.ports import Ranges


@dataclass(frozen=True)
class Policy:
    """The settings that rules need, in model words."""

    home: Path
    base_domain: str = "localhost"
    image_registry: str = "127.0.0.1:5000"
    image_history: int = 10
    """of how many of an environment's newest successful deployments the image is kept in the image registry"""
    previews: int = 25
    """how many environments of pull requests a project may have at once"""
    public_url: str = "http://{host}"
    """how a host is shown to people: scheme and, where it is not the default, the port"""
    server: str = "local"
    ranges: Ranges = field(default_factory=Ranges)
    grace_hours: float = 48
    health_seconds: float = 60
    deploy_seconds: float = 600
    switch_seconds: float = 60
    undo_seconds: float = 30
    """beyond its deadline, in all: what an operation that failed may take to go back, and one that committed to tidy up"""

    reconcile_seconds: float = 20
    """from one comparison of registry and world to the next"""

    calls: Rate | None = None
    """how often one key may call; None: as often as it likes"""
    failures: Rate | None = None
    """how often one address may fail to authenticate before it is told to wait"""
    development: bool = False
    """whether any well-formed key is accepted: only ever on loopback"""
    audit_days: int = 400
    """how long the audit log is kept; 0: for ever"""

    tls: str = "internal"
    """whose certificates the sites have: auto, internal, off"""
    http_port: int = 80
    https_port: int = 443
    postgres_image: str = "postgres:15"
    redis_image: str = "redis:7"
    """what containers of storage are made from"""
    public_addresses: tuple[str, ...] = ()
    """where visitors reach the proxy"""
    repositories: tuple[tuple[str, str], ...] = ()
    """team and repository (owner/name or owner/*): what teams may use beside the one that runs the installation"""

    def url(self, host: str) -> str:
        return self.public_url.replace("{host}", host)


@dataclass(frozen=True)
class Kit:
    world: World
    store: Store
    runtime: Runtime
    restarter: Restarter
    sight: Sight
    networks: Networks
    upkeep: Upkeep
    logs: Logs
    guests: Guests
    images: Images
    image_registry: ImageRegistry
    ports: Ports
    proxy: Proxy
    proxy_upkeep: ProxyUpkeep
    curtain: Curtain
    outside: Outside
    health: Health
    records: Records
    env_files: EnvFiles
    databases: Databases
    caches: Caches
    instances: Instances
    inside: Inside
    vault: Vault
    keyring: Keyring
    ledger: Ledger
    firewall: Firewall
    reach: Reach
    pulls: Pulls
    policy: Policy
    dns: Dns | None = None
    """None: DNS is not managed here"""
    checks: Mapping[str, Checked] = field(default_factory=dict)
    drift: LastRound = field(default_factory=LastRound)
