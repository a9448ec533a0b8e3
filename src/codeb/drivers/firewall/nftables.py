"""The firewall of this machine: nftables, in a table of our own, each change one transaction that comes back unless proven."""

import asyncio
import logging
import secrets
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from codeb.contracts.firewall import Proof
from codeb.drivers import shell
from codeb.drivers.files import atomic_write
from codeb.drivers.firewall import pending, ruleset
from codeb.drivers.firewall.ruleset import GONE, TABLE, Table
from codeb.errors import StepFailed, Unavailable
from codeb.model.firewall import Gates, Opening, Standing

log = logging.getLogger("codeb.firewall")

REVERT_SECONDS = 30.0
"""after which a change that nobody proved is taken back, whatever became of CodeB"""
ARM_SECONDS = 20.0
"""how long the guard may take to be there; without it nothing is changed"""
SOURCE = Path(__file__).resolve().parents[3]


class NftablesFirewall:
    """See `contracts.firewall.Firewall`. Other tables are neither read nor touched.

    `folder` is ours alone: it holds what was written last, and a change that is under way. `permit` raises where this
    process may not act. `program` is how nft is called.
    """

    provider, everywhere = "nftables", False

    def __init__(
        self, folder: Path, gates: Gates, permit: Callable[[], None], *, program: Sequence[str] = ("nft",),
        seconds: float = REVERT_SECONDS,
    ) -> None:  # fmt: skip
        self._folder, self._gates, self._permit = folder, gates, permit
        self._program, self._seconds = list(program), seconds
        self._turn = asyncio.Lock()

    # looking

    async def look(self) -> Standing:
        return self._standing(await self._table())

    async def _table(self) -> Table | None:
        """None: there is none."""
        said = await self._nft("-j", "list", "table", *TABLE.split())
        if said.code:
            if b"No such file or directory" in said.err:
                return None
            raise self._away(said.err)
        try:
            return ruleset.parse(said.out)
        except (ValueError, KeyError, TypeError) as fault:
            raise Unavailable(f"What nft lists cannot be read: {fault}.", hint="CodeB knows nftables 1.0.6 and newer.") from fault

    def _standing(self, table: Table | None) -> Standing:
        written = self._written()
        if table is None:
            return Standing(on=False, begun=bool(written))
        gates = set(self._gates.openings)
        one_sided = (table.input ^ table.forward) - gates
        edited = []
        if gates - (table.input & table.forward):
            edited.append("what stays open in any case is not all open")
        if one_sided:
            edited.append(f"{min(one_sided)} is in one chain only")
        if table.frame != written:
            edited.append("rules that CodeB did not write, or not all that it wrote")
        rows = frozenset(table.input | table.forward)
        return Standing(ours=rows - gates, others=rows & gates, edited="; ".join(edited))

    def _written(self) -> str:
        try:
            return (self._folder / "frame.json").read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return ""

    # changing

    async def change(self, add: Sequence[Opening], remove: Sequence[Opening], proof: Proof) -> bool:
        async with self._turn:
            self._permit()
            await self._settle()
            before = self._standing(await self._table())
            now = {each: each.comment for each in before.ours}
            after = {each: text for each, text in now.items() if each not in remove}
            after |= {each: each.comment for each in add if each not in self._gates.openings}
            if before.on and not before.edited and after == now:
                return False
            openings = [Opening(each.transport, each.port, each.cidr, text) for each, text in after.items()]
            text = ruleset.render(openings, self._gates).encode()
            await self._rehearse(text)
            token = await self._arm(await self._former(before))
            try:
                await self._apply(token, text, openings, proof)
            except BaseException:
                await self._come_back(token)
                raise
            return True

    async def _rehearse(self, text: bytes) -> None:
        """Raises `StepFailed` (`firewall_refused`): nothing was changed."""
        said = await self._nft("-c", "-f", "-", stdin=text)
        if said.code == 0:
            return
        if b"Operation not permitted" in said.err:
            raise self._away(said.err)
        raise StepFailed(
            "nftables refused the rules; what was in force still is.", code="firewall_refused", hint="See details.nft.",
            details={"nft": said.err.decode("utf-8", "replace")[-1000:]},
        )  # fmt: skip

    async def _former(self, before: Standing) -> str:
        if not before.on:
            return GONE
        said = await self._nft("-s", "list", "table", *TABLE.split())
        if said.code:
            raise self._away(said.err)
        return GONE + said.out.decode()

    async def _arm(self, former: str) -> str:
        """Somebody beside us will bring `former` back. Raises `Unavailable`: nothing was changed."""
        token = secrets.token_hex(8)
        pending.begin(self._folder, token, former)
        try:
            guard = [sys.executable, "-m", "codeb.drivers.firewall.guard", str(self._folder), token, str(self._seconds)]
            shell.start_detached(
                [*guard, *self._program],
                # it has to be this same code, wherever that lies
                home=self._folder, output=self._folder / "guard.log", extra={"PYTHONPATH": str(SOURCE)},
            )  # fmt: skip
            async with asyncio.timeout(ARM_SECONDS):
                while not (self._folder / f"{token}.armed").exists():  # noqa: ASYNC110 - another process says so, by a file
                    await asyncio.sleep(0.02)
        except BaseException as fault:
            pending.forget(self._folder, token)
            if not isinstance(fault, TimeoutError):
                raise
            raise Unavailable(
                "The guard that takes back a bad change of the firewall did not start; nothing was changed.",
                hint=f"See {self._folder / 'guard.log'}; the machine may be overloaded.",
            ) from fault
        return token

    async def _apply(self, token: str, text: bytes, openings: Sequence[Opening], proof: Proof) -> None:
        """Raises `StepFailed` (`firewall_refused`, `firewall_unproven`), and whatever `proof` raises."""
        # last: the guard may have taken its time, and nothing is waited for between this and the act
        self._permit()
        said = await self._nft("-f", "-", stdin=text)
        table = await self._table() if said.code == 0 else None
        if table is None or set(openings) - (table.input & table.forward):
            raise StepFailed(
                "nftables did not take the rules; what was in force still is.", code="firewall_refused", hint="See details.nft.",
                details={"nft": said.err.decode("utf-8", "replace")[-1000:]},
            )  # fmt: skip
        try:
            async with asyncio.timeout(self._seconds / 2):
                await proof()
        except TimeoutError as fault:
            raise unproven("the proof took too long") from fault
        former = self._written()
        atomic_write(self._folder / "frame.json", table.frame.encode(), 0o600)
        if not pending.keep(self._folder, token):
            atomic_write(self._folder / "frame.json", former.encode(), 0o600)
            raise unproven("it was proven too late")

    async def _come_back(self, token: str) -> None:
        """Where it fails, the guard is there."""
        try:
            await pending.take_back(self._folder, token, self._program)
        except Unavailable as fault:
            log.error("%s %s", fault.message, fault.details)

    async def settle(self) -> bool:
        async with self._turn:
            return await self._settle()

    async def _settle(self) -> bool:
        done = [await pending.take_back(self._folder, token, self._program) for token in pending.left(self._folder)]
        return any(done)

    # nft

    async def _nft(self, *arguments: str, stdin: bytes = b"") -> shell.Ended:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return await shell.run([*self._program, *arguments], home=self._folder, seconds=pending.NFT_SECONDS, stdin=stdin)

    def _away(self, said: bytes) -> Unavailable:
        return Unavailable(
            "nftables does not answer; the firewall is as it was.", code="firewall_unavailable",
            hint="CodeB needs root, or CAP_NET_ADMIN, for CODEB_FIREWALL=nftables.",
            details={"nft": said.decode("utf-8", "replace")[-1000:]},
        )  # fmt: skip


def unproven(why: str) -> StepFailed:
    return StepFailed(
        f"The change of the firewall was taken back, because {why}; what was in force before is again.", code="firewall_unproven",
        hint="See health_check, then try again.",
    )  # fmt: skip
