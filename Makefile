# Everything a newcomer types. `make help` lists it.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed-$(shell cksum requirements.lock pyproject.toml | cksum | cut -d' ' -f1)

.DEFAULT_GOAL := help
.PHONY: help setup demo test check format up bench faults lock clean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP)  ## install everything from the lock into .venv

$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@rm -f $(VENV)/.installed-* && touch $@

demo: setup  ## run one example job through all processes, print its history, stop
	$(BIN)/python -m examples.demo

test: setup  ## the whole test suite
	$(BIN)/python -m pytest

check: setup  ## format, lint, types, import contracts, domain coverage
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/unit/domain --cov=shared/domain --cov-branch --cov-fail-under=100

format: setup  ## let ruff rewrite the files
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

up: setup  ## all processes in the foreground, on an embedded nats-server
	$(BIN)/daybook up

bench: setup  ## the load scenarios; prints jobs/s, latency and CPU per job
	$(BIN)/python -m benchmarks

faults: setup  ## the long fault runs: kill -9 of every process and power cuts, under load
	$(BIN)/python -m tests.faults

lock:  ## resolve the dependencies again (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --group dev pyproject.toml -o requirements.lock

clean:  ## remove what was installed and built
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
