"""Which role each tool needs, as a person reviewed it, and one call of each tool: for every test of rights."""

from typing import Any

ROLES = {
    "viewer": {
        "project_list",
        "project_get",
        "slot_status",
        "slot_list",
        "port_get",
        "port_check",
        "port_list",
        "operation_get",
        "operation_list",
        "event_list",
        "approval_list",
        "approval_get",
        "logs",
        "health_check",
        "scan",
        "team_list",
        "team_get",
        "member_list",
        "whoami",
    },
    "member": {
        "project_create",
        "project_update",
        "deploy",
        "promote",
        "rollback",
        "port_allocate",
        "port_register",
        "operation_cancel",
        "audit_list",
        "token_create",
        "token_list",
        "token_revoke",
        "token_rotate",
        "approve",
        "reject",
    },
    "admin": {
        "project_delete",
        "undelete",
        "slot_cleanup",
        "port_release",
        "port_sync",
        "port_import",
        "reconcile",
        "conflict_list",
        "conflict_settle",
        "audit_verify",
        "team_settings",
        "member_invite",
        "member_remove",
    },
    "owner": {"keys_rotate", "team_create", "team_delete"},
}
"""the table a person reviews; the catalogue has to agree"""

OPERATORS = {"keys_rotate"}
"""of all teams' concern: whatever the role, only for the team that operates the installation"""

RECORDS = {"audit_list", "event_list", "operation_list", "approval_list"}
"""what is found by the team of the record, whatever became of the project: unknown and foreign names find nothing, alike"""
OLD_FILE = '{"projects": {"shop": {"ports": {"staging": {"blue": 4700, "green": 4701}}}}}'

EXAMPLES: dict[str, dict[str, Any]] = {
    "project_create": {"projectName": "blog"},
    "project_get": {"projectName": "shop"},
    "project_update": {"projectName": "shop", "watchSeconds": 90},
    "project_delete": {"projectName": "shop", "confirm": "shop"},
    "undelete": {"projectName": "shop"},
    "deploy": {"projectName": "shop", "image": "shop:3"},
    "promote": {"projectName": "shop"},
    "rollback": {"projectName": "shop"},
    "slot_status": {"projectName": "shop"},
    "scan": {"projectName": "shop"},
    "port_allocate": {"projectName": "shop", "environment": "staging"},
    "port_get": {"projectName": "shop"},
    "port_check": {"port": 4100},
    "port_release": {"projectName": "shop"},
    "port_register": {"projectName": "shop", "environment": "staging", "blue": 4600, "green": 4601},
    "port_import": {"content": OLD_FILE},
    "logs": {"projectName": "shop"},
    "operation_get": {"operationId": "op_" + "0" * 26},
    "reconcile": {"projectName": "shop"},
    "conflict_settle": {"conflictId": "cf_" + "0" * 28},
    "operation_cancel": {"operationId": "op_" + "0" * 26},
    "team_create": {"team": "other"},
    "team_settings": {"displayName": "Main"},
    "team_delete": {"team": "main", "confirm": "main"},
    "member_invite": {"name": "ana", "role": "viewer"},
    "member_remove": {"name": "ana"},
    "token_create": {"role": "viewer"},
    "token_revoke": {"keyId": "key_" + "0" * 28},
    "token_rotate": {"keyId": "key_" + "0" * 28},
    "approval_get": {"approvalId": "ap_" + "0" * 26},
    "approve": {"approvalId": "ap_" + "0" * 26},
    "reject": {"approvalId": "ap_" + "0" * 26},
}
"""a call of each tool on the shop of `kit.begin("grace")`; what is missing here is called without params"""
