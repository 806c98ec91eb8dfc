# Everything one does with this project. Needs make and Python 3.11, 3.12 or 3.13; all else goes to .venv/.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help env test coverage unit snapshots soak demo check fix bench lock newest audit qa \
  client examples dist packages thorough image try clean

export PIP_DISABLE_PIP_VERSION_CHECK := 1

# Python 3.11 to 3.13, or up to another 3.x that a rule names.
NEWEST_MINOR := 13
SUITABLE = import ensurepip, sys, venv; sys.exit(sys.version_info[0] != 3 or \
  not 11 <= sys.version_info[1] <= $(NEWEST_MINOR))
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3 python; do \
  "$$python" -c '$(SUITABLE)' 2>/dev/null && { echo "$$python"; break; }; done)
WITH_PYTHON = python='$(PYTHON)'; "$$python" -c '$(SUITABLE)' 2>/dev/null || { \
  echo "No suitable Python$${python:+ at $$python}: needs 3.11 to 3.$(NEWEST_MINOR) with its venv module." >&2; \
  echo "Name one: make $(MAKECMDGOALS) PYTHON=/path/to/python3.$(NEWEST_MINOR)" >&2; exit 1; }

RUN := .venv/bin/python -m
# Two processes on two cores. Tests that share files are one group, for one process.
PYTEST := $(RUN) pytest -n auto --dist loadgroup
# Without bytecode: what a command imports is compiled then, and most of it never is.
PIP_INSTALL := $(RUN) pip install -qq --no-compile
UV_VERSION := 0.13.9
AUDIT_VERSION := 2.10.1
QA_VERSION := 0.132.0
# PyAirbyte calls uv by its bare name.
CLIENT := PATH="$(CURDIR)/.client/bin:$$PATH" AIRBYTE_OFFLINE_MODE=1 \
  .client/bin/python -m pytest -c integration_tests/client/pytest.ini
COMPILE := .uv/bin/uv pip compile --no-config --quiet --universal --python-version 3.11 \
  --generate-hashes --no-annotate --no-emit-index-url --custom-compile-command "make lock"
SOURCE ?= courier kustomer
# docker or podman; buildah builds too. BASE is another base image, such as Debian's.
ENGINE ?= docker

help: ## list the commands (this)
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' Makefile

env: .venv/.project ## make .venv/ with the locked packages, once

test: check ## lint, types, all tests (ARGS="-k tags unit_tests" for some tests)
	$(if $(ARGS),$(RUN) pytest $(ARGS),$(PYTEST))

# Signals during the imports are left out: coverage starts before our handlers and shifts the moment.
coverage: env ## all tests again, with the gate of branch coverage (about twice as long as test)
	$(PYTEST) --cov --cov-report=term -m "not image_tests" -k "not during_the_imports"

unit: env ## the quick tests, under a minute (ARGS as for test)
	$(PYTEST) unit_tests -m "not slow" $(ARGS)

snapshots: env ## accept what spec and discover say in addition
	@$(RUN) unit_tests.test_snapshots

soak: env ## a hundred syncs from vendors that fail, lie and kill (ARGS="--seed 7")
	@$(RUN) integration_tests.soak $(ARGS)

demo: env ## run both sources against the fake vendor, and query the rows
	@$(RUN) integration_tests.demo

check: env ## lint and types; changes nothing
	$(RUN) ruff check
	$(RUN) ruff format --check
	$(RUN) mypy

fix: env ## let ruff mend and format what it can
	$(RUN) ruff check --fix
	$(RUN) ruff format

# Parts of the benchmarks (ARGS) write no results, so they draw nothing.
bench: env .bench/.ready ## run the benchmarks and draw docs/pictures/ (ARGS="--only 1-s" for a part)
	$(RUN) benchmarks $(ARGS)
ifeq ($(ARGS),)
	$(RUN) benchmarks.completeness
	.bench/bin/python -m benchmarks.charts
endif

lock: .uv/.ready ## follow pyproject.toml in requirements/ (ARGS=--upgrade moves all)
	$(COMPILE) $(ARGS) --output-file requirements/run.txt pyproject.toml
	$(COMPILE) $(ARGS) --output-file requirements/test.txt --constraint requirements/run.txt \
	  --group test pyproject.toml
	$(COMPILE) $(ARGS) --output-file requirements/client.txt --group client
	$(COMPILE) $(ARGS) --output-file requirements/bench.txt --group pyproject.toml:bench

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

client: .client/.ready ## PyAirbyte installs both sources and reads them into DuckDB (needs network)
	$(CLIENT) integration_tests/client/test_pyairbyte.py $(ARGS)

examples: .client/.ready ## run the examples that need large packages (needs network)
	$(CLIENT) integration_tests/client/test_examples.py $(ARGS)

dist: env ## build the wheels and sdists of a release into dist/
	@rm -rf dist
	@$(RUN) distributions dist

thorough: env ## break each assumption of the doctors (make test leaves this out, CI does not)
	$(PYTEST) -m thorough unit_tests

packages: env ## try wheels and sdists in empty environments, the examples, and what the image leaves out
	$(PYTEST) -m packages integration_tests

image: ## build the images (SOURCE=courier or kustomer for one, ENGINE=podman or buildah)
	@for source in $(SOURCE); do \
	  echo "Building airbyte/source-$$source:dev"; \
	  $(ENGINE) build $(if $(BASE),--build-arg BASE_IMAGE=$(BASE)) \
	    --build-arg SOURCE=$$source --tag airbyte/source-$$source:dev . || exit 1; \
	done

# As strict as a platform may be: no write to the root, and a user that the image does not know.
try: env ## run the demo in the images, after make image (Linux; ENGINE=podman)
	@$(RUN) integration_tests.demo --program "$(ENGINE) run --rm --network host --read-only --tmpfs /tmp \
	  --user 4321:4321 --cap-drop ALL --volume {place}:{place}:ro airbyte/source-{source}:dev"

clean: ## remove all that was made here
	rm -rf .venv .uv .audit .qa .client .bench build dist *.egg-info .hypothesis .mypy_cache \
	  .pytest_cache .ruff_cache
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

.bench/.ready: requirements/bench.txt
	@$(WITH_PYTHON); "$$python" -m venv --clear .bench
	@.bench/bin/python -m pip install -qq --require-hashes --requirement $<
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

.client/.ready: NEWEST_MINOR := 12
.client/.ready: requirements/client.txt | .uv/.ready
	@$(WITH_PYTHON); echo "Making .client with $$("$$python" --version)"; \
	  "$$python" -m venv --clear .client
	@echo "Installing PyAirbyte, Dagster and dlt, a minute or two"
	@.uv/bin/uv pip install --no-config --quiet --python .client/bin/python \
	  --require-hashes --requirement $<
	@touch $@

.uv/.ready: Makefile
	@$(WITH_PYTHON); "$$python" -m venv --clear .uv
	@.uv/bin/python -m pip install -qq uv==$(UV_VERSION)
	@touch $@
