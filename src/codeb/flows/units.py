"""The container of a slot as CodeB wants it: built in this one place, whoever starts it."""

from codeb.model import names
from codeb.model.names import Place, Slot
from codeb.model.specs import Limits, UnitSpec


def unit_of_slot(
    place: Place, slot: Slot, *, deployment_id: str, operation_id: str, version: str, image_id: str, port: int,
    container_port: int, limits: Limits, env: tuple[tuple[str, str], ...] = (),
) -> UnitSpec:  # fmt: skip
    """`env`: the variables of the deployment's own version. PORT is what the platform asks at, so its own word counts there."""
    own = (
        ("PORT", str(container_port)),
        ("CODEB_PROJECT", place.project), ("CODEB_ENVIRONMENT", place.environment),
        ("CODEB_SLOT", slot.value), ("CODEB_VERSION", version),
    )  # fmt: skip
    return UnitSpec(
        name=place.container(slot), project=place.project, environment=place.environment, slot=slot,
        deployment_id=deployment_id, operation_id=operation_id, version=version, image_id=image_id, host_port=port,
        container_port=container_port, network=names.network(place.project), limits=limits,
        env=(*own, *((name, value) for name, value in env if name not in dict(own))),
    )  # fmt: skip
