# Everything needs only Python 3.11 or newer; PostgreSQL and Redis come as wheels.

PYTHON ?= python3

# Read by the commands below when they are set: make run PORT=9000
export QUICK LONG PORT SUPERADMIN_PASSWORD VAR TICKETS TERMINALS SEED MINUTES DRAW_RESULTS

# Real results for the demo, if they lie beside the project; else the few that it brings with it.
DRAW_RESULTS ?= $(wildcard ../shared/data/pcso_digit_results.csv)

BIN := .venv/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# Each process of the tests starts servers of its own.
SIDE_BY_SIDE := --numprocesses auto --maxprocesses 4 --dist worksteal

# The recipe becomes the command, and the command ends when make does, however make ends.
EXEC := exec env DIE_WITH_PARENT=1

.DEFAULT_GOAL := help
.PHONY: help demo run test test-slow test-long bench faults lint lock clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/.stamp-run ## one whole day of 3D on real servers, checked from outside (TICKETS, TERMINALS, SEED)
	@$(EXEC) $(BIN)/python -m demo

run: .venv/.stamp-run ## start everything on this machine (PORT, SUPERADMIN_PASSWORD, VAR); Ctrl-C ends it
	@$(EXEC) $(BIN)/drawbreak run

test: .venv/.stamp-dev ## the tests, against servers that they start themselves
	@$(EXEC) $(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not faults and not slow"

test-slow: .venv/.stamp-dev ## the tests that kill processes, play a whole day or try every documented call
	@$(EXEC) $(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "(faults or slow) and not long"

test-long: .venv/.stamp-dev ## those that take minutes: each part away, each kill by the dozen, deaf workers
	@$(EXEC) $(BIN)/python -m pytest $(SIDE_BY_SIDE) -m long

bench: .venv/.stamp-run ## measure beside a floor and the usual ways, in one run (QUICK=1: shorter and smaller; LONG=30: a sale of 30 minutes instead)
	@$(EXEC) $(BIN)/python -m bench

faults: .venv/.stamp-dev ## sell, close and settle while everything is broken on a seeded plan (SEED, MINUTES)
	@$(EXEC) $(BIN)/python -m faults

lint: .venv/.stamp-dev ## style, types and the import rules between the rooms
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

lock: ## make the lock files anew from pyproject.toml (needs pip-compile)
	$(LOCK) --output-file requirements.lock pyproject.toml
	$(LOCK) --extra dev --constraint requirements.lock --output-file requirements-dev.lock pyproject.toml

LOCK := pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host

clean: ## remove the virtual environment and what tools left; data under var/ stays
	rm -rf .venv *.egg-info build .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

.venv/.stamp-run: requirements.lock pyproject.toml
	$(call install,requirements.lock)
	@touch $@

# Holds what runs and what tests, in the same versions.
.venv/.stamp-dev: requirements-dev.lock pyproject.toml
	$(call install,requirements-dev.lock)
	@touch .venv/.stamp-run $@

define install
@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.12 …" if sys.version_info < (3, 11) else 0)'
@echo "installing $(1) into .venv"
@$(PYTHON) -m venv .venv
@$(PIP_INSTALL) --require-hashes -r $(1)
@$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
endef
