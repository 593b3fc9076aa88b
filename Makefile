# `make run` and `make test` are all one needs; each installs what it misses into .venv.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
# Tests of minutes each.
SLOW := $(PY) -m pytest --timeout=1200 -s
COMPOSE ?= $(shell docker compose version > /dev/null 2>&1 && echo docker compose || echo docker-compose)

.PHONY: run demo test s3-test s3-chaos pooler-test api-test chaos browser-test tus-test screenshots \
	compose-test swarm-test kubernetes-test bench bench-quick up down roll stack lint format clean

run: $(VENV)/.run
	@exec $(PY) -m umusic serve

demo: $(VENV)/.run
	@exec $(PY) samples/demo.py

test: $(VENV)/.dev
	$(PY) -m pytest -n 2 --dist worksteal

# TESTS: those files only.
pooler-test: $(VENV)/.dev
	$(PY) -m pytest --pooler -n 2 --dist worksteal $(TESTS)

s3-test: $(VENV)/.dev
	tests/ceph/run $(PY) -m pytest -n 2 --dist worksteal --store=s3 $(TESTS)

s3-chaos: $(VENV)/.dev
	tests/ceph/run $(SLOW) -m chaos --store=s3

api-test: $(VENV)/.dev
	$(SLOW) -m api

chaos: $(VENV)/.dev
	$(SLOW) -m chaos

browser-test: $(VENV)/.dev
	$(SLOW) -m browser

tus-test: $(VENV)/.dev .tus/.installed
	TUS_MODULES=.tus $(SLOW) -m tus

.tus/.installed: tests/resumable/package.json
	@command -v npm > /dev/null || { echo "tus-test needs npm: apt-get install npm"; exit 1; }
	@mkdir -p .tus && cp $< .tus/
	npm install --prefix .tus --no-package-lock --no-audit --no-fund
	@touch $@

screenshots: $(VENV)/.dev
	$(PY) -m tests.browser.screenshots docs/screenshots

compose-test: $(VENV)/.dev
	COMPOSE="$(COMPOSE)" $(SLOW) -m compose

kubernetes-test: $(VENV)/.dev
	@command -v kubectl > /dev/null || { echo "kubernetes-test needs kubectl, 1.30 or newer"; exit 1; }
	$(PY) -m pytest -m kubernetes -s tests/kubernetes

swarm-test: $(VENV)/.dev
	COMPOSE="$(COMPOSE)" $(SLOW) -m swarm

bench: $(VENV)/.bench
	$(PY) -m bench

bench-quick: $(VENV)/.bench
	$(PY) -m bench --quick --out $(VENV)/bench-quick
	$(PY) -m bench.costs --quick --out $(VENV)/bench-quick/costs.json
	$(PY) -m bench.sizing
	$(PY) -m bench.simulate --check --quick

# --- in containers, behind nginx: docs/operations.md

up: .env
	$(COMPOSE) up -d --build

down:
	$(COMPOSE) down

roll: .env
	$(COMPOSE) build app
	COMPOSE="$(COMPOSE)" deploy/roll.sh

stack: .env
	COMPOSE="$(COMPOSE)" deploy/stack.sh

.env:
	@umask 077; sed "s/^POSTGRES_PASSWORD=$$/&$$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')/" \
		.env.example > $@
	@echo "Made .env of .env.example, with a password for the database of its own."

# --- for those who work on it

lint: $(VENV)/.dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

format: $(VENV)/.dev
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

clean:
	rm -rf $(VENV) *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .schemathesis .tus

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "umusic needs Python 3.11 or newer; name one with PYTHON=…"; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
		|| { rm -rf $(VENV); echo "Debian keeps venv apart: apt-get install python3-venv"; exit 1; }

$(VENV)/.run: requirements.txt | $(PY)
	@echo "Installing into $(VENV)…"
	@$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt -e .
	@touch $@

$(VENV)/.dev: requirements.txt requirements-dev.txt | $(PY)
	@echo "Installing into $(VENV)…"
	@$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt -e .
	@touch $@ $(VENV)/.run

$(VENV)/.bench: bench/requirements.txt bench/baseline/requirements.txt $(VENV)/.dev
	@echo "Installing what the bench needs, and the baseline into $(VENV)/baseline…"
	@$(PY) -m pip install --quiet --disable-pip-version-check -r bench/requirements.txt
	@$(PYTHON) -m venv $(VENV)/baseline
	@$(VENV)/baseline/bin/python -m pip install --quiet --disable-pip-version-check \
		-r bench/baseline/requirements.txt
	@touch $@
