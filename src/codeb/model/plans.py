"""Plans: what a dry run returns, bound to the state it was made from."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def plan_id(tool: str, plan: Mapping[str, Any], state: Mapping[str, Any]) -> str:
    """The same tool, plan and state give the same id; anything that moved gives another. JSON values only."""
    text = json.dumps([tool, plan, state], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "plan_" + hashlib.sha256(text.encode()).hexdigest()[:32]
