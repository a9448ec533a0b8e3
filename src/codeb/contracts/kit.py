"""The one bundle of everything outside, passed explicitly."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from codeb.contracts.health import Health
from codeb.contracts.proxy import Proxy
from codeb.contracts.records import Records
from codeb.contracts.runtime import Checked, Images, Logs, Networks, Ports, Runtime
from codeb.contracts.sight import Sight
from codeb.contracts.store import Store
from codeb.contracts.world import World
from codeb.model.ports import Ranges


@dataclass(frozen=True)
class Policy:
    """The settings that rules need, in model words."""

    home: Path
    base_domain: str = "localhost"
    image_registry: str = "127.0.0.1:5000"
    public_url: str = "http://{host}"
    """how a host is shown to people: scheme and, where it is not the default, the port"""
    server: str = "local"
    ranges: Ranges = field(default_factory=Ranges)
    grace_hours: float = 48
    health_seconds: float = 60
    deploy_seconds: float = 600
    switch_seconds: float = 60

    def url(self, host: str) -> str:
        return self.public_url.replace("{host}", host)


@dataclass(frozen=True)
class Kit:
    world: World
    store: Store
    runtime: Runtime
    sight: Sight
    networks: Networks
    logs: Logs
    images: Images
    ports: Ports
    proxy: Proxy
    health: Health
    records: Records
    policy: Policy
    checks: Mapping[str, Checked] = field(default_factory=dict)
