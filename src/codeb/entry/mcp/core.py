"""Which tools are listed one by one, in this order; the others are found and called through three doors (decision 25).

The whole list has to stay within what a model reads gladly (`tests/entry/test_budget.py`), and some clients send only the
first forty.
"""

CORE = (
    "whoami", "project_list", "project_get", "slot_status",
    "deploy", "promote", "rollback", "operation_get",
    "logs", "health_check", "scan",
    "workflow_init", "workflow_scan", "workflow_generate",
    "env_get", "env_set", "env_sync",
    "domain_setup", "domain_list", "domain_status",
    "task_check", "task_create", "task_list", "task_get", "task_update", "task_complete",
    "pr_list", "pr_create", "pr_review", "pr_merge", "git_sync",
    "preview_create", "preview_list", "preview_delete",
    "operation_list", "operation_cancel", "event_list",
    "approval_list", "approval_get", "approve", "reject",
    "db_create", "redis_create",
    "env_scan", "env_restore",
    "slot_list", "slot_cleanup", "domain_delete", "project_delete",
)  # fmt: skip
