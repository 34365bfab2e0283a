# Everything works on a fresh clone: the environment is made where a target needs it.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
READY := $(VENV)/.installed
GROUPS_ := --group test --group lint --group docs
CHOSEN := $(GROUPS_) --group bench

.PHONY: help env demo test test-all lint format types bench docs constraints clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

env: $(READY) ## make the environment (.venv) that all other targets use

demo: $(READY) ## run the getting-started pipeline here, without any server
	@rm -rf .demo && mkdir .demo
	@cp dags_examples/pipelines/getting-started.yaml .demo/
	@cd .demo && "$(BIN)/magnus" execute --file getting-started.yaml --x 3
	@printf '\nThe run worked in %s\n' "$(CURDIR)/.demo"
	@cd .demo && printf '\nrun log (.run_log_store), one document a run:\n' && find .run_log_store -type f -name '*.json' -maxdepth 1 | sort | sed 's/^/  .demo\//'
	@cd .demo && printf '\ncatalog (.catalog), one folder a run:\n' && find .catalog -type f | sort | sed 's/^/  .demo\//'
	@cd .demo && printf '\ncompute data folder (data), where the step left its file:\n' && find data -type f | sort | sed 's/^/  .demo\//'
	@printf '\nAgain, by hand:  cd .demo && %s execute --file getting-started.yaml --x 3\n' "../$(VENV)/bin/magnus"

test: $(READY) ## all tests that need nothing but Python
	"$(BIN)/pytest" -m 'not external'

test-all: $(READY) ## the other tests; installs their servers and the browser from Debian first
	tests/servers/install.sh
	"$(BIN)/pytest" -m external

lint: $(READY) ## ruff, the arrows between the modules, spelling
	"$(BIN)/ruff" check
	"$(BIN)/ruff" format --check
	"$(BIN)/lint-imports"
	"$(BIN)/codespell"

format: $(READY) ## put the code in the form that lint wants
	"$(BIN)/ruff" check --fix
	"$(BIN)/ruff" format

types: $(READY) ## mypy
	"$(BIN)/mypy"

# dag-factory brings a plugin for Airflow, so it is installed beside the environment. All else that it needs Airflow has.
# s3contents needs other versions of much: it is beside the environment with all that it needs.
bench: $(READY) ## time of making DAGs, of transfers, the run log, tasks and Jupyter, against other ways; takes half an hour
	@command -v radosgw >/dev/null || tests/servers/install.sh || echo "without Ceph: its tables are left out" >&2
	@"$(BIN)/uv" pip install --quiet --python "$(BIN)/python" --target .bench/packages --no-deps -c constraints.txt --group bench
	@"$(BIN)/uv" pip install --quiet --python "$(BIN)/python" --target .bench/s3contents 's3contents==0.11.*' 'jupyter-server>=2.14'
	@"$(BIN)/python" -m compileall -q provider  # as an installed package is
	"$(BIN)/python" -m bench --output .bench/results.md

docs: $(READY) ## the documentation, into site/
	NO_MKDOCS_2_WARNING=1 "$(BIN)/mkdocs" build --strict --quiet --config-file docs/mkdocs.yml --site-dir "$(CURDIR)/site"
	@echo "open site/index.html"

constraints: $(READY) ## choose the versions in constraints.txt anew
	@printf '%s\n' hatchling uv > .constraints.in
	@rm -f .constraints.out
	"$(BIN)/uv" pip compile pyproject.toml .constraints.in --all-extras $(CHOSEN) --universal --python-version 3.11 \
		--fork-strategy fewest --no-annotate --no-header --no-emit-index-url --quiet --output-file .constraints.out
	@# Markers other than of the Python version are left out: a constraint installs nothing.
	@{ grep '^#' constraints.txt; sed -E "s/ ; python_full_version < '3\.15'$$//; /python_full_version [<>]=? '3\.1[0-9]'$$/!s/ ; .*//" .constraints.out; } > .constraints.new
	@mv .constraints.new constraints.txt && rm -f .constraints.in .constraints.out

clean: ## remove what these targets made, but for the environment
	rm -rf .demo .bench site dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

# The first Python of 3.11 to 3.13 that can make an environment. Debian's has its venv module in a package of its own.
# One whose Python is gone is made anew.
$(VENV)/bin/python:
	@rm -rf $(VENV)
	@for name in python3.12 python3.13 python3.11 python3; do \
		"$$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null || continue; \
		found="$$name"; \
		echo "making $(VENV) with $$("$$name" --version)"; \
		"$$name" -m venv $(VENV) >/dev/null 2>&1 && exit 0; \
		rm -rf $(VENV); \
	done; \
	if [ -z "$${found:-}" ]; then \
		echo "Python 3.11, 3.12 or 3.13 is needed, and none is on the PATH." >&2; exit 1; \
	fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "$$found cannot make environments: installing Debian's python3-venv"; \
		apt-get update -qq >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null \
			&& python3 -m venv $(VENV) && exit 0; \
		rm -rf $(VENV); \
	fi; \
	echo "$$found cannot make environments: install its venv module (on Debian: apt-get install python3-venv)." >&2; exit 1

$(READY): $(VENV)/bin/python pyproject.toml constraints.txt
	@[ -x "$(BIN)/uv" ] || { "$(BIN)/python" -m pip --version >/dev/null 2>&1 || "$(BIN)/python" -m ensurepip >/dev/null; \
		"$(BIN)/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt uv; }
	@echo "installing into $(VENV) the versions that constraints.txt names"
	@"$(BIN)/uv" pip install --quiet --compile-bytecode --python "$(BIN)/python" -c constraints.txt -b constraints.txt \
		-e '.[notebook,database,jupyter]' $(GROUPS_)
	@touch $@
