# Every verb does its own set-up, in a virtual environment of the project. `make help` lists the verbs.
#   PYTHON=python3.13     the interpreter to make that environment with; a .venv made by another version is replaced
#   ARGS="-k s3 -x"       more arguments for test, bench, bench-smoke and demo
#   WORKERS=0             how many processes share the tests; 0 runs them in one
#   REQUIRE_ALL=1         services fails if a server is missing
PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
# Most cells wait for a timeout.
FAULT_WORKERS ?= 3
ARGS ?=

# uv trusts the certificates of the machine, as pip does, so that it works behind a proxy with a certificate of its own.
export UV_SYSTEM_CERTS ?= 1

BIN := $(VENV)/bin
PY := $(BIN)/python
READY := $(VENV)/.ready
TOOLS_READY := $(VENV)/.tools
LOWEST := .venv-lowest
# The tools of tests/integrations/serve/test_tools.py are not among the oldest versions.
LOWEST_TESTS := tests/portable tests/fs tests/integrations tests/test_versions.py \
	--ignore tests/integrations/serve/test_tools.py
SERVERS := PATH="$(CURDIR)/.cache/azurite/node_modules/.bin:$$PATH"

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-lowest faults faults-compared crashes soak services tools fuzz docs check format bench bench-smoke build clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(READY) ## read real Parquet from a real S3 server on this machine, next to s3fs
	@$(PY) examples/quickstart.py $(ARGS)

test: $(READY) ## all tests but the long ones: faults, soak, services, tools
	@$(PY) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

test-lowest: $(LOWEST)/.ready ## the tests of the core and the adapters with the oldest versions that are supported
	@$(LOWEST)/bin/python -m pytest -n $(WORKERS) --dist loadfile -W default $(if $(ARGS),$(ARGS),$(LOWEST_TESTS))

faults: $(READY) ## every operation under every fault; writes docs/faults.md
	@mkdir -p .cache && rm -f .cache/faults.jsonl
	@OPENDALFS_FAULTS=.cache/faults.jsonl $(PY) -m pytest tests/faults tests/storage/test_throttling.py \
		-n $(FAULT_WORKERS) --dist loadscope -m "not soak and not services and not peers" $(ARGS)
	@if [ -z "$(ARGS)" ]; then $(PY) -m tests.faults.table .cache/faults.jsonl; fi

faults-compared: $(READY) ## the same for other libraries, after faults; writes docs/faults_compared.md
	@rm -f .cache/peers.jsonl
	@OPENDALFS_FAULTS=.cache/peers.jsonl $(PY) -m pytest tests/faults -n $(FAULT_WORKERS) --dist loadscope -m peers $(ARGS)
	@if [ -z "$(ARGS)" ]; then $(PY) -m tests.faults.table .cache/faults.jsonl .cache/peers.jsonl; fi

crashes: $(READY) ## processes that are killed, interrupted, forked or exit in the middle of an operation
	@$(PY) -m pytest tests/crashes -n $(WORKERS) -m "not soak and not services" $(ARGS)

soak: $(READY) ## threads and tasks for long, and objects of 2 GB: memory, open files and threads stay flat
	@$(PY) -m pytest -n 0 -m soak $(ARGS)

services: $(READY) ## tests on all servers, which it installs as far as it can; writes docs/services.md
	@tests/install_servers.sh
	@$(SERVERS) $(PY) -m pytest -n $(WORKERS) --dist loadfile -m services --ignore tests/conformance $(ARGS)
	@mkdir -p .cache && rm -f .cache/services.jsonl
	@$(SERVERS) OPENDALFS_SERVICES=.cache/services.jsonl $(PY) -m pytest tests/conformance \
		-n $(WORKERS) --dist loadgroup -m "services or not services" $(ARGS)
	@if [ -z "$(ARGS)" ]; then $(PY) -m tests.conformance.table .cache/services.jsonl $(if $(REQUIRE_ALL),--require-all); fi

tools: $(TOOLS_READY) ## other programs over opendalfs: those of docs/tools.md, docs/serve.md and clusters; installs them
	@$(PY) -m pytest -n $(WORKERS) --dist loadfile -m tools $(ARGS)

