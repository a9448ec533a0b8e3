# `make` alone lists the commands. On a fresh Debian or Ubuntu machine `make demo` and `make test` are all it takes.

.DEFAULT_GOAL := help
.PHONY: help init lint fix lock test test-full unit mutants e2e workflows crash zeroloss outages mcp-conformance bench docs check-docs plugin-check run demo demo-clean clean
SHELL := /bin/bash

PYTHON := .venv/bin/python
BOOTSTRAP := scripts/bootstrap.sh
# Where an Engine that the demo had to start is remembered, so that demo-clean stops that one and no other.
DEMO_ENGINE := .docker-run/demo

# small: minutes; full: everything, hours
SIZE ?= small
# processes that share the tests, whole files each (most tests wait most of the time); 0: one after the other
WORKERS ?= 3
# promote/rollback cycles of `make zeroloss`, and the proxy under it: embedded or debian
CYCLES ?= 200
CADDY ?= embedded
# of `make mutants`: guards with this in their name, and which part of them
ONLY ?=
SHARD ?= 1/1
# of `make outages`
MINUTES ?= 10

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS=$$'\t' read -r name about; do printf '  %-12s %s\n' "$$name" "$$about"; done

init: ## .venv with everything for development
	@$(BOOTSTRAP) venv

lint: init ## format, ruff, types, imports between rooms, sizes, house rules, locks, the frozen surface
	@.venv/bin/ruff format --check --quiet --output-format=concise .
	@.venv/bin/ruff check --quiet .
	@$(PYTHON) -m mypy --no-error-summary
	@said=$$(.venv/bin/lint-imports --no-logo 2>&1) || { echo "$$said"; exit 1; }
	@$(PYTHON) scripts/check_size.py
	@$(PYTHON) scripts/check_house.py
	@$(PYTHON) scripts/check_locks.py
	@$(PYTHON) scripts/surface.py --check
	@echo "lint: all clean"

fix: init ## format, and repair what ruff can repair
	@.venv/bin/ruff check --fix --quiet . || true
	@.venv/bin/ruff format --quiet .

lock: ## make requirements/*.txt anew from pyproject.toml (needs uv; UPGRADE=1: with the newest versions)
	@scripts/lock.sh $(if $(UPGRADE),--upgrade)

test: ## all tests, the long ones in their small size (SIZE=small|full, WORKERS=3); installs and starts what they need
	@CODEB_TEST_SIZE=$(SIZE) scripts/test.sh --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

test-full: ## all tests, the long ones whole
	@CODEB_TEST_SIZE=full scripts/test.sh --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

unit: init ## the tests that need nothing but Python
	@$(PYTHON) -m pytest tests -m "not docker and not postgres and not proxy and not dns and not redis and not netns and not images"

mutants: init ## take out each guard of who may do what, one at a time: a test has to fail (ONLY=gate/door.py, SHARD=1/2)
	@$(PYTHON) -m tests.mutants --only "$(ONLY)" --shard $(SHARD)

e2e: ## the tests with all parts real
	@CODEB_TEST_SIZE=$(SIZE) scripts/test.sh tests/e2e

workflows: ## GitHub workflows checked and run, builds with a cache in the image registry (root, Node 20; 1 GB in .test-run)
	@CODEB_RELEASE_TESTS=1 scripts/test.sh -s tests/e2e/test_registry_cache.py tests/e2e/test_workflow_runs.py

crash: ## kill -9 at every journal point (SIZE=small|full)
	@CODEB_TEST_SIZE=$(SIZE) scripts/test.sh -s tests/e2e/test_crash_matrix.py

zeroloss: ## promote and roll back under load (CYCLES=200, CADDY=embedded|debian)
	@$(BOOTSTRAP) parts
	@$(BOOTSTRAP) docker .docker-run/tests
	@trap '$(BOOTSTRAP) docker-stop .docker-run/tests' EXIT; $(BOOTSTRAP) with-docker $(PYTHON) -m tests.e2e.zeroloss \
		--cycles $(CYCLES) --caddy $(if $(filter debian,$(CADDY)),/usr/bin/caddy,embedded)

outages: ## a database that is stopped, silenced and cut off at random, under load (MINUTES=10)
	@$(BOOTSTRAP) parts
	@$(BOOTSTRAP) docker .docker-run/tests
	@trap '$(BOOTSTRAP) docker-stop .docker-run/tests' EXIT; $(BOOTSTRAP) with-docker $(PYTHON) -m tests.e2e.outages \
		--minutes $(MINUTES)

mcp-conformance: ## the official suite and Inspector of assistants' protocol (PART=suite|inspector; its tools are installed beside)
	@CODEB_RELEASE_TESTS=1 $(BOOTSTRAP) parts
	@$(BOOTSTRAP) docker .docker-run/tests
	@trap '$(BOOTSTRAP) docker-stop .docker-run/tests' EXIT; $(BOOTSTRAP) with-docker $(PYTHON) -m tests.conformance $(PART)

bench: init ## measure what docs/measured.md says
	@$(BOOTSTRAP) docker .docker-run/tests
	@trap '$(BOOTSTRAP) docker-stop .docker-run/tests' EXIT; $(BOOTSTRAP) with-docker $(PYTHON) -m bench.run

plugin-check: init ## the plugin in the real Claude Code with a scripted model (a release test: needs npm once)
	@$(BOOTSTRAP) parts
	@$(BOOTSTRAP) docker .docker-run/tests
	@trap '$(BOOTSTRAP) docker-stop .docker-run/tests' EXIT; $(BOOTSTRAP) with-docker $(PYTHON) -m tests.release.plugin_check

docs: init ## write docs/tools.md and the frozen surface anew from the catalogue
	@$(PYTHON) scripts/surface.py --write

check-docs: init ## whether docs/tools.md and the frozen surface still say what the catalogue says
	@$(PYTHON) scripts/surface.py --check

run: ## a server in the foreground, with your settings
	@$(BOOTSTRAP) server-venv
	@$(BOOTSTRAP) with-docker .venv/bin/we up

demo: ## two versions of a shop, deployed and switched under traffic; leaves a server running to play with
	@$(BOOTSTRAP) server-venv
	@$(BOOTSTRAP) docker $(DEMO_ENGINE)
	@$(BOOTSTRAP) with-docker $(PYTHON) -m demo.run

demo-clean: ## remove every trace of the demo
	@$(BOOTSTRAP) server-venv
	@$(BOOTSTRAP) with-docker $(PYTHON) -m demo.run clean
	@$(BOOTSTRAP) docker-stop $(DEMO_ENGINE)

clean: ## remove .venv, caches and what test runs left
	@$(BOOTSTRAP) docker-stop .docker-run/tests
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .test-run dist
	@find . -name __pycache__ -prune -exec rm -rf {} +
