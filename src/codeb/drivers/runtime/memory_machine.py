"""A machine with containers that exists only in memory: the world behind the memory drivers, for tests and rehearsals.

Tests script it (`Behaviour`, `down`, `registry_down`, `trap`, `die`, `reboot`) and read it (`boxes`, `effects`).
"""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from codeb.errors import Conflict, Unavailable
from codeb.model.images import Manifest
from codeb.model.specs import Address, Answer, Health, Image, LogLine, UnitSpec


@dataclass(frozen=True)
class Behaviour:
    """What containers of one image do."""

    exits: int | None = None
    """ends with this code as soon as it is started"""
    starts: bool = True
    """False: the runtime refuses to start it, as for a command that is not in the image"""
    log: tuple[str, ...] = ()
    """printed at each start"""
    errors: tuple[str, ...] = ()
    """printed on standard error at each start"""
    farewell: str = ""
    """printed on SIGTERM"""
    ignores_term: bool = False
    health: Health = Health.NONE
    """what its own health check says in the end; anything but NONE means that the image has one"""
    healthy_after: int = 0
    """so many looks find `starting` first"""
    answers_after: int = 0
    """so many probes find no connection first"""
    status: int = 200
    """of its HTTP answer"""


@dataclass
class Box:
    """One container."""

    id: str
    name: str
    image_id: str
    published: tuple[tuple[str, int], ...]
    behaviour: Behaviour = field(default_factory=Behaviour)
    instance: str = ""
    spec: UnitSpec | None = None
    status: str = "created"
    exit_code: int = 0
    policy: str = "no"
    stopped_by_hand: bool = False
    restarts: int = 0
    lives: int = 0
    """how often its process was started"""
    address: str | None = None
    looks: int = 0
    probes: int = 0
    stopped_within: int | None = None
    log: list[LogLine] = field(default_factory=list)
    image: str = "somebody:1"
    """the reference that one which CodeB did not make was started with; the rest is of such a one too"""
    inner: int = 0
    """the port it listens on inside; 0: the one it publishes"""
    env: dict[str, str] = field(default_factory=dict, repr=False)
    vanishes: bool = False

    @property
    def running(self) -> bool:
        return self.status == "running"


