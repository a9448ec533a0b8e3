"""The ids of the promises and rules this code keeps, the tests that show each, and the issues that bring the others.

A test names an id in its module's or its own docstring. `test_promises.py` holds both lists against each other.
"""

EVERY = (
    *(f"P{number}" for number in range(1, 17)),
    *(f"S{number}" for number in (*range(1, 10), *range(11, 18), *range(19, 23), *range(24, 29), 30, 31, 33)),
)
"""all that promises.md has (P1–P16; S1–S33 with its gaps; "S15/16" counts as two)"""

SHOWN: dict[str, tuple[str, ...]] = {
    "P1": ("flows/test_crash_everywhere.py", "flows/test_promote.py"),
    "P2": (
        "flows/test_crash_everywhere.py",
        "flows/test_fault_sweep.py",
        "e2e/test_crash_matrix.py",
        "flows/test_master_key.py",
        "e2e/test_master_key.py",
    ),
    "P3": (
        "flows/test_engine.py",
        "flows/test_fault_sweep.py",
        "e2e/test_deadlines.py",
        "flows/test_deadlines.py",
    ),
    "P4": (
        "flows/test_deploy.py",
        "flows/test_promote.py",
        "flows/test_crash_everywhere.py",
        "flows/test_watch.py",
        "e2e/test_supervision.py",
    ),
    "P5": ("flows/test_rollback.py", "e2e/test_outage.py"),
    "P6": ("flows/test_engine.py", "contracts/test_leader.py", "e2e/test_two_processes.py"),
    "P7": ("unit/model/test_ports.py", "unit/tools/test_ports.py", "flows/test_project_delete.py"),
    "P8": (
        "unit/gate/test_door.py",
        "flows/test_engine.py",
        "flows/test_answers_lost.py",
        "flows/test_sealed_answers.py",
        "unit/gate/test_consent_once.py",
        "flows/test_image_cleanup.py",
    ),
    "P9": (
        "contracts/test_store_twin.py",
        "e2e/test_outage.py",
        "contracts/test_store_outages.py",
        "e2e/test_crash_matrix.py",
        "unit/gate/test_consent_once.py",
    ),
    "P10": ("e2e/test_leftovers.py",),
    "P11": ("e2e/test_disk_full.py", "unit/drivers/test_mirror.py"),
    "P12": ("flows/test_cleanup.py", "flows/test_undelete.py", "unit/model/test_deletion.py"),
    "P13": ("flows/test_engine.py", "e2e/test_stop_under_load.py"),
    "P14": (
        "unit/gate/test_door.py",
        "unit/gate/test_audit.py",
        "unit/model/test_chain.py",
        "contracts/test_audit.py",
        "contracts/test_store_outages.py",
        "entry/test_http.py",
        "unit/entry/cli/test_audit.py",
        "e2e/test_secrets.py",
    ),
    "P15": (
        "flows/test_mend.py",
        "flows/test_reconciler.py",
        "e2e/test_reconcile.py",
        "flows/test_stateful.py",
        "e2e/test_crash_matrix.py",
    ),
    "P16": ("flows/test_project_delete.py", "flows/test_undelete.py"),
    "S1": ("unit/drivers/test_files_and_shell.py",),
    "S2": ("entry/test_bad_input.py",),
    "S3": ("entry/test_bad_input.py", "entry/test_hostile.py"),
    "S4": ("unit/model/test_grammar.py", "unit/gate/test_door.py", "entry/test_bad_input.py"),
    "S5": ("unit/gate/test_rights.py", "unit/tools/test_people.py", "entry/test_authorisation.py", "flows/test_images.py"),
    "S6": ("unit/gate/test_rights.py", "entry/test_authorisation.py"),
    "S7": ("unit/drivers/test_docker_spec.py",),
    "S8": ("unit/gate/test_rights.py", "entry/test_authorisation.py"),
    "S9": (
        "unit/gate/test_rights.py",
        "unit/model/test_access.py",
        "unit/tools/test_people.py",
        "entry/test_authorisation.py",
    ),
    "S11": (
        "unit/entry/cli/test_tree.py",
        "unit/model/test_plans_and_secret.py",
        "unit/gate/test_door.py",
        "unit/gate/test_audit.py",
        "contracts/test_vault.py",
        "flows/test_master_key.py",
        "flows/test_sealed_answers.py",
        "unit/test_config_database.py",
        "unit/gate/test_misplaced_keys.py",
        "unit/drivers/test_caddyfile.py",
        "unit/entry/doctor/test_vault.py",
        "entry/test_http_keys.py",
        "contracts/test_store_seals.py",
        "contracts/test_rescue_seals.py",
        "e2e/test_master_key.py",
        "e2e/test_secrets.py",
    ),
    "S12": ("entry/test_http_keys.py",),
    "S13": (
        "unit/gate/test_entrance.py",
        "unit/tools/test_people.py",
        "unit/gate/test_rights.py",
        "entry/test_authorisation.py",
    ),
    "S15": ("unit/drivers/test_caddyfile.py",),
    "S16": ("unit/drivers/test_caddyfile.py",),
    "S17": ("e2e/test_doctor.py",),
    "S19": ("contracts/test_runtime_docker.py",),
    "S20": ("contracts/test_runtime_docker.py",),
    "S24": ("entry/test_threshold.py",),
    "S25": (
        "flows/test_undelete.py",
        "flows/test_project_delete.py",
        "unit/model/test_deletion.py",
        "unit/gate/test_consent.py",
        "unit/gate/test_consent_once.py",
        "unit/model/test_approvals.py",
    ),
    "S30": (
        "unit/gate/test_limits.py",
        "unit/gate/test_entrance.py",
        "unit/gate/test_together.py",
        "unit/entry/test_peers.py",
        "entry/test_threshold.py",
    ),
    "S31": ("contracts/test_store.py", "contracts/test_store_approvals.py"),
    "S33": ("unit/model/test_grammar.py", "entry/test_connections.py"),
}

PARTLY: dict[str, str] = {
    "P16": "later: issue 5 (backups themselves)",
    "S12": "later: issue 6 (tickets for browsers' event streams)",
    "S13": "later: issue 4 (timing measured over the wire)",
    "S17": "later: issue 4 (reached for from inside a tenant's container)",
    "S24": "later: issue 6 (the dashboard's session)",
    "S25": "later: issue 6 (MCP, marked text); later: issue 4 (confirmations that expire)",
}
"""what of a promise that is shown is not shown yet"""

LATER: dict[str, str] = {
    "S14": "later: issue 5 (other outbound URLs; health probes go to our own containers only)",
    "S21": "later: issue 5 (no caller names a path yet)",
    "S22": "later: issue 5",
    "S26": "later: issue 6",
    "S27": "later: issue 5",
    "S28": "later: issue 5",
}
"""not shown by a test that names it: what brings it"""
