"""Every procedure there is: an explicit tuple."""

from typing import Any

from codeb.flows import cleanup, deploy, mend, project_delete, promote, restart, rollback
from codeb.saga.step import Saga

SAGAS: tuple[Saga[Any], ...] = (
    deploy.SAGA, promote.SAGA, rollback.SAGA, cleanup.SAGA, project_delete.SAGA, restart.SAGA, mend.SAGA,
)  # fmt: skip
