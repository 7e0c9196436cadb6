# Two commands do all the set-up on a machine with Python 3.11+ and make: `make up` and `make test`.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

UV_VERSION := 0.13.9
UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)
MEMBERS := core api worker controller cli examples
READY := .venv/.ready
RUN := . .venv/bin/activate &&

.PHONY: up smoke test lint format lock docs bench e2e faults mutants nightly help clean

up: $(READY)  ## start everything on embedded servers, run one real job, serve until Ctrl-C
	@$(RUN) exec longhaul up

smoke: $(READY)  ## as `up`, but ends with the job: exit code 0 = it succeeded
	@$(RUN) exec longhaul up --once

test: $(READY)  ## every test that this machine can run
	@$(RUN) pytest -n 3 --dist worksteal

lint: $(READY)  ## ruff, mypy strict, the layers, Dockerfiles
	@$(RUN) ruff format --check . && ruff check . && mypy && lint-imports && hadolint services/*/Dockerfile

format: $(READY)  ## rewrite the code as ruff wants it
	@$(RUN) ruff format . && ruff check --fix .

bench: $(READY)  ## ratios against an ordinary blueprint, into build/bench.json
	@$(RUN) python -m tests.bench

docs: $(READY)  ## write the generated reference pages again
	@$(RUN) python -m docs.generate

e2e: $(READY)  ## on the cluster of KUBECONFIG: build and load the images, install, scale, break, and print figures
	@$(RUN) python -m tests.e2e.images && pytest -n 3 --dist loadfile tests/e2e

faults: $(READY)  ## every fault, and a mixed run of FAULTS_MINUTES (30), into build/faults.md; an hour in all
	@$(RUN) python -m tests.faults

mutants: $(READY)  ## break one rule of the code at a time: a named test must notice each, into build/mutants.json
	@$(RUN) python -m tests.mutants

nightly: faults mutants bench  ## what takes too long for every commit

lock: $(UV)  ## resolve the dependencies again, with hashes and without hosts
	$(UV) pip compile --quiet --universal --generate-hashes --no-header --python-version 3.11 requirements.in \
	  $(MEMBERS:%=--no-emit-package longhaul-%) --no-emit-package longhaul -o requirements.txt

clean:  ## remove the environment and what was built
	rm -rf .venv .uv build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

help:  ## this list
	@sed -n 's/^\([a-z0-9]*\):.*  ## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

$(READY): $(UV) requirements.txt $(MEMBERS:%=services/%/pyproject.toml)
	@test -x .venv/bin/python || $(UV) venv --quiet --python '>=3.11' .venv
	@VIRTUAL_ENV=.venv $(UV) pip sync --quiet --require-hashes requirements.txt
	@VIRTUAL_ENV=.venv $(UV) pip install --quiet --no-deps --no-build-isolation $(MEMBERS:%=-e services/%)
	@touch $@

.uv/bin/uv:
	@for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	  if $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    $$p -m venv .uv && .uv/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION); exit; fi; done; \
	  echo "Longhaul needs Python 3.11 or newer: install it (or uv) and run make again." >&2; exit 1
