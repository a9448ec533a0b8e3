"""Every procedure there is: an explicit tuple."""

from typing import Any

from codeb.flows import (
    adopt,
    cleanup,
    deploy,
    domain_delete,
    domain_setup,
    firewall,
    image_delete,
    init,
    maintenance,
    mend,
    preview_create,
    preview_delete,
    project_delete,
    project_purge,
    promote,
    pull_change,
    restart,
    rollback,
    storage_create,
    storage_delete,
    storage_mend,
    storage_rotate,
    undelete,
)
from codeb.saga.step import Saga


def sagas() -> tuple[Saga[Any], ...]:
    """All of them, as their modules have them now: a test may have put a broken one in its place."""
    return (
        deploy.SAGA, promote.SAGA, rollback.SAGA, cleanup.SAGA, project_delete.SAGA, undelete.SAGA,
        project_purge.SAGA, image_delete.SAGA, restart.SAGA, mend.SAGA, domain_setup.SAGA, domain_delete.SAGA, maintenance.SAGA,
        firewall.SAGA, init.SAGA, adopt.SAGA, pull_change.SAGA, preview_create.SAGA, preview_delete.SAGA,
        storage_create.OWN_DATABASE, storage_create.OWN_REDIS, storage_mend.SAGA,
        storage_create.DATABASE, storage_create.REDIS, storage_rotate.ROTATE, storage_rotate.END, storage_delete.SAGA,
    )  # fmt: skip


SAGAS = sagas()

FORMER: tuple[Saga[Any], ...] = (deploy.BEFORE_ENV,)
"""of released versions: begun by them, still finished by this one"""
