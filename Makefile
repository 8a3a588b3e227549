# Two commands suffice on a fresh machine with Python 3.11 and make: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Tests run in two processes; one thread each keeps them from fighting over the cores.
export OMP_NUM_THREADS ?= 1
export MPLBACKEND = Agg

.PHONY: demo test test-all lint docs bench studies clean

demo: $(VENV)/base
	@$(BIN)/tractable run dynamics-sentiment || test $$? -eq 1

test: $(VENV)/test
	$(BIN)/python -m pytest -n 2 -q -m "not slow"

test-all: $(VENV)/test
	$(BIN)/python -m pytest -n 2 -q

lint: $(VENV)/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/docs
	$(BIN)/sphinx-build -W -q -b html docs build/docs

bench: $(VENV)/test
	$(BIN)/python -m benchmarks

# Every default preset, and the page of all claims: hours on two cores; it goes on where it was stopped.
studies: $(VENV)/base
	$(BIN)/python docs/claims.py

clean:
	rm -rf build dist docs/gallery docs/reference/generated

# Every install uses the constraints: a newer torch brings gigabytes of CUDA packages.
INSTALL = $(BIN)/python -m pip install -qq -c constraints.txt -e

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/base: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) .
	@touch $@

$(VENV)/test: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) ".[test]"
	@touch $@ $(VENV)/base

$(VENV)/docs: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) ".[docs]"
	@touch $@ $(VENV)/base
