"""A visitor who asks a site again and again through the proxy, and remembers what went wrong and who answered."""

import http.client
import threading
import time

PAUSE = 0.1


class Visitor:
    """Ten requests per second, each on a connection of its own, until `close`."""

    def __init__(self, port: int, host: str) -> None:
        self.slots: set[str | None] = set()
        self.sent = 0
        self._port, self._host = port, host
        self._faults: list[str] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"visitor of {host}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.wait(PAUSE):
            began = time.monotonic()
            try:
                status, slot = self._ask()
            except (OSError, http.client.HTTPException) as fault:
                self._faults.append(f"{self._host}: {type(fault).__name__} {fault} after {time.monotonic() - began:.2f} s")
                continue
            finally:
                self.sent += 1
            self.slots.add(slot)
            if status != 200:
                self._faults.append(f"{self._host}: status {status} after {time.monotonic() - began:.2f} s")

    def _ask(self) -> tuple[int, str | None]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            connection.request("GET", "/version", headers={"Host": self._host, "Connection": "close"})
            answer = connection.getresponse()
            answer.read()
            return answer.status, answer.getheader("X-CodeB-Slot")
        finally:
            connection.close()

    def fresh(self) -> list[str]:
        """What went wrong since the last time it was asked."""
        faults, self._faults = self._faults, []
        return faults

    def close(self) -> list[str]:
        """Stop; what went wrong."""
        self._over.set()
        self._thread.join(15)
        return self.fresh()
