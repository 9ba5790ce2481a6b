# Each target makes the virtual environment that it needs: a fresh clone and `make demo` are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed

export ORT_DISABLE_TELEMETRY := 1

.PHONY: demo test lint perf clean

demo: $(READY)
	$(BIN)/python models/digits/train.py
	$(BIN)/foldpress run models/digits/recipe.toml -o foldpress-run

test: lint
	$(BIN)/python -m pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

perf: $(READY)
	for script in tests/perf/*.py; do $(BIN)/python $$script || exit 1; done

clean:
	rm -rf $(VENV) foldpress-run

# Stamped only when everything is in, so that an interrupted installation is taken up again.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,models,onnxruntime-tools,train]'
	touch $@
