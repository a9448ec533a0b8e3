#!/usr/bin/env bash
# Makes requirements/dev.txt and requirements/server.txt anew from pyproject.toml: exact versions with the hashes of every
# file, for Python 3.11 and newer on every platform, without the address of where they come from. Needs uv.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
command -v uv >/dev/null || {
    echo "lock: uv is not installed (python3 -m pip install uv)" >&2
    exit 1
}

options=(--quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate "$@")
# What builds the editable install is needed on every machine, so it is in both: hatchling, which asks for editables then.
build=$(sed -n 's/^requires = \["\(.*\)"\]$/\1/p' pyproject.toml)$'\neditables'

printf '%s\n' "$build" | uv pip compile pyproject.toml - --all-extras "${options[@]}" --output-file requirements/dev.txt
printf '%s\n' "$build" |
    uv pip compile pyproject.toml - --extra server --constraint requirements/dev.txt "${options[@]}" \
        --output-file requirements/server.txt
