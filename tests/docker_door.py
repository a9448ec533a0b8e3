"""A door of our own in front of the Docker socket, which a test can close in the ways in which an engine goes away."""

import contextlib
import selectors
import socket
import threading
from pathlib import Path

from demo.images import socket_from_environment

CHUNK = 65536


class DockerDoor:
    """Listens on `path` and forwards to the engine, as its `way` says, which may change at any moment:

    open    as if it were not there
    silent  what is said is swallowed; connections are taken, nothing comes back (a daemon that is stopped)
    shut    connections are refused (a daemon that does not run)
    drip    the engine does what it is told, and its answers come back one byte a second
    deaf    the engine does what it is told, and its answers are lost

    `match` narrows all but `shut` to requests whose first line contains it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.asked: list[str] = []
        """the first line of each request that was not let through whole"""
        self._way, self._match = "open", ""
        self._over = threading.Event()
        self._lines: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self._open()

    @property
    def url(self) -> str:
        return f"unix://{self.path}"

    def set(self, way: str, match: str = "") -> None:
        """From now on like this. Connections that stand are cut, unless they wait for what will not come."""
        was, self._way, self._match = self._way, way, match
        if way == "shut":
            self._shut()
        elif was == "shut":
            self._open()
        if way in ("open", "shut"):
            for line in self._lines:
                with contextlib.suppress(OSError):
                    line.shutdown(socket.SHUT_RDWR)
            self._lines.clear()

    def close(self) -> None:
        self._over.set()
        self.set("shut")

    def _open(self) -> None:
        self.path.unlink(missing_ok=True)
        self._listener = listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.path))
        listener.listen(128)
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _shut(self) -> None:
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                line, _ = listener.accept()
            except OSError:
                return
            self._lines.append(line)
            threading.Thread(target=self._carry, args=(line,), daemon=True).start()

    def _carry(self, line: socket.socket) -> None:
        engine = socket.socket(socket.AF_UNIX)
        with line, engine, contextlib.suppress(OSError), selectors.DefaultSelector() as both:
            engine.connect(socket_from_environment())
            both.register(line, selectors.EVENT_READ, engine)
            both.register(engine, selectors.EVENT_READ, line)
            way = "open"
            while not self._over.is_set():
                for key, _ in both.select(1.0):
                    assert isinstance(key.fileobj, socket.socket)
                    data = key.fileobj.recv(CHUNK)
                    if not data:
                        return
                    if key.fileobj is line:
                        way = self._fate(data, way)
                    self._pass_on(key.fileobj is line, key.data, data, way)

    def _fate(self, data: bytes, way: str) -> str:
        """How this request fares; what is the rest of one fares like its beginning."""
        first = data.partition(b"\r\n")[0].decode("latin-1")
        if not first.endswith("HTTP/1.1"):
            return way
        way = self._way if self._match in first else "open"
        if way != "open":
            self.asked.append(first)
        return way

    def _pass_on(self, request: bool, to: socket.socket, data: bytes, way: str) -> None:
        if way == "open" or (request and way in ("drip", "deaf")):
            to.sendall(data)
        elif way == "drip":
            for at in range(len(data)):
                if self._over.wait(1.0):
                    return
                to.sendall(data[at : at + 1])
