# The verbs of the project. Each works by itself on a fresh clone.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# pip-compile has a place of its own: what it needs must not get into what it locks.
LOCK_VENV := $(VENV)/lock
PIP_TOOLS := pip-tools==7.6.2
LOCK_FLAGS := --quiet --generate-hashes --strip-extras --no-emit-index-url \
	--no-emit-trusted-host --no-emit-find-links --no-header --no-annotate
# What requirements-extras.txt has besides, for an image or a platform that shall have it.
EXTRAS := --extra otel

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test quick drill fuzz bench compare docs lint format lock

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(INSTALLED) ## Create .venv with the locked packages and dc-relay itself

demo: setup ## Run the service with the Amplience emulator (DEMO_ARGS=--exit: stop by itself)
	$(BIN)/dc-relay demo $(DEMO_ARGS)

test: setup ## Run all tests (TEST_DATABASE_URL: also on PostgreSQL; TEST_ARGS: for pytest)
	@test -n "$$TEST_DATABASE_URL" || \
		echo "PostgreSQL tests are skipped: set TEST_DATABASE_URL" >&2
	$(BIN)/python -m pytest -n auto $(TEST_ARGS)

quick: setup ## Run the fast tests: SQLite only, no stories, processes or browser
	$(BIN)/python -m pytest -n auto -m "not (postgres or stories or processes or browser)" $(TEST_ARGS)

drill: setup ## Kill and break processes under load, count lost events (DRILL_ARGS="--seconds 60")
	$(BIN)/python -m tools.drill $(DRILL_ARGS)

fuzz: setup ## Send thousands of inputs to the webhook endpoint and the configuration
	FUZZ_EXAMPLES=600 $(BIN)/python -m pytest tests/fuzz --timeout=600

bench: setup ## Run all benchmarks, in ten minutes (BENCH_ARGS="promises memory": only these)
	$(BIN)/python -m tools.benchmarks $(BENCH_ARGS)

compare: setup ## Measure beside another revision (BASE=REVISION COMPARE_ARGS="--rounds 5")
	$(BIN)/python -m tools.benchmarks.compare $(BASE) $(COMPARE_ARGS)

docs: setup ## Write the tables in docs/reference.md that come from the code
	$(BIN)/python -m tools.docs

lint: setup ## Check style, types and layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## Format the code, and fix what can be fixed
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

lock: $(LOCK_VENV)/.installed ## Lock again after a change in pyproject.toml (LOCK_ARGS=--upgrade: newest)
	$(LOCK_VENV)/bin/pip-compile $(LOCK_FLAGS) $(LOCK_ARGS) -o requirements.txt pyproject.toml
	$(LOCK_VENV)/bin/pip-compile $(LOCK_FLAGS) $(LOCK_ARGS) --allow-unsafe -c requirements.txt \
		$(EXTRAS) -o requirements-extras.txt pyproject.toml
	$(LOCK_VENV)/bin/pip-compile $(LOCK_FLAGS) $(LOCK_ARGS) --allow-unsafe -c requirements-extras.txt \
		$(EXTRAS) --extra dev -o requirements-dev.txt pyproject.toml

$(INSTALLED): requirements-dev.txt pyproject.toml
	@$(PYTHON) -c "import sys; sys.version_info >= (3, 11) or sys.exit('dc-relay needs Python 3.11 or newer, and this is ' + sys.version.split()[0] + '. Name another one: make setup PYTHON=python3.11')"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --no-deps -e .
	@touch $@

$(LOCK_VENV)/.installed: Makefile
	$(PYTHON) -m venv $(LOCK_VENV)
	$(LOCK_VENV)/bin/python -m pip install --quiet $(PIP_TOOLS)
	@touch $@
