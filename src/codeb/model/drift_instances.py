"""Where containers of storage differ from the registry. Data is never mended: what is gone is told, at once and loudly."""

from collections.abc import Collection, Iterable, Mapping

from codeb.model.drift import Mismatch, Remedy
from codeb.model.events import Severity
from codeb.model.instances import Instance, spec_of
from codeb.model.storage import Storage

KIND = "instance_"
"""what the kinds that a container of storage may have begin with"""


def of_instances(held: Iterable[Storage], found: Mapping[str, Instance]) -> list[Mismatch]:
    """Of one server: the storage that is to run there, and what is there."""
    differ = [_of(each, found.get(each.id)) for each in held]
    return [each for each in differ if each is not None]


def _of(storage: Storage, seen: Instance | None) -> Mismatch | None:
    spec = spec_of(storage)
    if spec is None:
        return None
    name = f"{spec.name} on {spec.server}"
    if seen is None or not seen.data:
        return Mismatch(
            f"{KIND}data_gone", spec.name, f"The data of {name} is gone: its volume was removed",
            "delete it, create it again, restore from a backup", Remedy.REPORTED, storage.place, severity=Severity.ALARM,
        )  # fmt: skip
    if not seen.there:
        text, repair = f"{name} does not exist", "it is made again, on its data"
        return Mismatch(f"{KIND}gone", spec.name, text, repair, Remedy.MENDED, storage.place, severity=Severity.ALARM)
    if not seen.running:
        text, repair = f"{name} is stopped", "it is started again"
        return Mismatch(f"{KIND}stopped", spec.name, text, repair, Remedy.MENDED, storage.place, severity=Severity.ALARM)
    if seen.published != ((spec.address, spec.port),):
        text = f"{name} is not published at {spec.address} port {spec.port} alone"
        repair = "remove the container, not its volume: it is made again as it should be"
        return Mismatch(f"{KIND}elsewhere", spec.name, text, repair, Remedy.REPORTED, storage.place, severity=Severity.ALARM)
    if not seen.kept:
        text, repair = f"{name} would not come up again after Docker or the machine was restarted", "it gets its policy back"
        return Mismatch(f"{KIND}unkept", spec.name, text, repair, Remedy.MENDED, storage.place)
    return None


def of_nobody(known: Collection[str], server: str, found: Mapping[str, Instance]) -> list[Mismatch]:
    """Containers and data that no storage on record explains: to be looked at, for they may be somebody's only copy."""
    return [
        Mismatch(
            f"{KIND}of_nobody", f"{each.name} {storage_id}", f"{each.name} on {server} belongs to no storage on record",
            "look at it there; remove container and volume by hand if they are not needed", Remedy.REPORTED,
        )
        for storage_id, each in sorted(found.items()) if storage_id not in known
    ]  # fmt: skip
