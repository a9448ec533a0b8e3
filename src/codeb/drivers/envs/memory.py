"""Env files in memory, for tests."""

from datetime import datetime

from codeb.contracts.envs import EnvCopy
from codeb.model.envs import stamp
from codeb.model.names import Place


class MemoryEnvFiles:
    """Outlives a process. `files`: by path below the home."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.at: dict[Place, datetime] = {}

    @staticmethod
    def _paths(place: Place) -> tuple[str, str]:
        return f"env/{place.project}/.env.{place.environment}", f"env-backup/{place.project}/{place.environment}/"

    async def current(self, place: Place) -> datetime | None:
        return self.at.get(place)

    async def keep(self, place: Place, copy: EnvCopy) -> None:
        runtime, backup = self._paths(place)
        text = copy.text.reveal()
        self.files[f"{backup}{stamp(copy.version.created_at)}.env"] = text
        if copy.first:
            self.files.setdefault(f"{backup}master.env", text)
        if place not in self.at or copy.version.created_at >= self.at[place]:
            self.files[runtime] = self.files[f"{backup}current.env"] = text
            self.at[place] = copy.version.created_at

    async def remove(self, project: str, environment: str | None = None) -> None:
        def gone(place: Place) -> bool:
            return place.project == project and environment in (None, place.environment)

        for place in [each for each in self.at if gone(each)]:
            runtime, backup = self._paths(place)
            self.files = {path: text for path, text in self.files.items() if path != runtime and not path.startswith(backup)}
            del self.at[place]
