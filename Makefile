# On a fresh machine, `make demo` and `make test` need Python 3.11 or newer and nothing before them.
# Another Python: `make demo PYTHON=python3.12`. Everything is installed into .venv, nothing elsewhere.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
OPTIONAL := $(VENV)/.installed-optional
STARTED := $(VENV)/.started

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.PHONY: help install install-all demo test test-slow test-lowest lint docs format clean

help:  ## name the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

install: $(INSTALLED)  ## make .venv with the pinned stack

install-all: $(OPTIONAL)  ## the same with what is optional; the slow tests try that too

# Stamps are written last. Where an install was killed half-way, $(STARTED) still lies there and the environment is
# made anew: pip cannot tell a half-unpacked package from a whole one. Without --no-compile, pip spends a minute on
# byte code of which most is never run; what is imported is compiled then.
define pip_install
	touch $(STARTED)
	$(BIN)/python -m pip install --no-compile --constraint constraints.txt --editable '.[$(EXTRAS)]' || { rm -f $(STARTED); exit 1; }
	@rm -f $(STARTED) && touch $@
endef

$(INSTALLED): EXTRAS = test,lint,notebooks,docs
$(INSTALLED): setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "diffcam needs Python 3.11 or newer: make PYTHON=python3.11")'
	@if [ -e $(STARTED) ]; then echo "An earlier install was cut off; starting anew."; rm -rf $(VENV); fi
	@rm -f $@
	$(PYTHON) -m venv $(VENV)
	$(pip_install)

$(OPTIONAL): EXTRAS = test,lint,notebooks,docs,ray,baselines,raytrace
$(OPTIONAL): $(INSTALLED)
	$(pip_install)

# Threads that wait for each other sleep instead of spinning: on a machine that does something else besides, spinning
# made training ten times slower; on an idle one it gains little.
export OMP_WAIT_POLICY := passive

DEMO := outputs/demo
SCENE := $(DEMO)/000000

demo: $(INSTALLED)  ## train for a moment, print the metric table, refocus a photo
	rm -rf $(DEMO) && mkdir -p $(DEMO)
	$(BIN)/lightning fit --config configs/refocus.yaml --trainer.max_steps 60 --data.init_args.samples_per_epoch 320 \
	  --trainer.val_check_interval 30 --trainer.limit_val_batches 2 \
	  --trainer.default_root_dir $(DEMO) --trainer.logger.init_args.save_dir $(DEMO) --trainer.logger.init_args.name fit
	$(BIN)/lightning test --config configs/refocus.yaml --trainer.limit_test_batches 40 \
	  --trainer.default_root_dir $(DEMO) --trainer.logger.init_args.save_dir $(DEMO) --trainer.logger.init_args.name test
	$(BIN)/python -m tarfile -e data_shards/heldout-stereo-000000.tar $(DEMO)  # a shard is a tar of plain files
	$(BIN)/diffcam refocus $(SCENE).image.jpg --depth $(SCENE).disparity.png --focus 0.35,0.62 --bokeh 12 --output $(DEMO)/near.jpg
	$(BIN)/diffcam refocus $(SCENE).image.jpg --depth $(SCENE).disparity.png --focus 0.65,0.12 --bokeh 12 --output $(DEMO)/far.jpg
	@printf '\nThe pictures:\n'
	@printf '  %s\n' $(DEMO)/fit/*/samples/*.png $(SCENE).image.jpg $(DEMO)/near.jpg $(DEMO)/far.jpg

# Two processes: the tests are made for one thread each. A file stays in one of them, with what it prepares.
PYTEST := $(BIN)/python -m pytest --numprocesses 2 --dist loadfile

test: $(INSTALLED)  ## the tests that together take a few minutes
	$(PYTEST) -m 'not slow'

test-slow: $(OPTIONAL)  ## the tests that train, or render much
	$(PYTEST) -m slow

# What each declared dependency is needed for, at its lowest version: command line, training, models, metrics, shards.
LOWEST := .venv-lowest
LOWEST_TESTS := tests/commands/test_lightning_cli.py tests/tasks/test_refocus.py tests/models tests/metrics \
  tests/kernels/test_render_bokeh.py tests/data/test_shards.py tests/data/test_datamodule.py tests/test_pipeline.py

test-lowest: $(INSTALLED)  ## quick tests with the lowest versions that setup.cfg admits
	@$(BIN)/uv pip compile --quiet --python $(BIN)/python --resolution lowest-direct --extra test setup.cfg >/dev/null \
	  || { echo "Skipped: the package registry lacks a lowest version, see above."; exit 0; }; \
	$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python $(LOWEST); \
	$(BIN)/uv pip install --python $(LOWEST)/bin/python --resolution lowest-direct --upgrade --editable '.[test]'; \
	$(LOWEST)/bin/python -m pytest --numprocesses 2 --dist loadfile -m 'not slow' $(LOWEST_TESTS)

lint: $(INSTALLED)  ## style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(INSTALLED)  ## build the site with the reference of every public name into build/docs
	$(BIN)/python -m sphinx --builder html --fail-on-warning --keep-going --quiet docs build/docs

format: $(INSTALLED)  ## rewrite the files in the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove what runs wrote; keep .venv
	rm -rf outputs lightning_logs build dist .pytest_cache .mypy_cache .ruff_cache
