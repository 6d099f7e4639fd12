# `make run`: install, solve the sample problems offline. `make test`: every check. Both need Python 3.10+, a C/C++
# compiler and a package index; neither needs a model hub.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
INSTALL = $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: run test check fast speed clean

run: $(VENV)/.installed
	$(BIN)/score-local batch score_local/samples/problems.jsonl --run runs/sample --resume

test: $(VENV)/.installed-dev check
	$(BIN)/python -m pytest -m "not gpu and not speed"

fast: $(VENV)/.installed-dev check
	$(BIN)/python -m pytest -m "not gpu and not speed and not model"

speed: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m speed

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/.llama: constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "score-local needs Python 3.10 or newer")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing llama-cpp-python. The first time it is compiled: about 10 minutes on two cores, then the wheel is cached."
	$(INSTALL) llama-cpp-python
	touch $@

$(VENV)/.installed: $(VENV)/.llama pyproject.toml
	$(INSTALL) --editable '.[embedded]'
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed pyproject.toml
	$(INSTALL) --editable '.[embedded,dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
