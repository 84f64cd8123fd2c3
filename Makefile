# One command each: `make demo`, `make test`. All that is needed before: Python 3.11 or newer with venv, git, make.
# Everything is made in .venv and .journeys; `make clean` wipes the data, and .venv is yours to delete.

.SHELLFLAGS := -euc
.DEFAULT_GOAL := help
.PHONY: help venv demo test lint bench clean

DURATION ?=
PYTEST_ARGS ?=
BENCH_ARGS ?=
WIPE := .venv/bin/python -c "from pathlib import Path; from journey_pipelines.store.server import wipe; wipe(Path('.journeys'))"
PIP := .venv/bin/python -m pip --disable-pip-version-check --no-input

help: ## what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

venv: .venv/.installed ## the Python environment, from requirements.lock

.venv/.installed: requirements.lock pyproject.toml
	@echo "== .venv: looking for Python 3.11 or newer"
	@python=; \
	for name in python3.13 python3.12 python3.11 python3; do \
	    if command -v $$name >/dev/null && $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$name; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	    echo "make: no Python 3.11 or newer found; install one (Debian, Ubuntu: apt-get install python3 python3-venv)" >&2; exit 1; \
	fi; \
	version=$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	if ! $$python -c 'import venv, ensurepip' 2>/dev/null; then \
	    echo "make: $$python has no venv; install it (Debian, Ubuntu: apt-get install python3-venv, or python$$version-venv)" >&2; exit 1; \
	fi; \
	if ! .venv/bin/python -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$$version')" 2>/dev/null || ! .venv/bin/python -m pip --version >/dev/null 2>&1; then \
	    echo "== .venv: making it with $$python ($$version)"; rm -rf .venv; $$python -m venv .venv; \
	fi
	@echo "== .venv: installing requirements.lock, about a minute the first time"
	@$(PIP) install --progress-bar on --require-hashes -r requirements.lock
	@echo "== .venv: installing this project"
	@$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $@

demo: venv ## the whole product on this machine, with a shop that is not real; DURATION=120 ends by itself
	@exec .venv/bin/python -m journey_pipelines.demo $(if $(DURATION),--duration $(DURATION))

test: venv ## the test suite, on the embedded PostgreSQL or on DATABASE_URL; PYTEST_ARGS="-k zones"
	@.venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

lint: venv ## ruff, mypy, and who may import whom
	@.venv/bin/ruff check
	@.venv/bin/mypy
	@.venv/bin/lint-imports

bench: venv ## how fast it is, against hand-written SQL in the same run; twenty minutes; BENCH_ARGS="--quick branch"
	@.venv/bin/python -m benchmarks $(BENCH_ARGS)

clean: ## stop the embedded server; delete its data, the demo's state, and caches
	@if [ -e .venv/.installed ]; then $(WIPE); fi
	@rm -rf .journeys .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