fuzz: $(READY) ## random changes against a model, and random input, for some minutes
	@$(PY) -m pytest -n $(WORKERS) --hypothesis-profile=fuzz tests/models tests/fuzz $(ARGS)

# The theme warns of a mkdocs 2, which does not exist yet.
docs: $(READY) ## the site of the documentation, in site/; a broken link fails
	@NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --quiet $(ARGS)

check: $(READY) docs ## formatting, lint, types, which layer imports which, and the documentation
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) -m mypy
	@$(BIN)/lint-imports

format: $(READY) ## rewrite the code in the project's format, and mend what lint can mend
	@$(PY) -m ruff check --fix-only .
	@$(PY) -m ruff format .

bench: $(READY) ## measure against s3fs and the engines' own readers
	@$(PY) -m benchmarks $(ARGS)

bench-smoke: $(READY) ## the same in small: that it runs, not how fast
	@$(PY) -m benchmarks --smoke $(ARGS)

build: $(READY) ## the sdist and the wheel, in dist/, checked
	@rm -rf dist
	@$(PY) -m build --no-isolation --outdir dist .
	@OPENDALFS_TEST_DIST=dist $(PY) -m pytest -q tests/test_packaging.py $(ARGS)

clean: ## remove what the other verbs made, the environment too
	rm -rf $(VENV) $(LOWEST) build dist site .cache .benchmarks .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

define LIST_TOOLS
import tomllib
with open("pyproject.toml", "rb") as file:
    print(*tomllib.load(file)["project"]["optional-dependencies"]["tools"], sep="\n")
endef
export LIST_TOOLS

# Where they cannot all be installed, each of them that can.
$(TOOLS_READY): $(READY)
	@echo "installing the tools into $(VENV)"
	@$(BIN)/uv pip install --quiet --python $(PY) -c constraints.txt -e '.[tools]' \
		|| $(PY) -c "$$LIST_TOOLS" | while read -r tool; do \
			$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt "$$tool" \
				|| echo "not installed, so its tests are skipped: $$tool"; \
		done
	@touch $@

# PYTHON, when given, is honoured: an environment of another version counts as out of date.
ifneq ($(origin PYTHON),file)
ifneq ($(wildcard $(PY)),)
ifneq ($(shell $(PY) -V),$(shell $(PYTHON) -V))
.PHONY: $(READY)
REPLACE := --clear
endif
endif
endif

# uv installs in seconds what pip takes minutes to resolve; where uv or its way to the index fails, pip does it, as
# that is what the machine's own proxies and mirrors are configured for.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "opendalfs needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) -V 2>&1 || true)." >&2; \
		echo "Name another one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@if [ -n "$(REPLACE)" ] || ! [ -x $(PY) ]; then \
		echo "making $(VENV) with $$($(PYTHON) -V)"; \
		$(PYTHON) -m venv $(REPLACE) $(VENV) || { \
			echo "That Python cannot make virtual environments (on Debian and Ubuntu: apt install python3-venv)." >&2; \
			exit 1; }; \
	fi
	@echo "installing opendalfs and its tools into $(VENV)"
	@mkdir -p .cache; set -- --quiet -c constraints.txt -e '.[dev]'; \
	{ $(PY) -m pip install --quiet --quiet --disable-pip-version-check -c constraints.txt uv \
		&& $(BIN)/uv pip install --python $(PY) "$$@"; } 2>.cache/uv.log \
	|| { echo "uv could not do it (.cache/uv.log says why); pip does, in some minutes"; \
		$(PY) -m pip install --quiet --disable-pip-version-check "$$@"; }
	@touch $@

# Its own versions of all packages, those of the tests too: s3fs and the SDKs of that time go with the fsspec of that
# time. The extra `test` has bounds above them.
$(LOWEST)/.ready: $(READY) pyproject.toml constraints-lowest.txt
	@echo "installing the oldest versions into $(LOWEST)"
	@$(PY) -m venv --clear $(LOWEST)
	@set -- --quiet -r constraints-lowest.txt -e '.[all]'; \
	$(BIN)/uv pip install --python $(LOWEST)/bin/python "$$@" \
		|| $(LOWEST)/bin/python -m pip install --disable-pip-version-check "$$@"
	@touch $@
