"""The release test of the assistants' door, by the tools that the protocol's makers publish.

    python -m tests.conformance [suite] [inspector]

Exit 0 when everything is as it has to be, and what cannot pass is named with its reason in `expected.json`.
"""

import sys

from tests.conformance import inspector, suite
from tests.conformance.tools import Missing, installed


def main(parts: list[str]) -> int:
    try:
        tools = installed()
    except Missing as missing:
        print(missing, file=sys.stderr)
        return 2
    faults: list[str] = []
    if "suite" in parts:
        faults += _suite(tools)
    if "inspector" in parts:
        print("Inspector against a real server:")
        with inspector.real_server() as stage:
            faults += inspector.over_http(tools, stage)
            faults += inspector.over_stdio(tools, stage)
    for each in faults:
        print(f"FAULT {each}")
    print("all as it has to be" if not faults else f"{len(faults)} faults")
    return 1 if faults else 0


def _suite(tools: "suite.Tools") -> list[str]:
    faults: list[str] = []
    with suite.fixture_server() as url:
        for revision in suite.REVISIONS:
            found = suite.run(tools, url, revision)
            faults += suite.judged(revision, found)
            tasks = [each for each in found if each.name.startswith("tasks-")]
            for what, some in ((revision, [each for each in found if each not in tasks]), (f"{revision}, tasks", tasks)):
                if some:
                    passed, failed = sum(each.passed for each in some), sum(each.failed for each in some)
                    print(f"{what}: {len(some)} scenarios, {passed} checks passed, {failed} failed", flush=True)
            for each in found:
                if each.failed:
                    print(f"  failed: {each.name}")
    return faults


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["suite", "inspector"]))
