# Everything here works on a fresh clone with Python 3.13 and make; `make help` lists it.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PORT ?= 7071
STATE ?= .local
EVENTS ?= files
KILLS ?= 200

# python3.13 by name first; else whatever python3 is, which `setup` refuses when it is not 3.13.
PYTHON ?= $(shell command -v python3.13 || command -v python3)
BIN := .venv/bin

.PHONY: help setup run simulator test lint format unit evaluate bench soak requirements

help:            ## List the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

.venv/.ready: requirements-dev.txt pyproject.toml .python-version
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' || \
	  { echo "Tollgate needs Python 3.13, and $(PYTHON) is not it. Name one: make PYTHON=/usr/bin/python3.13 ..."; exit 1; }
	@echo "Setting up .venv (once; about half a minute) ..."
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable . \
	  >.venv/install.log 2>&1 || { cat .venv/install.log; exit 1; }
	@touch $@

setup: .venv/.ready  ## Create .venv with the pinned requirements

run: setup       ## Start Tollgate on this machine: make run PORT=7071 STATE=.local EVENTS=files
	@PORT="$(PORT)" STATE="$(STATE)" EVENTS="$(EVENTS)" exec $(BIN)/python -m local

simulator: setup ## Start the demo's backends alone, on fixed ports, for func start
	@exec $(BIN)/python -m local.simulator --config local/demo/backends.json

test: setup      ## Every check: lint, types, import contracts, tests with coverage
	@$(MAKE) --no-print-directory lint unit

lint: setup      ## ruff, mypy --strict, import-linter
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: setup    ## Format and mend what ruff can mend
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

unit: setup      ## The tests, with branch coverage
	@tests/install_azurite; tests/install_node_sdk
	@$(BIN)/coverage erase
	@$(BIN)/python -m pytest --cov --cov-report=term

evaluate: setup  ## Score suggestions for labelled incidents; with the demo's backends unless GATEWAY_CATALOG is set
	@$(BIN)/python -m evaluation

bench: setup     ## Measure against a direct and an nginx baseline; prints ratios
	@$(BIN)/python -m bench
	@$(BIN)/python -m bench.tickets
	@tests/install_azurite
	@$(BIN)/python -m bench.usage

soak: setup     ## The ledger under fire for longer: 200 kills of collectors and hub (KILLS=200, some minutes)
	@tests/install_azurite
	@$(BIN)/python -m tests.proofs.fire --kills $(KILLS)

requirements: setup  ## Pin pyproject.toml's dependencies anew, with hashes
	@$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.13 --generate-hashes --no-header --no-annotate -q -o requirements.txt
	@$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.13 --generate-hashes --no-header --no-annotate -q -c requirements.txt -o requirements-dev.txt
