# Two commands matter: `make demo` (the whole story on this machine) and `make test` (what CI runs).
# Only Linux with glibc >= 2.31 and Python >= 3.11 are needed; `serinus doctor` says what is missing elsewhere.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
UV ?= $(shell command -v uv || echo $(BIN)/uv)
# Taken when make reads this file, so that the demo's clock includes the installation.
STARTED := $(shell date +%s.%N)

# Compiled modules halve the start of each of our processes; a machine that forbids them would slow every test down.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo up doctor test test-long bench-analysis bench-judging bench-routing bench-traces check lock proto clean

help: ## Say what can be done.
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/.installed ## A good release, a bad one, and how the bad one takes itself back.
	@exec $(BIN)/serinus demo --started $(STARTED) $(ARGS)

up: $(VENV)/.installed ## The same stack without the story.
	@exec $(BIN)/serinus up $(ARGS)

doctor: $(VENV)/.installed ## What is missing on this machine.
	@exec $(BIN)/serinus doctor

test: $(VENV)/.installed-dev check ## Everything CI runs: style, types, contracts, tests.
	$(BIN)/pytest -m "not long and not process" --numprocesses 2 --dist worksteal
	$(BIN)/pytest -m "process and not long" --durations 10

test-long: $(VENV)/.installed-dev ## The long forms of the slow suites.
	$(BIN)/pytest -m long

bench-analysis: $(VENV)/.installed-dev ## The evidence judge beside its peers' rules; ARGS="--seconds 600" bounds it.
	$(BIN)/python -m tests.bench.analysis.run --results .serinus/bench-analysis.jsonl --page docs/bench-analysis.md $(ARGS)

bench-routing: $(VENV)/.installed-dev ## 200 shifts on the real proxy, idle and loaded; ARGS="--rate 2000".
	$(BIN)/python -m tests.bench.routing.run $(ARGS)

bench-judging: $(VENV)/.installed-dev ## CPU of a whole judged look.
	$(BIN)/python -m tests.bench.judging.run

bench-traces: $(VENV)/.installed-dev ## Spans into the trace store and questions to it; ARGS="--spans 1000000".
	$(BIN)/python -m tests.bench.traces.run $(ARGS)

check: $(VENV)/.installed-dev ## Style, types and import contracts.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# A stamp is younger than its lock: a changed lock installs again, an unchanged one costs nothing.
$(VENV)/.installed: requirements.lock pyproject.toml | $(VENV)/bin/python
	$(call install,requirements.lock)
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock pyproject.toml | $(VENV)/bin/python
	$(call install,requirements-dev.lock)
	@touch $@ $(VENV)/.installed

# Without pip: making one takes five seconds of CPU, and uv needs none.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Serinus needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv --without-pip $(VENV)

# The lock is complete, so nothing is resolved (--no-deps): what it leaves out on purpose stays out.
# uv installs ten times faster than pip. Where it is not on the PATH, the environment gets its own; where that does not
# work, pip does the same job. The project itself is built from the checkout, with what the lock has already given.
define install
	@set -e; python=$(BIN)/python; uv="$$(command -v uv || true)"; \
	if [ -z "$$uv" ]; then \
	  [ -x $(BIN)/uv ] || $(PYTHON) -m pip --python $$python install --quiet --disable-pip-version-check uv || true; \
	  [ ! -x $(BIN)/uv ] || uv=$(BIN)/uv; \
	fi; \
	if [ -n "$$uv" ] && \
	  "$$uv" pip install --quiet --python $$python --require-hashes --no-deps -r $(1) && \
	  "$$uv" pip install --quiet --python $$python --no-deps --no-build-isolation --editable .; \
	then exit 0; fi; \
	echo "uv is not there or did not work; installing with pip, which takes a little longer"; \
	$$python -m pip --version >/dev/null 2>&1 || $$python -m ensurepip >/dev/null; \
	$$python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r $(1); \
	$$python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
endef

COMPILE = $(UV) pip compile --universal --generate-hashes --no-emit-index-url --no-header --quiet --python-version 3.11 \
	  --override requirements.overrides

lock: ## Write both lock files anew; ARGS=--upgrade takes the newest versions.
	$(COMPILE) --extra build $(ARGS) pyproject.toml -o requirements.lock
	$(COMPILE) -c requirements.lock --extra build --extra dev $(ARGS) pyproject.toml -o requirements-dev.lock

proto: $(VENV)/.installed-dev ## Generate the message classes from the .proto files.
	$(BIN)/python -m grpc_tools.protoc -I . --python_out=. --pyi_out=. \
	  controller/routing/proto/router.proto controller/routing/envoy/proto/discovery.proto \
	  controller/routing/envoy/proto/resources.proto

clean: ## Remove what a run leaves: state, caches, the environment.
	rm -rf $(VENV) .serinus .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
