# `make demo` and `make test` need nothing beforehand but Python >= 3.11 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2

export OMP_NUM_THREADS ?= 1

.PHONY: demo test test-all check format docs site bench clean

demo: $(VENV)/installed
	$(BIN)/svtool demo demo --force

test: $(VENV)/installed-dev
	$(BIN)/python -m pytest -n $(WORKERS) -m "not slow and not gpu"

test-all: $(VENV)/installed-dev
	$(BIN)/python -m pytest -n $(WORKERS) -m "not gpu"

check: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(MAKE) test

format: $(VENV)/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/installed-dev
	$(BIN)/pip install -q -e ".[bench]"
	for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

# Pages that svtool writes about itself; tests hold them equal to it.
docs: $(VENV)/installed
	env -u HF_ENDPOINT $(BIN)/svtool models --markdown > docs/models.md.new
	mv docs/models.md.new docs/models.md
	$(BIN)/python docs/make_commands.py > docs/commands.md.new
	mv docs/commands.md.new docs/commands.md

# The documentation site, in build/site; a broken link or reference is an error.
site: $(VENV)/installed-site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --clean

clean:
	rm -rf $(VENV) demo build dist

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -e .
	touch $@

$(VENV)/installed-dev: pyproject.toml $(VENV)/installed
	$(BIN)/python -m pip install -q -e ".[dev]"
	touch $@

$(VENV)/installed-site: pyproject.toml $(VENV)/installed
	$(BIN)/python -m pip install -q -e ".[site]"
	touch $@
