"""The server in a container of storage, by the same drivers as a shared one, as its administrator."""

from pathlib import Path
from urllib.parse import quote

from codeb.contracts.databases import Caches, Databases
from codeb.model.instances import ADMIN
from codeb.model.secret import Secret
from codeb.model.storage import Endpoint


class StorageInside:
    """`home` is where final dumps go. Each library costs start-up time that only its first use pays."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def databases(self, at: Endpoint, password: Secret) -> Databases:
        from codeb.drivers.databases.postgres import PostgresDatabases

        return PostgresDatabases(_address("postgresql", at, password, "postgres"), self._home)

    def caches(self, at: Endpoint, password: Secret) -> Caches:
        from codeb.drivers.databases.redis import RedisCaches

        return RedisCaches(_address("redis", at, password, "0"), self._home)


def _address(kind: str, at: Endpoint, password: Secret, database: str) -> Secret:
    host = f"[{at.host}]" if ":" in at.host else at.host
    return Secret(f"{kind}://{ADMIN}:{quote(password.reveal(), safe='')}@{host}:{at.port}/{database}")
