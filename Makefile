# Every target sets up what it needs: a virtual environment in .venv with mmgan and its tools.
PYTHON ?= python3
BIN := .venv/bin
PLUGIN ?= dcgan
# The number of test processes. Each uses one thread: more would only compete for the cores.
WORKERS ?= 2
ARGS ?=

.PHONY: setup demo run test quick check fix bench dist check-dist clean

setup: .venv/ready

.venv/ready: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch .venv/ready

demo: setup  ## Train a DCGAN on the embedded digits for a few minutes, and say where its pictures are.
	$(BIN)/mmgan run --plugin dcgan --steps 4000 --set width=32 $(ARGS)
	@echo "The command mmgan is in $(BIN): put it on your PATH with  source $(BIN)/activate" >&2

run: setup  ## make run PLUGIN=gan ARGS="--data ring --steps 2000"
	$(BIN)/mmgan run --plugin $(PLUGIN) $(ARGS)

test: setup  ## The whole test suite.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

quick: setup  ## The tests that are fast: about a minute.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) -m "not slow and not process" $(ARGS)

check: setup  ## Style, types, and whether docs and help are up to date.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python docs/generate.py --check

fix: setup  ## Fix style where a tool can.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup  ## Benchmark against plain PyTorch loops (30 min; use an idle machine).
	$(BIN)/python benchmarks/table.py $(ARGS)

dist: setup  ## Build the sdist and the wheel, into dist/.
	rm -rf dist
	$(BIN)/python -m build --no-isolation

check-dist: setup  ## Install the wheel with all that it needs into a bare environment, and train there.
	BARE=1 $(BIN)/python -m pytest --timeout 1800 tests/packages $(ARGS)

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache
