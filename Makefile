# Everything one does with this project. Needs make and Python 3.11, 3.12 or 3.13; all else goes to .venv/.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help env test coverage unit snapshots soak demo check fix bench lock newest audit qa image clean

export PIP_DISABLE_PIP_VERSION_CHECK := 1

SUITABLE := import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3 python; do \
  "$$python" -c '$(SUITABLE)' 2>/dev/null && { echo "$$python"; break; }; done)
WITH_PYTHON = python='$(PYTHON)'; "$$python" -c '$(SUITABLE)' 2>/dev/null || { \
  echo "No suitable Python$${python:+ at $$python}: needs 3.11, 3.12 or 3.13 with its venv module." >&2; \
  echo "Name one: make $(MAKECMDGOALS) PYTHON=/path/to/python3.13" >&2; exit 1; }

RUN := .venv/bin/python -m
# Two processes on two cores. Tests that share files are one group, for one process.
PYTEST := $(RUN) pytest -n auto --dist loadgroup
PIP_INSTALL := $(RUN) pip install -qq
UV_VERSION := 0.13.9
AUDIT_VERSION := 2.10.1
QA_VERSION := 0.132.0
COMPILE := .uv/bin/uv pip compile --no-config --quiet --universal --python-version 3.11 \
  --generate-hashes --no-annotate --no-emit-index-url --custom-compile-command "make lock"
SOURCE ?= courier kustomer

help: ## list the commands (this)
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' Makefile

env: .venv/.project ## make .venv/ with the locked packages, once

test: check ## lint, types, all tests (ARGS="-k tags unit_tests" for some tests)
	$(if $(ARGS),$(RUN) pytest $(ARGS),$(PYTEST))

# Signals during the imports are left out: coverage starts before our handlers and shifts the moment.
coverage: env ## all tests again, with the gate of branch coverage (about twice as long as test)
	$(PYTEST) --cov --cov-report=term -k "not during_the_imports"

unit: env ## the quick tests, under a minute (ARGS as for test)
	$(PYTEST) unit_tests -m "not slow" $(ARGS)

snapshots: env ## accept what spec and discover say in addition
	@$(RUN) unit_tests.test_snapshots

soak: env ## a hundred syncs from vendors that fail, lie and kill (ARGS="--seed 7")
	@$(RUN) integration_tests.soak $(ARGS)

demo: env ## run both sources against the fake vendor
	@$(RUN) integration_tests.demo

check: env ## lint and types; changes nothing
	$(RUN) ruff check
	$(RUN) ruff format --check
	$(RUN) mypy

fix: env ## let ruff mend and format what it can
	$(RUN) ruff check --fix
	$(RUN) ruff format

bench: env ## run the benchmarks
	$(RUN) benchmarks $(ARGS)

lock: .uv/.ready ## follow pyproject.toml in requirements/ (ARGS=--upgrade moves all)
	$(COMPILE) $(ARGS) --output-file requirements/run.txt pyproject.toml
	$(COMPILE) $(ARGS) --output-file requirements/test.txt --constraint requirements/run.txt \
	  --group test pyproject.toml

newest: env ## all tests with the newest packages that pyproject.toml allows (changes .venv/)
	$(PIP_INSTALL) --upgrade --upgrade-strategy eager --no-build-isolation --editable .
	$(RUN) pip list --format=freeze | grep -E '^(airbyte-cdk|requests|pydantic|orjson)='
	$(PYTEST)
	@rm -f .venv/.packages

audit: .audit/.ready ## look the locked packages up among known vulnerabilities (needs network)
	@.audit/bin/pip-audit --disable-pip --require-hashes --requirement requirements/run.txt \
	  --progress-spinner off 2>.audit/errors || { cat .audit/errors >&2; \
	  grep -qE 'ConnectionError|ServiceError|Max retries|[Tt]imed out' .audit/errors || exit 1; \
	  echo "The database of vulnerabilities was not reached: nothing is known of the packages."; }

qa: env .qa/.ready ## Airbyte's own checks of connectors (needs network once, Python 3.11 or 3.12, 1 GB)
	@$(RUN) integration_tests.qa

image: ## build the Docker images (SOURCE=courier or kustomer for one)
	@for source in $(SOURCE); do \
	  echo "Building airbyte/source-$$source:dev"; \
	  docker build --build-arg SOURCE=$$source --tag airbyte/source-$$source:dev . || exit 1; \
	done

clean: ## remove all that was made here
	rm -rf .venv .uv .audit .qa build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.packages: requirements/test.txt
	@$(WITH_PYTHON); echo "Making .venv with $$("$$python" --version)"; "$$python" -m venv --clear .venv
	@echo "Installing the locked packages, about a minute"
	@$(PIP_INSTALL) --require-hashes --requirement requirements/test.txt
	@touch $@

.venv/.project: .venv/.packages pyproject.toml
	@echo "Installing the project, editable"
	@$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

.audit/.ready: Makefile
	@$(WITH_PYTHON); "$$python" -m venv --clear .audit
	@.audit/bin/python -m pip install -qq pip-audit==$(AUDIT_VERSION)
	@touch $@

# Airbyte's packages do not support Python 3.13 yet. pip alone takes many minutes to resolve them.
.qa/.ready: Makefile .uv/.ready
	@python=$$(for one in python3.12 python3.11 '$(PYTHON)'; do "$$one" -c \
	  'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null \
	  && { echo "$$one"; break; }; done); test -n "$$python" || { \
	  echo "Airbyte's QA needs Python 3.11 or 3.12: none was found." >&2; exit 1; }; \
	  echo "Installing Airbyte's QA into .qa/, a minute"; \
	  .uv/bin/uv venv --quiet --clear --python "$$python" .qa
	@.uv/bin/uv pip install --quiet --python .qa/bin/python airbyte-internal-ops==$(QA_VERSION) || { \
	  echo "Airbyte's QA cannot run: airbyte-internal-ops $(QA_VERSION) was not installed. Does the" \
	  "package registry have it, and was it reached?" >&2; exit 1; }
	@touch $@

.uv/.ready: Makefile
	@$(WITH_PYTHON); "$$python" -m venv --clear .uv
	@.uv/bin/python -m pip install -qq uv==$(UV_VERSION)
	@touch $@
