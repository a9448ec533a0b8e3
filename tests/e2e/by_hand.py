"""What somebody does past CodeB to an environment with a version active and one in grace: cells of the crash matrix begin so."""

import contextlib
import json
import subprocess
import time
from typing import Any

from tests import oracle
from tests.stage import Stage

NOTICED_SECONDS = 20.0
"""for a round of the loop at the start; the watch looks more often"""
ONCE_MORE = 3


class Hand:
    """Somebody with `docker` and a shell on the machine. `key` is the stem of the environment's names."""

    def __init__(self, stage: Stage, key: str, image: str) -> None:
        self._stage, self._key, self._image = stage, key, image

    def docker(self, method: str, path: str, body: Any = None) -> None:
        sent = None if body is None else json.dumps(body).encode()
        status, raw = self._stage.engine.call(method, path, sent, {"Content-Type": "application/json"} if sent else None)
        assert status < 300, (method, path, status, raw)

    def remove(self, slot: str) -> None:
        self.docker("DELETE", f"/containers/{self._key}-{slot}?force=1&v=1")

    def stop(self, slot: str) -> None:
        """The runtime takes it for a wish and leaves it down."""
        self.docker("POST", f"/containers/{self._key}-{slot}/kill")

    def everything(self, active: str, grace: str) -> None:
        """One thing for every step of a mend: its site, its switch, both containers, and one that an operation left."""
        instance = {"codeb.managed": "true", "codeb.instance": self._stage.instance}
        project, _, environment = self._key.rpartition("-")
        place = {"codeb.project": project, "codeb.environment": environment, "codeb.slot": active}
        over = oracle.rows(self._stage, "select id from operations where saga = 'deploy' and state = 'succeeded'")[0]["id"]
        labels = {**instance, **place, "codeb.operation": over}
        self.remove(active)
        self.stop(grace)
        self.docker("POST", f"/containers/create?name={self._key}-{active}.kept", {"Image": self._image, "Labels": labels})
        caddy = self._stage.home / "caddy"
        (caddy / "sites" / f"{self._key}.caddy").unlink()
        green = caddy / "slots" / self._key / "green"
        green.unlink() if green.exists() else green.touch()

    def stop_until_dead(self, slot: str) -> bool:
        """Stop it under a server that is to die while it starts it again; whether it died.

        The loop may happen to look just then and mend it first: then once more.
        """
        for _ in range(ONCE_MORE):
            time.sleep(1.0)  # for the loop's first round, which sees nothing
            with contextlib.suppress(AssertionError):
                self.stop(slot)
            if died(self._stage):
                return True
        return False


def died(stage: Stage, seconds: float = NOTICED_SECONDS) -> bool:
    with contextlib.suppress(subprocess.TimeoutExpired):
        stage.until_dead(seconds)
        return True
    return False
