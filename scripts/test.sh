#!/usr/bin/env bash
# Runs the tests with all they need: scripts/test.sh PYTEST-ARGUMENT...
#
# A part that is missing and cannot be installed is named first, and the run fails. With CODEB_ALLOW_MISSING=1 the tests
# that need it are left out instead (pytest counts them as deselected: they are untested, not passed).
# What needs root (marker: netns) is left out in the same way for anybody else.
# pytest's summary is the last thing printed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

engine=.docker-run/tests
left_out=()
missing=0

# The tests start Python some hundred times: what is compiled once need not be compiled again.
unset PYTHONDONTWRITEBYTECODE

scripts/bootstrap.sh venv
said=$(scripts/bootstrap.sh parts) || missing=$?
[[ -z $said ]] || printf '%s\n' "$said"
if ((missing)) && [[ -z ${CODEB_ALLOW_MISSING:-} ]]; then
    echo "test: a part is missing, so this run will fail (CODEB_ALLOW_MISSING=1 leaves its tests out)"
fi
[[ $said != *"MISSING: caddy"* ]] || left_out+=(proxy)
[[ $said != *"MISSING: postgresql"* ]] || left_out+=(postgres)
[[ $said != *"MISSING: redis-server"* ]] || left_out+=(redis)
[[ $said != *"MISSING: nftables"* && $said != *"MISSING: ip"* ]] || left_out+=(netns)
[[ $said != *"MISSING: pdns"* ]] || left_out+=(dns)
[[ $said != *"MISSING: docker-registry"* ]] || left_out+=(images)
[[ $said != *"MISSING: busybox"* && $said != *"MISSING: libc"* ]] || left_out+=(docker)

trap 'scripts/bootstrap.sh docker-stop "$engine" >/dev/null' EXIT
if ! scripts/bootstrap.sh docker "$engine"; then
    missing=3
    left_out+=(docker)
    echo "test: without Docker the tests that run containers cannot pass (marker: docker)"
fi

untested=()
if [[ -n ${CODEB_ALLOW_MISSING:-} && ${#left_out[@]} -gt 0 ]]; then
    untested+=("${left_out[@]}")
    missing=0
fi
if ((EUID != 0)); then
    untested+=(netns)
    echo "test: only root may make network namespaces: the firewall on real nftables stays untested here (marker: netns)"
fi
chosen=()
if ((${#untested[@]})); then
    printf -v words ' and not %s' "${untested[@]}"
    chosen=(-m "${words# and }")
fi

run=(.venv/bin/python -m pytest)
if [[ " ${left_out[*]} " != *" docker "* ]]; then run=(scripts/bootstrap.sh with-docker "${run[@]}"); fi
code=0
"${run[@]}" "${chosen[@]}" "$@" || code=$?
if ((code == 0 && missing)); then
    echo "test: a part was missing (see the beginning)" >&2
    code=$missing
fi
exit "$code"
