# What a developer types. `make help` lists it; CONTRIBUTING.md says more.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
# Two by default: real vLLM runs in some tests, with two cores and 3 GB each. A file's tests stay on one worker:
# they share what is costly to make, and all workers share one Docker Engine.
JOBS   ?= 2

.DEFAULT_GOAL := help
.PHONY: help quickstart test test-gpu check check-static services bench lock-dev clean

help: ## List these targets
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "  make %-11s %s\n", $$1, $$2 }'

quickstart: $(READY) ## Build a tiny model's image: no GPU, no Docker; half a minute, then half a second
	@echo '$$ $(BIN)/enginebuild run recipes/quickstart.yaml'
	@$(BIN)/enginebuild run recipes/quickstart.yaml

test: $(READY) services check-static ## Everything, with real services, quantizers and vLLM: about 25 minutes, then 20
	ENGINEBUILD_REQUIRE_SERVICES=1 $(BIN)/pytest -n $(JOBS) --dist loadfile --durations 10

test-gpu: $(READY) ## The real TensorRT-LLM on this machine's GPU, where there is one: minutes; says what is lacking
	ENGINEBUILD_TEST_GPU=1 $(BIN)/pytest tests/gpu

check: $(READY) check-static ## What a commit must pass: style, types, imports, unit tests; about a minute
	$(BIN)/pytest -q tests/unit

check-static: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

services:
	@tests/install-services

bench: $(READY) ## Measure start-up, downloads and memory against their limits; about four minutes
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/download.py
	$(BIN)/python benchmarks/memory.py

lock-dev: $(READY) ## Resolve the development dependencies anew into requirements-dev.txt
	$(BIN)/python -m pip install -qq uv
	$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --upgrade \
	  --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --custom-compile-command 'make lock-dev' --quiet --output-file requirements-dev.txt

clean: ## Remove the environment and what tools left in the checkout
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo 'enginebuild needs Python 3.11 or newer: make PYTHON=/path/to/python3.12 …' >&2; exit 1; }
	@echo 'Making $(VENV) from requirements-dev.txt: once, about half a minute'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) \
	  || { echo 'python3 cannot make environments: install the package python3-venv' >&2; rm -rf $(VENV); exit 1; }
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
