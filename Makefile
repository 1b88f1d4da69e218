# Every target sets up what it needs: a virtual environment in .venv with mmgan and its tools.
PYTHON ?= python3
BIN := .venv/bin
PLUGIN ?= dcgan
# The number of test processes. Each uses one thread: more would only compete for the cores.
WORKERS ?= 2
ARGS ?=
# make gpu: for how long, and where its results go.
MINUTES ?= 10
OUT ?= gpu-results

.PHONY: setup demo run test quick test-oldest check fix bench gpu wheels dist check-dist clean

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
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

quick: setup  ## The tests that are fast: about a minute.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not slow and not process" $(ARGS)

# The oldest releases that are allowed, on the lowest Python that is here, or on PYTHON=….
OLDEST := .venv-oldest/bin
LOWEST = $(shell for minor in 11 12 13 14; do python3.$$minor -c "" 2>/dev/null && echo python3.$$minor && break; done)

.venv-oldest/ready: pyproject.toml constraints/oldest.txt
	$(if $(filter file,$(origin PYTHON)),$(LOWEST),$(PYTHON)) -m venv .venv-oldest
	$(OLDEST)/pip install --quiet --constraint constraints/oldest.txt --editable '.[dev]'
	touch .venv-oldest/ready

test-oldest: .venv-oldest/ready  ## The whole test suite with constraints/oldest.txt.
	OMP_NUM_THREADS=1 $(OLDEST)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

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

# With wheels/ from `make wheels`, on a machine without network; else with what `make setup` installs.
WHEELS := $(wildcard wheels/*.whl)
GPU := $(if $(WHEELS),.venv-gpu,.venv)

.venv-gpu/ready: pyproject.toml $(WHEELS)
	$(PYTHON) scripts/offline_venv.py .venv-gpu
	touch .venv-gpu/ready

gpu: $(GPU)/ready  ## The tests and the benchmark that need a GPU, within MINUTES=10, into OUT=gpu-results.
	$(GPU)/bin/python scripts/run_gpu.py --minutes $(MINUTES) --out $(OUT)

wheels: setup  ## Pack what a machine with PyTorch for CUDA, and without network, needs for `make gpu`.
	$(BIN)/python scripts/pack_wheels.py --has scripts/cuda_image.txt $(ARGS)

dist: setup  ## Build the sdist and the wheel, into dist/.
	rm -rf dist
	$(BIN)/python -m build --no-isolation

check-dist: setup  ## Install the wheel with all that it needs into a bare environment, and train there.
	BARE=1 $(BIN)/python -m pytest --timeout 1800 tests/packages $(ARGS)

clean:
	rm -rf .venv .venv-gpu .venv-oldest build dist .pytest_cache .mypy_cache .ruff_cache
