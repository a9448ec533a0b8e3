"""Every tool there is: an explicit tuple."""

from types import MappingProxyType
from typing import Any

from codeb.tools import (
    approvals,
    audit,
    deletions,
    deploys,
    events,
    health,
    image_deletions,
    images,
    keys,
    logs,
    members,
    operations,
    port_sync,
    ports,
    projects,
    reconcile,
    scan,
    slots,
    switches,
    teams,
    tokens,
    unreplayed,
    whoami,
)
from codeb.tools.tool import Tool

ACTS: tuple[Tool[Any], ...] = (
    *projects.TOOLS,
    *deletions.TOOLS,
    *deploys.TOOLS,
    *switches.TOOLS,
    *slots.TOOLS,
    *images.TOOLS,
    *image_deletions.TOOLS,
    *ports.TOOLS,
    *port_sync.TOOLS,
    *operations.TOOLS,
    *events.TOOLS,
    *logs.TOOLS,
    *health.TOOLS,
    *reconcile.TOOLS,
    *scan.TOOLS,
    *unreplayed.TOOLS,
    *keys.TOOLS,
    *audit.TOOLS,
    *teams.TOOLS,
    *members.TOOLS,
    *tokens.TOOLS,
    *whoami.TOOLS,
)

TOOLS: tuple[Tool[Any], ...] = (*ACTS, *approvals.tools(ACTS))

BY_NAME = MappingProxyType({tool.name: tool for tool in TOOLS})

if len(BY_NAME) != len(TOOLS):
    raise RuntimeError("two tools have the same name")
