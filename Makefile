# make demo: from a fresh machine with python3 and make to a searched, trained, tested and exported network, on
# scikit-learn's digits; a random cell in the same network beside it.
# make test: linter, formatter, types and tests.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := runs/demo
TRAIN := tools/evaluate.py --config configs/smoke/digits_evaluate.yaml

.PHONY: demo test lint clean

demo: $(VENV)/installed
	@test ! -e $(DEMO) || { echo "$(DEMO) is there already; remove it to run the demo again"; exit 2; }
	$(BIN)/python tools/train_search.py --config configs/smoke/digits_sampled_recovery.yaml --run_dir $(DEMO)/search
	$(BIN)/python $(TRAIN) --arch $(DEMO)/search --run_dir $(DEMO)/found
	$(BIN)/python $(TRAIN) --arch random:0 --run_dir $(DEMO)/random
	$(BIN)/python tools/test.py $(DEMO)/found
	$(BIN)/python tools/export.py $(DEMO)/found --format onnx
	$(BIN)/python tools/summarize.py $(DEMO)/search $(DEMO)/found $(DEMO)/random

test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations=10

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/installed: requirements.txt pyproject.toml setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --requirement requirements.txt
	$(BIN)/pip install --quiet --no-deps --editable .
	touch $@

$(VENV)/installed-dev: requirements-dev.txt $(VENV)/installed
	$(BIN)/pip install --quiet --requirement requirements-dev.txt
	touch $@

clean:
	rm -rf $(VENV)
