"""Every procedure there is: an explicit tuple."""

from typing import Any

from codeb.flows import cleanup, deploy, image_delete, mend, project_delete, project_purge, promote, restart, rollback, undelete
from codeb.saga.step import Saga

SAGAS: tuple[Saga[Any], ...] = (
    deploy.SAGA, promote.SAGA, rollback.SAGA, cleanup.SAGA, project_delete.SAGA, undelete.SAGA,
    project_purge.SAGA, restart.SAGA, mend.SAGA, image_delete.SAGA,
)  # fmt: skip
