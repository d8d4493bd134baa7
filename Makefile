# On a fresh Debian 12, `make demo` and `make test` install the packages that they need: see
# README.md.

SHELL := bash
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help bootstrap demo test test-fast test-long boot-test reliability soak machines bench bench-quick bench-bootstrap fuzz mutants coverage dist deb package-test lint format docs clean

help:
	@echo "make demo         mount a sample bucket and compare every byte with the source"
	@echo "make test         run lint, type checks and the tests, also the tests that mount"
	@echo "make test-fast    run the tests without mounts, except the slowest ones, within a minute"
	@echo "make test-long    run storms, large cases and other long tests that \`make test\` leaves out"
	@echo "make boot-test    boot this Debian in a container and try the systemd units, as root"
	@echo "make reliability  inject every fault on a real mount and write docs/RELIABILITY.md"
	@echo "make soak         read a mount with random faults, compare all bytes; SECONDS=3600 SEED="
	@echo "make bench        measure the mount, its upper limits and other tools, 55 minutes"
	@echo "make bench-quick  measure only whether the performance targets are met, 3 minutes"
	@echo "make fuzz         give malformed input to every parser, SECONDS=60 for each parser"
	@echo "make machines     run the state machine tests, SECONDS=600 each, JOBS=1 at the same time"
	@echo "make mutants      change the protocol code in small ways; each time a test must fail; MODULES="
	@echo "make coverage     list the branches of the protocol code that no test executes"
	@echo "make dist         build the wheel and the sdist in dist/"
	@echo "make deb          build the Debian package in dist/"
	@echo "make package-test build and install all packages, mount a bucket with each"
	@echo "make lint         run lint and type checks only"
	@echo "make format       format the code"
	@echo "make docs         write man pages, completions and the reference of all settings"
	@echo "make clean        remove .venv and all files that the other targets have created"

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

# Two tests run at the same time, because most tests only wait for a timeout or a process. Tests
# marked `alone` measure processor time, so these tests run last, one after the other.
PARALLEL := -n 2

test: lint
	$(BIN)/pytest $(PARALLEL) -m "not alone and not boot and not package and not long"
	$(BIN)/pytest -m alone

test-long: bootstrap
	$(BIN)/pytest $(PARALLEL) -m long

test-fast: bootstrap
	$(BIN)/pytest -n 3 --hypothesis-profile fast \
	  -m "not mount and not alone and not boot and not slow and not package" --ignore tests/readme

docs: bootstrap
	$(BIN)/python -P scripts/manual.py
	$(BIN)/python scripts/reference.py

# One test after the other, because all of them use the same booted machine.
boot-test:
	@scripts/bootstrap boot
	$(BIN)/pytest -m boot tests/boot

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

dist: export PIP_CONSTRAINT := constraints.txt
dist: bootstrap
	@rm -f dist/*.whl dist/*.tar.gz
	@$(BIN)/python -P -m build

deb:
	@scripts/bootstrap packages
	@scripts/build-deb

package-test:
	@scripts/bootstrap packages
	$(BIN)/pytest -n 2 --dist loadfile tests/distribution -m package

lint: bootstrap
	PYTHON=$(BIN)/python scripts/compile-protos --check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	scripts/check-units
	$(BIN)/python -P scripts/manual.py --check

format: bootstrap
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .venv-programs build dist ./*.egg-info .coverage .fuzz .hypothesis .mutants .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