class Machine:
    """Containers by name, networks, images and sockets. Each change goes through `act`, one primitive at a time."""

    def __init__(self) -> None:
        self.boxes: dict[str, Box] = {}
        self.networks: dict[str, tuple[str, str]] = {}
        """name -> (instance, project)"""
        self.local: dict[str, Image] = {}
        self.registry: dict[str, Image] = {}
        self.behaviours: dict[str, Behaviour] = {}
        self.sockets: set[int] = set()
        """ports on which something that is no container listens"""
        self.down = False
        """the container runtime does not answer"""
        self.registry_down = False
        self.pushed: dict[str, tuple[dict[str, str], dict[str, Manifest]]] = {}
        """what the image registry has, by repository: tags, and manifests by digest"""
        self.secretive = False
        """the image registry does not tell which repositories it has"""
        self.erases_nothing = False
        """the image registry has deletion switched off"""
        self.effects: list[str] = []
        """every change in order, such as `start shop-production-blue`"""
        self.trap: Callable[[str], None] | None = None
        """called with `before {effect}` and `after {effect}`; what it raises ends the verb there, as a crash would"""
        self._count = 0

    # --- scripting -----------------------------------------------------------------------------------------------

    def add_image(self, reference: str, behaviour: Behaviour | None = None, *, pushed: bool = False) -> Image:
        """Put an image on the machine; with `pushed`, into the image registry instead."""
        behaviour = behaviour or Behaviour()
        seed = f"{reference} {behaviour}".encode()
        image = Image(
            reference,
            id="sha256:" + hashlib.sha256(b"id " + seed).hexdigest(),
            digest="sha256:" + hashlib.sha256(b"digest " + seed).hexdigest(),
            has_healthcheck=behaviour.health is not Health.NONE,
        )
        (self.registry if pushed else self.local)[reference] = image
        self.behaviours[image.id] = behaviour
        return image

    def add_foreign(self, name: str, host_port: int, *, running: bool = True) -> Box:
        """A container that CodeB did not make."""
        box = Box(self.fresh("box"), name, "sha256:" + "f" * 64, (("0.0.0.0", host_port),))  # noqa: S104 - what others do
        box.status = "running" if running else "exited"
        box.address = self.free_address() if running else None
        self.boxes[name] = box
        return box

    def die(self, name: str, code: int = 137) -> None:
        """The container's process ends by itself; the runtime restarts it when its policy says so."""
        box = self.boxes[name]
        box.exit_code = code
        if box.policy == "no":
            box.status = "exited"
        else:
            box.restarts += 1
            box.lives += 1

    def reboot(self) -> None:
        """Everything stops; what has a policy and was not stopped by hand comes back."""
        for box in self.boxes.values():
            back = box.policy != "no" and not box.stopped_by_hand
            if box.running and not back:
                box.status, box.exit_code = "exited", 137
            elif back and box.status == "exited":
                box.status = "running"
                box.lives += 1

    def answer(self, address: Address) -> Answer:
        """What an HTTP probe finds, by published port or by the container's own address. Fits `MemoryHealth.answers`."""
        box = next((each for each in self.boxes.values() if each.running and _reached(each, address)), None)
        if box is None:
            return Answer(None, reason="no connection")
        box.probes += 1
        if box.probes <= box.behaviour.answers_after:
            return Answer(None, reason="no connection")
        return Answer(box.behaviour.status)

    # --- primitives ----------------------------------------------------------------------------------------------

    async def act(self, what: str, change: Callable[[], object]) -> None:
        """One change of the world, with a trap on both sides."""
        await self.awake()
        if self.trap:
            self.trap(f"before {what}")
        change()
        self.effects.append(what)
        if self.trap:
            self.trap(f"after {what}")

    async def awake(self) -> None:
        """Let others run, then answer or not. Raises `Unavailable` (code `docker_unavailable`)."""
        await asyncio.sleep(0)
        if self.down:
            raise Unavailable(
                "Docker does not answer: it is switched off. Containers that run keep running.",
                code="docker_unavailable",
                hint="Start the Docker daemon.",
            )

    def start(self, box: Box) -> None:
        """Raises `Conflict` (`port_taken`) and (`start_refused`)."""
        if box.running:
            return
        for _, port in box.published:
            if port in self.sockets or any(port == taken for _, taken in self._bound()):
                raise Conflict(
                    f"Port {port} of this server is in use by something else, so {box.name} was not started.",
                    code="port_taken",
                    hint="Free the port, then try again.",
                    details={"port": port},
                )
        if not box.behaviour.starts:
            raise Conflict(f"Docker refused to run {box.name}.", code="start_refused", hint="Look at its command.")
        box.status, box.stopped_by_hand, box.looks, box.probes = "running", False, 0, 0
        box.lives += 1
        box.restarts = 0
        box.address = self.free_address()
        self.say(box, "stdout", *box.behaviour.log)
        self.say(box, "stderr", *box.behaviour.errors)
        if box.behaviour.exits is not None:
            box.status, box.exit_code, box.address = "exited", box.behaviour.exits, None

    def stop(self, box: Box, seconds: int) -> None:
        box.stopped_by_hand = True
        if not box.running:
            return
        if box.behaviour.farewell and not box.behaviour.ignores_term:
            self.say(box, "stdout", box.behaviour.farewell)
        box.status, box.address, box.stopped_within = "exited", None, seconds
        box.exit_code = 137 if box.behaviour.ignores_term else 143

    def rename(self, box: Box, name: str) -> None:
        if name in self.boxes:
            raise name_taken(name)
        del self.boxes[box.name]
        box.name = name
        self.boxes[name] = box

    def say(self, box: Box, stream: str, *texts: str) -> None:
        """Print lines, each stamped a nanosecond later than the last."""
        for text in texts:
            self._count += 1
            at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self._count // 1_000_000_000)
            box.log.append(LogLine(f"{at:%Y-%m-%dT%H:%M:%S}.{self._count % 1_000_000_000:09d}Z", stream, text))

    def free_address(self) -> str:
        self._count += 1
        return f"172.30.{self._count // 250}.{self._count % 250 + 2}"

    def fresh(self, kind: str) -> str:
        self._count += 1
        return hashlib.sha256(f"{kind} {self._count}".encode()).hexdigest()

    def _bound(self) -> list[tuple[str, int]]:
        return [pair for box in self.boxes.values() if box.running for pair in box.published]


def _reached(box: Box, address: Address) -> bool:
    if address.host == box.address:
        return address.port == (box.spec.container_port if box.spec else box.inner or box.published[0][1])
    return any(address.port == port for _, port in box.published) and address.host in ("127.0.0.1", "localhost", "::1")


def name_taken(name: str, kind: str = "container") -> Conflict:
    return Conflict(
        f"A {kind} named {name} is there that this operation did not make; it was left as it is.",
        code="name_taken",
        hint="Rename or remove it if it is not needed, then try again.",
        details={"name": name},
    )
