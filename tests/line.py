"""A TCP line to a real server that a test can cut, silence or slow down: what a network does to a database."""

import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Line:
    """Forwards `port` on loopback to `target`. `state`: open, silent (accepts, nothing passes either way), shut (refuses)."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self.host = "127.0.0.1"
        self._ends: dict[socket.socket, socket.socket] = {}
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self._state = "open"
        self._over = False
        self.port = 0
        self._listen()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def state(self) -> str:
        return self._state

    def set(self, state: str, *, cut: bool = True) -> None:
        """From now on. `shut` with `cut` also resets what is open; `silent` leaves it open and passes nothing."""
        with self._lock:
            self._state = state
            if state == "shut":
                self._close_listener()
                if cut:
                    self._reset()
            elif self._listener is None:
                self._listen()

    def cut(self) -> None:
        """Reset every open connection; new ones as before."""
        with self._lock:
            self._reset()

    def _listen(self) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(128)
        listener.setblocking(False)
        self.port = listener.getsockname()[1]
        self._listener = listener

    def _close_listener(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _reset(self) -> None:
        for end in self._ends:
            with suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            end.close()
        self._ends.clear()

    def _run(self) -> None:
        while not self._over:
            with self._lock:
                sockets = [] if self._state == "silent" else list(self._ends)
                listener = self._listener
                waiting = [*sockets, listener] if listener else sockets
                try:
                    ready = select.select(waiting, [], [], 0)[0] if waiting else []
                    for each in ready:
                        self._accept(each) if each is listener else self._pass(each)
                except (OSError, ValueError):
                    ready = []
            if not ready:
                time.sleep(0.0005)

    def _accept(self, listener: socket.socket) -> None:
        near, _ = listener.accept()
        try:
            far = socket.create_connection(self._target, timeout=2)
        except OSError:
            near.close()
            return
        for end in (near, far):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._ends[near], self._ends[far] = far, near

    def _pass(self, end: socket.socket) -> None:
        other = self._ends.get(end)
        if other is None:
            return
        try:
            data = end.recv(65536)
            if data:
                other.sendall(data)
                return
        except OSError:
            pass
        for each in (end, other):
            self._ends.pop(each, None)
            each.close()

    def close(self) -> None:
        self._over = True
        self._thread.join(5)
        with self._lock:
            self._close_listener()
            self._reset()


@contextmanager
def line(port: int, host: str = "127.0.0.1") -> Iterator[Line]:
    """A line to a server on this machine, gone at the end."""
    made = Line((host, port))
    try:
        yield made
    finally:
        made.close()
