"""Where a shared storage server differs from the registry: what is on record there and gone, or lets nobody in.

All of it is reported: an empty database in place of one that is lost would hide the loss.
"""

from collections.abc import Iterable, Mapping

from codeb.model.drift import Ground, Mismatch, Remedy
from codeb.model.events import Severity
from codeb.model.storage import Found, Kind, Storage


def kept(ground: Ground, held: Iterable[Storage]) -> list[Storage]:
    """What is to be there: of projects that are, in environments with nothing under way."""
    return [
        each for each in held
        if each.ready and each.place not in ground.busy and each.place.project in ground.projects
    ]  # fmt: skip


def of_storage(held: Iterable[Storage], there: Mapping[Kind, Mapping[str, Found]]) -> list[Mismatch]:
    """`there`: by kind, what of it bears a mark of ours; a kind that was not asked is not judged."""
    return [found for each in held if each.kind in there and (found := _of(each, there[each.kind].get(each.name)))]


def _of(held: Storage, found: Found | None) -> Mismatch | None:
    what = "database" if held.kind is Kind.POSTGRES else "Redis user"
    if found is None:
        text = f"The {what} {held.name} is on record and gone from the server"
        return _told("storage_lost", held, text, "restore it there from a backup, or delete it here and make a new, empty one")
    if held.kind is Kind.POSTGRES and found.size is None:
        text = f"The database {held.name} is gone from the server, its owner is there"
        return _told("storage_lost", held, text, "restore it there from a backup, or delete it here and make a new, empty one")
    if not found.open or (held.kind is Kind.POSTGRES and held.generation not in found.logins):
        again = "db_rotate" if held.kind is Kind.POSTGRES else "redis_rotate"
        text = f"The {what} {held.name} is there and its password lets nobody in"
        return _told("storage_shut", held, text, f"{again} makes a new password, and the next deploy takes it")
    return None


def _told(kind: str, held: Storage, text: str, repair: str) -> Mismatch:
    where = f"{held.kind.value} {held.name}"
    return Mismatch(kind, where, text, repair, Remedy.REPORTED, held.place, severity=Severity.ALARM)
