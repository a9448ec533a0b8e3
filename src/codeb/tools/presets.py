"""Keys for the common purposes: what each may do at the most. What a caller says besides narrows it further, never widens."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from codeb.model.access import Approval, Role

LOOKS = frozenset({
    "whoami", "project_get", "slot_status", "scan", "logs", "operation_get", "operation_list", "health_check",
    "approval_get", "approval_list",
})  # fmt: skip
PULLS = frozenset({"pr_list", "pr_create", "pr_review", "pr_merge", "git_sync"})
SWITCHES = frozenset({"deploy", "promote", "rollback", "operation_cancel"})
LANDS = frozenset({"task_complete", "preview_create", "preview_list", "preview_delete"})
"""what the pipeline of a repository does besides"""
WORKS = frozenset({"task_list", "task_get", "task_check", "task_create", "task_update", "task_complete"})
"""what keeps several who work on one repository out of each other's way"""


@dataclass(frozen=True)
class Preset:
    role: Role
    about: str
    tools: frozenset[str] = frozenset()
    """empty: all that the role may use"""
    approval: Approval = Approval.NONE
    needs_projects: bool = False


PRESETS: Mapping[str, Preset] = MappingProxyType({
    "ci": Preset(Role.MEMBER, "deploys named projects", LOOKS | SWITCHES | LANDS, needs_projects=True),
    "agent": Preset(
        Role.MEMBER, "deploys and previews; what is risky is approved by somebody else",
        LOOKS | SWITCHES | LANDS | WORKS | PULLS
        | {"project_list", "slot_list", "port_get", "port_list", "port_check", "event_list"},
        Approval.HUMAN,
    ),
    "viewer": Preset(Role.VIEWER, "looks"),
})  # fmt: skip
