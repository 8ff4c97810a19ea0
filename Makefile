# make demo: a search on scikit-learn's digits, from a fresh machine with python3 and make to a picture of the cell.
# make test: linter, formatter, types and tests.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint clean

demo: $(VENV)/installed
	$(BIN)/python tools/train_search.py --config configs/smoke/digits_twostage.yaml

test: lint
	$(BIN)/python -m pytest --durations=10

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/installed: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --requirement requirements.txt
	touch $@

$(VENV)/installed-dev: requirements-dev.txt $(VENV)/installed
	$(BIN)/pip install --quiet --requirement requirements-dev.txt
	touch $@

clean:
	rm -rf $(VENV)
