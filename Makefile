# make demo and make test do everything on a fresh Debian 12: see README.md.

SHELL := bash
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help bootstrap demo test reliability soak machines bench bench-quick bench-bootstrap fuzz mutants coverage lint format clean

help:
	@echo "make demo         mount a sample bucket for real and compare every byte"
	@echo "make test         lint, types and all tests, real mounts included"
	@echo "make reliability  play all faults on a real mount and write docs/RELIABILITY.md anew"
	@echo "make soak         an hour of random faults, all bytes compared; SECONDS= and SEED= as you like"
	@echo "make bench        measure the mount beside its limits and its peers, half an hour"
	@echo "make bench-quick  the same for the targets alone, 3 minutes"
	@echo "make fuzz         feed bad input to all that reads any, SECONDS=60 for each reader"
	@echo "make machines     run the model-based state machines, SECONDS=600 each, JOBS=1 at a time"
	@echo "make mutants      break the protocol's rooms in every small way and see a test fail; MODULES="
	@echo "make coverage     tell which branches of those rooms no test takes"
	@echo "make lint         lint and types alone"
	@echo "make format       format the code"
	@echo "make clean        remove what the others have made, .venv included"

bootstrap:
	@scripts/bootstrap

demo: bootstrap
	@$(BIN)/python scripts/demo.py

bench-bootstrap:
	@scripts/bootstrap bench

bench: bench-bootstrap
	@$(BIN)/python -m benchmarks.bench

bench-quick: bench-bootstrap
	@$(BIN)/python -m benchmarks.bench --quick

fuzz: SECONDS ?= 60
fuzz:
	@scripts/bootstrap fuzz
	@$(BIN)/python -m tests.fuzz --seconds $(SECONDS) $(TARGETS)

test: lint
	$(BIN)/pytest

reliability: bootstrap
	$(BIN)/pytest tests/reliability --write-reliability

soak: SECONDS ?= 3600
soak: bootstrap
	@$(BIN)/python -m tests.soak --seconds $(SECONDS) $(if $(SEED),--seed $(SEED)) \
	  --output docs/soak/$$(date -u +%FT%H%M).json

machines: SECONDS ?= 600
machines: bootstrap
	@$(BIN)/python -m tests.machines --seconds $(SECONDS) $(if $(JOBS),--jobs $(JOBS)) \
	  --output docs/machines/$$(date -u +%FT%H%M).json $(MACHINES)

mutants:
	@scripts/bootstrap mutation
	@$(BIN)/python -m tests.mutation $(MODULES)

coverage:
	@scripts/bootstrap mutation
	@$(BIN)/pytest -q --cov --cov-report=term-missing:skip-covered \
	  tests/mux tests/model tests/reading

lint: bootstrap
	PYTHON=$(BIN)/python scripts/compile-protos --check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	scripts/check-units

format: bootstrap
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv build dist ./*.egg-info .coverage .fuzz .hypothesis .mutants .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
