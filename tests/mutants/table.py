"""All guards. A file of the first list has at least one: who adds a file to the gate adds its guards."""

from pathlib import Path

from tests.mutants import (
    of_assistants,
    of_consent,
    of_edges,
    of_envs,
    of_gate,
    of_model,
    of_pulls,
    of_tasks,
    of_tools,
    of_work,
    of_workflows,
)
from tests.mutants.guard import Guard

SOURCE = Path(__file__).resolve().parents[2] / "src/codeb"
TESTS = SOURCE.parents[1] / "tests"

WATCHED = (
    *(path.relative_to(SOURCE).as_posix() for path in sorted(SOURCE.glob("gate/*.py")) if path.name != "__init__.py"),
    *(f"model/{each}.py" for each in ("access", "approvals", "limits", "chain")),
    *(f"tools/{each}.py" for each in ("people", "tokens", "members", "teams", "keys", "approvals", "deletions", "audit")),
    *(f"tools/{each}.py" for each in ("envs", "env_writes", "call")),
    *(f"tools/task_{each}.py" for each in ("views", "writes", "completes", "moves")),
    "model/refs.py", "model/work.py", "drivers/store/work.py", "drivers/store/people.py",
    "flows/pulls.py", "tools/pulls.py",
    "flows/master_key.py", "drivers/identity.py", "entry/http/threshold.py", "entry/http/peers.py",
    "model/workflow.py", "model/workflow_yaml.py", "model/workflow_steps.py", "entry/cli/workflow_files.py",
    *(f"entry/mcp/{each}.py" for each in ("asking", "doors", "calls", "shown", "helps")), "entry/http/assistants.py",
    *(f"entry/mcp/{each}.py" for each in ("tasks", "durable", "resources", "oplog", "prompts")),
)  # fmt: skip

GUARDS: tuple[Guard, ...] = (
    *of_gate.GUARDS, *of_consent.GUARDS, *of_model.GUARDS, *of_tools.GUARDS, *of_envs.GUARDS, *of_edges.GUARDS, *of_pulls.GUARDS,
    *of_workflows.GUARDS,
    *of_assistants.GUARDS, *of_tasks.GUARDS,
    *of_work.GUARDS,
)  # fmt: skip
