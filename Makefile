# Every verb does its own set-up and remembers it with a stamp, so that a second run starts at once.
#   make demo   the whole story on real data, in its own folder var/demo, with a report
#   make up     chain, portal, workers and four party nodes until Ctrl-C; state in var/up
#   make test   static checks, contract tests, Python tests; ARGS="tests/accel -k sm2" for some
#   make lint   ruff, mypy --strict, import layers, types of the front end
#   make bench  NAME=psi ARGS=--quick
#   make clean  run state and built files; `make distclean` also the environments

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
NAME ?= psi
ARGS ?=
export PATH := $(CURDIR)/$(BIN):$(PATH)

# The first interpreter that is new enough and able to make a virtual environment.
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13 python3.14; do \
	$$p -c 'import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))' 2>/dev/null \
	&& { command -v $$p; break; }; done)
NODE_OK = $(shell node -e 'process.exit(process.versions.node.split(".")[0] >= 20 ? 0 : 1)' 2>/dev/null && echo yes)

FRONTEND_SOURCES := $(shell find frontend -type f \( -name '*.ts' -o -name '*.css' -o -name '*.mjs' -o -name 'tsconfig.json' \) \
	-not -path 'frontend/static/build/*' 2>/dev/null)
KERNELS := $(wildcard accel/*.py accel/cpu/*.py)
CATALOGUES := $(wildcard frontend/locale/*/LC_MESSAGES/*.po)

.PHONY: help demo up test lint format bench clean distclean setup setup-dev lock

help:
	@sed -n '2,7s/^# *//p' Makefile

demo: setup
	@$(PY) -m compute.demo $(ARGS)

up: setup
	@exec $(PY) -m market.supervisor $(ARGS)

# These start nodes, whole markets or a browser, and keep all cores busy by themselves.
ALONE := tests/compute/eaas tests/compute/node tests/e2e tests/market/test_services_outgrown.py \
	tests/portal/test_browser.py tests/portal/test_journey.py tests/supervisor
test: lint
ifdef ARGS
	@$(PY) -m pytest $(ARGS)
else
	@$(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ALONE:%=--ignore=%)
	@$(PY) -m pytest $(ALONE)
endif

lint: setup-dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@npm run --silent check

format: setup-dev
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: setup-dev
	@$(PY) -m bench $(NAME) $(ARGS)

clean:
	rm -rf $(STAMPS)/kernels var frontend/static/build contracts/cache contracts/out .pytest_cache .mypy_cache .ruff_cache \
		.import_linter_cache .hypothesis frontend/locale/*/LC_MESSAGES/*.mo
	find . -name __pycache__ -type d -not -path './.venv/*' -not -path './node_modules/*' -prune -exec rm -rf {} +

distclean: clean
	rm -rf .venv node_modules liutong.egg-info .bench-envs

# --- set-up ------------------------------------------------------------------------------------------

STAMPS := $(VENV)/.stamps
BUILT := node_modules/.stamp frontend/static/build/.stamp $(STAMPS)/catalogues $(STAMPS)/kernels
setup: $(STAMPS)/runtime $(BUILT)
setup-dev: $(STAMPS)/dev $(BUILT)

# pip serves once, to fetch the locked installer; everything else goes through that.
$(STAMPS)/bootstrap: requirements/bootstrap.txt
	@[ -n "$(PYTHON)" ] || { echo "Python 3.11 to 3.14 with the venv module is needed (Debian: apt install python3-venv)" >&2; exit 2; }
	@echo "· virtual environment in $(VENV) from $(PYTHON)"
	@[ -x $(PY) ] || $(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install -q --disable-pip-version-check --require-hashes -r $<
	@mkdir -p $(STAMPS) && touch $@

# Development packages are a superset: once there, `make demo` does not take them away again.
$(STAMPS)/runtime: requirements/runtime.txt pyproject.toml $(STAMPS)/bootstrap
	@if [ -e $(STAMPS)/dev ]; then $(MAKE) -s --no-print-directory $(STAMPS)/dev; else \
		echo "· Python packages (requirements/runtime.txt)"; \
		$(call sync,requirements/runtime.txt); fi
	@touch $@

$(STAMPS)/dev: requirements/dev.txt pyproject.toml $(STAMPS)/bootstrap
	@echo "· Python packages (requirements/dev.txt)"
	@$(call sync,requirements/dev.txt)
	@touch $@

# The bootstrap list rides along, or the sync would remove what it does not name. pip's own index
# settings are the user's; uv reads only its own, so hand the common ones over.
define sync
	cat requirements/bootstrap.txt $(1) > $(STAMPS)/all.txt && \
	$(BIN)/uv pip sync -q --python $(PY) --require-hashes $(STAMPS)/all.txt && \
	$(BIN)/uv pip install -q --python $(PY) --no-deps --no-build-isolation --no-index -e . && \
	rm -f node_modules/.stamp
endef

node_modules/.stamp: package.json package-lock.json requirements/node.txt | $(STAMPS)/bootstrap
	@if [ "$(NODE_OK)" != yes ]; then echo "· Node from requirements/node.txt"; \
		$(BIN)/uv pip install -q --python $(PY) --require-hashes -r requirements/node.txt; fi
	@echo "· npm packages (package-lock.json)"
	@npm ci --ignore-scripts --silent --no-progress || npm ci --ignore-scripts --no-progress # again, aloud
	@for tool in anvil forge; do [ -e node_modules/.bin/$$tool ] \
		|| ln -s ../@foundry-rs/$$tool/bin.mjs node_modules/.bin/$$tool; done # npm 10 drops a name that two packages claim
	@touch $@

frontend/static/build/.stamp: node_modules/.stamp $(FRONTEND_SOURCES)
	@echo "· front end"
	@npm run --silent --if-present build
	@mkdir -p $(@D) && touch $@

$(STAMPS)/catalogues: $(CATALOGUES) | $(STAMPS)/runtime-any
	@echo "· message catalogues"
	@VAR_DIR=var/setup $(PY) manage.py compile_catalogues --verbosity 0 >/dev/null
	@touch $@

# Compiled here once, or the first job of a node would wait for it.
$(STAMPS)/kernels: $(KERNELS) | $(STAMPS)/runtime-any
	@echo "· arithmetic kernels for this processor"
	@$(PY) -m accel.warm >/dev/null
	@touch $@

# Either set of packages brings pybabel and numba.
.PHONY: $(STAMPS)/runtime-any
$(STAMPS)/runtime-any:
	@[ -e $(STAMPS)/dev ] || $(MAKE) -s --no-print-directory $(STAMPS)/runtime

# --- locks -------------------------------------------------------------------------------------------

LOCK := $(BIN)/uv pip compile -q --universal --generate-hashes --python-version 3.11 --no-emit-index-url --no-annotate --no-header
lock: $(STAMPS)/bootstrap
	$(LOCK) pyproject.toml --extra demo --extra dev -o requirements/dev.txt
	$(LOCK) pyproject.toml --extra demo -c requirements/dev.txt -o requirements/runtime.txt
	$(PY) requirements/lock_npm.py
