"""flows, tools: whose repository a project may use, and who merges."""

from tests.mutants.guard import Guard, guards_of

PULLS = "flows/test_pulls.py"

uses = guards_of("flows/pulls.py", PULLS)
changes = guards_of("tools/pulls.py", PULLS)
GUARDS: tuple[Guard, ...] = (
    uses("return team == operators or granted(kit.policy.repositories, team, repository)", "return True"),
    uses("    if not may_use(kit, project.team, project.repository):", "    if False:"),
    uses(" or not may_use(kit, project.team, project.repository):", ":"),
    changes("    _whole(call, project)\n", ""),
    changes("    if call.actor.environments:", "    if False:"),
    changes('    return params.verdict == "approve"', "    return False", "unit/gate/test_consent.py"),
)
