"""Every tool there is: an explicit tuple."""

from types import MappingProxyType
from typing import Any

from codeb.tools import (
    adoptions,
    approvals,
    audit,
    caches,
    databases,
    deletions,
    deploys,
    domains,
    env_writes,
    envs,
    events,
    firewall,
    firewall_sync,
    health,
    image_deletions,
    images,
    init,
    keys,
    logs,
    maintenance,
    members,
    operations,
    port_import,
    port_sync,
    ports,
    previews,
    project_updates,
    projects,
    reconcile,
    scan,
    servers,
    slots,
    switches,
    teams,
    tokens,
    unreplayed,
    whoami,
    workflows,
)
from codeb.tools.tool import Tool

ACTS: tuple[Tool[Any], ...] = (
    *init.TOOLS,
    *projects.TOOLS,
    *project_updates.TOOLS,
    *adoptions.TOOLS,
    *deletions.TOOLS,
    *deploys.TOOLS,
    *switches.TOOLS,
    *domains.TOOLS,
    *maintenance.TOOLS,
    *slots.TOOLS,
    *previews.TOOLS,
    *images.TOOLS,
    *image_deletions.TOOLS,
    *ports.TOOLS,
    *port_sync.TOOLS,
    *port_import.TOOLS,
    *envs.TOOLS,
    *env_writes.TOOLS,
    *databases.TOOLS,
    *caches.TOOLS,
    *operations.TOOLS,
    *events.TOOLS,
    *logs.TOOLS,
    *health.TOOLS,
    *servers.TOOLS,
    *firewall.TOOLS,
    *firewall_sync.TOOLS,
    *reconcile.TOOLS,
    *scan.TOOLS,
    *workflows.TOOLS,
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

if len({name for tool in TOOLS for name in (tool.name, *tool.aliases)}) != sum(1 + len(tool.aliases) for tool in TOOLS):
    raise RuntimeError("two tools have the same name")
