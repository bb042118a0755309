# Every command that a newcomer or a CI machine needs. Python 3.11 or newer, a C++ compiler and cmake are all they ask.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# llama.cpp's image support is not needed for text and costs a third of the compile time.
export CMAKE_ARGS ?= -DLLAVA_BUILD=OFF
export HF_HUB_OFFLINE = 1

.PHONY: help demo test full lint types unit setup-demo setup clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

demo: setup-demo ## Judge the model that ships with the package (no torch)
	$(VENV)-demo/bin/pytest --model demo

test: setup lint types unit ## Check style, types and behaviour

full: setup lint types ## As test, with the tests that train models
	$(BIN)/pytest -m "slow or not slow" -p xdist -n 0

lint:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types:
	$(BIN)/mypy

unit:
	$(BIN)/pytest -m "not slow" -n 2

setup-demo: $(VENV)-demo/.done
setup: $(VENV)/.done

$(VENV)-demo/.done: pyproject.toml constraints.txt
	@echo "Setting up $(VENV)-demo. Compiling llama.cpp takes about 5 minutes on 2 cores the first time; pip keeps the result."
	$(PYTHON) -m venv $(VENV)-demo
	$(VENV)-demo/bin/pip install --quiet --upgrade pip
	$(VENV)-demo/bin/pip install --progress-bar off --constraint constraints.txt '.[gguf]'
	@rm -rf build
	@touch $@

$(VENV)/.done: pyproject.toml constraints.txt
	@echo "Setting up $(VENV). Compiling llama.cpp takes about 5 minutes on 2 cores the first time; pip keeps the result."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --progress-bar off --constraint constraints.txt torch
	$(BIN)/pip install --progress-bar off --constraint constraints.txt --editable '.[all]' --group dev
	$(BIN)/modelgate-train fetch-converter --models
	@touch $@

clean: ## Remove what set-up and runs left behind
	rm -rf $(VENV) $(VENV)-demo .modelgate .pytest_cache .mypy_cache .ruff_cache build *.egg-info
