# Everything runs in .venv, which the first target that needs it makes. Needed beforehand: Python 3.11+,
# make, and a package index that pip reaches.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PY     := $(BIN)/python

# Airflow and Dagster both phone home by default; nothing here should.
export AIRFLOW__USAGE_DATA_COLLECTION__ENABLED := False
export DAGSTER_DISABLE_TELEMETRY := yes

.DEFAULT_GOAL := help
.PHONY: help demo ui test lint format bench build clean

help:  ## show the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

demo: $(VENV)/.demo  ## train a model, run it through Airflow and Dagster, show what came out
	@$(PY) -m example_dags.demo

ui: $(VENV)/.demo  ## open what the demo left: the server's page, on a free local port
	@$(BIN)/wandb-ops local --data .demo/server --entity demo

test: $(VENV)/.dev  ## all tests: unit, faults, the real wandb SDK, Airflow, Dagster
	@$(PY) -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

lint: $(VENV)/.dev  ## ruff and strict typing
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(VENV)/.dev  ## let ruff rewrite what it can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(VENV)/.dev  ## measure against peers and limits; minutes
	@$(PY) -m benchmarks

build: $(VENV)/.dev  ## one wheel and one sdist in dist/
	@$(PY) -m build --installer uv

clean:  ## forget the environment, the demo's data and caches
	rm -rf $(VENV) .demo dist build .mypy_cache .ruff_cache .hypothesis

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "wandb-ops needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
	  || { echo "python3 -m venv does not work here (on Debian: apt install python3-venv)"; exit 1; }
	@$(PY) -m pip install --quiet --disable-pip-version-check uv

$(VENV)/.demo: pyproject.toml | $(PY)
	@echo "setting up $(VENV) (the first time: a few hundred MB of Airflow and Dagster)"
	@$(BIN)/uv pip install --quiet --python $(PY) --editable '.[demo]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(PY)
	@echo "setting up $(VENV) with the development tools"
	@$(BIN)/uv pip install --quiet --python $(PY) --editable '.[dev]'
	@touch $@ $(VENV)/.demo
