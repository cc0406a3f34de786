# make demo   toy events -> trained regressor -> resolution table, through Dagster (2 cores, minutes)
# make test   lint, types, import contracts, tests
# make ui     the Dagster UI on http://127.0.0.1:3000
# make bench  speed relative to straightforward code, measured in one run
# make staleness  what Dagster calls stale after which change, as a table
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export DAGSTER_HOME := $(CURDIR)
export PYTHONUNBUFFERED := 1
# Modules are compiled as they are first imported, not all during the installation; so that must be kept.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test lint check ui bench staleness clean install
demo: $(STAMP)
	$(BIN)/python -m xec_pipeline.demo

test: $(VENV)/.installed-dev
	.ci/check $(BIN)

lint: $(VENV)/.installed-dev
	.ci/check $(BIN) --no-tests

ui: $(STAMP)
	$(BIN)/dg dev -w workspace.yaml

bench: $(VENV)/.installed-dev
	$(BIN)/python -m xec_pipeline_tests.benchmarks

staleness: $(VENV)/.installed-dev
	$(BIN)/python -m xec_pipeline_tests.defs.staleness_matrix

install: $(STAMP)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(STAMP): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/pip install --quiet --no-compile --disable-pip-version-check torch -c constraints.txt
	$(BIN)/pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/.installed-dev: $(STAMP)
	$(BIN)/pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf artifacts data .dagster mlruns mlruns.db* .pytest_cache .mypy_cache .ruff_cache
