# Everything one does with this project. Each target sets itself up; `make help` lists them.
# PYTHON=... names the interpreter to build on; otherwise the first that fits is taken.
export PYTHON
# The tests start hundreds of processes, which need not compile the same modules each.
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
LOWEST := .cache/venv-lowest
FUZZ := .cache/venv-fuzz
PEERS := .cache/venv-peers
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check
COVERAGE_FLOOR := 90
WORKERS := --numprocesses=auto --maxprocesses=8 --dist=worksteal

# For how long `make fuzz` hunts in each of its targets.
SECONDS ?= 3600

# What `make oracle` builds the network's contract host into, and the contracts it is given.
ORACLE_BUILD ?= .cache/oracle
WASM ?=

.PHONY: help demo test check bench attacks peers test-lowest oracle clean fuzz
.DEFAULT_GOAL := help

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | while IFS='|' read -r target text; do \
	  printf '%-20s %s\n' "  $$target" "$$text"; done

demo: $(VENV)/installed ## watch an agent pay a FastAPI app, on an embedded Stellar network
	@$(VENV)/bin/python -m example_app.demo

test: $(VENV)/installed ## every test, in parallel, with branch coverage
	$(VENV)/bin/python -m pytest $(WORKERS) --cov --cov-fail-under=$(COVERAGE_FLOOR)

check: $(VENV)/installed ## lint, format, types, import rules
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-cache

bench: $(VENV)/installed ## every figure the README quotes, into benchmarks/results/
	$(VENV)/bin/python -m benchmarks

attacks: $(VENV)/installed ## attack a running shop in every way we know, and count what it loses
	$(VENV)/bin/python -m tests.attacks --write

peers: $(PEERS)/installed ## attack our shop beside those that might be picked instead, and count what each loses
	$(PEERS)/bin/python -m benchmarks.peers --write

test-lowest: $(LOWEST)/installed ## every test, on the lowest versions we declare
	$(LOWEST)/bin/python -m pytest $(WORKERS)

oracle: $(VENV)/installed ## ask the network's own contract host anew (needs cargo; WASM="name=file.wasm ...")
	CARGO_TARGET_DIR=$(abspath $(ORACLE_BUILD)) nice cargo build --release --locked --quiet \
	  --manifest-path tests/oracle/host/Cargo.toml
	$(VENV)/bin/python -m tests.oracle $(ORACLE_BUILD)/release/oracle $(WASM)

fuzz: $(FUZZ)/installed ## hunt with a fuzzer in all that reads strangers' bytes (SECONDS=3600 each)
	$(FUZZ)/bin/python -m tests.fuzz --seconds $(SECONDS)

clean: ## back to a fresh checkout: environments, caches, coverage
	rm -rf $(VENV) .cache .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage* build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/installed: pyproject.toml
	@.ci/venv $(VENV)
	@echo "Installing into $(VENV) (once, about half a minute) ..."
	@$(VENV)/bin/python $(PIP_INSTALL) --editable '.[dev]'
	@touch $@

$(LOWEST)/installed: pyproject.toml requirements/lowest.txt
	@.ci/venv $(LOWEST)
	@echo "Installing the lowest versions into $(LOWEST) ..."
	@$(LOWEST)/bin/python $(PIP_INSTALL) --editable '.[dev]' --constraint requirements/lowest.txt
	@touch $@

$(FUZZ)/installed: pyproject.toml
	@.ci/venv $(FUZZ)
	@echo "Installing into $(FUZZ) ..."
	@$(FUZZ)/bin/python $(PIP_INSTALL) --editable '.[dev,fuzz]'
	@touch $@

$(PEERS)/installed: pyproject.toml requirements/peers.txt
	@.ci/venv $(PEERS)
	@echo "Installing into $(PEERS) ..."
	@$(PEERS)/bin/python $(PIP_INSTALL) --editable '.[dev]' --requirement requirements/peers.txt
	@touch $@
