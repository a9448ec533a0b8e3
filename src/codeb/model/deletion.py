"""Deleted projects: how long they can be brought back, and when what is left of them goes for good.

creating --> ready --project_delete--> deleting --> deleted --(7 days, or purge)--> purging --> gone
               ^                                       |
               +---------------- undelete -------------+
"""

from datetime import datetime, timedelta

from codeb.model.specs import Project

CREATING, READY, DELETING, DELETED, PURGING = "creating", "ready", "deleting", "deleted", "purging"
KEPT_DAYS = 7


def is_deleted(project: Project) -> bool:
    """Whether it counts as gone for everybody who does not ask for deleted ones."""
    return project.state in (DELETED, PURGING)


def purge_at(project: Project) -> datetime | None:
    """When what is left of a deleted project goes for good; None for one that is not deleted."""
    if project.state != DELETED or project.deleted_at is None:
        return None
    return project.deleted_at + timedelta(days=KEPT_DAYS)


def purge_due(project: Project, now: datetime) -> bool:
    """Whether the stored time is over, or a purge has begun. A clock that went backwards never ends it."""
    at = purge_at(project)
    return project.state == PURGING or (at is not None and now >= at)
