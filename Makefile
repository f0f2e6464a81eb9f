# Tickwire. Two commands on a fresh machine with Python 3.11, make and gcc: `make demo` and `make test`.
# Nothing is installed outside .venv; it is installed again only when pyproject.toml or the constraints change.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq
INPUTS := pyproject.toml requirements/constraints.txt
CODE := $(wildcard libs services backtest tickwire)
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help install demo test chaos lint format bench warm docs clean

help: ## show this list
	@echo "make <target> [ARGS='...']"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1 \t\2/p' $(MAKEFILE_LIST) | expand -t 14

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 is not on the PATH. Install it, or run make PYTHON=/path/to/python3.11."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { \
	  echo "$(PYTHON) is not Python 3.11. Install it, or run make PYTHON=/path/to/python3.11."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
	  echo "Python's venv module is incomplete. On Debian: apt-get install python3.11-venv"; rm -rf $(VENV); exit 1; }

$(VENV)/.run: $(INPUTS) | $(BIN)/python
	@echo "installing Tickwire into $(VENV) (about a minute) ..."
	@$(PIP) install -c requirements/constraints.txt -e '.[all]'
	@touch $@

$(VENV)/.test: $(INPUTS) | $(VENV)/.run
	@$(PIP) install -c requirements/constraints.txt -e '.[all,test]'
	@touch $(VENV)/.run $@

$(VENV)/.lint: $(INPUTS) | $(VENV)/.test
	@$(PIP) install -c requirements/constraints.txt -e '.[all,test,lint]'
	@touch $(VENV)/.run $(VENV)/.test $@

install: $(VENV)/.run ## create .venv and install Tickwire into it

demo: $(VENV)/.run ## watch the whole flow for about 90 s: ticks, features, predictions, orders, a model learned on the way
	@$(BIN)/tickwire demo $(ARGS)

test: $(VENV)/.test ## run all tests but the long ones
	@$(BIN)/python -m pytest -q -m 'not chaos' -n 2 --dist loadfile $(ARGS)

chaos: $(VENV)/.test ## kill services and the bus at random moments, many seeds
	@$(BIN)/python -m pytest -q -m chaos --timeout 1800 $(ARGS)

lint: $(VENV)/.lint ## ruff and mypy --strict
	@$(BIN)/ruff check .
	@$(BIN)/mypy $(CODE)

format: $(VENV)/.lint ## mend what ruff can mend by itself
	@$(BIN)/ruff check --fix .

bench: $(VENV)/.test ## run all benchmarks, or those named: make bench ARGS=risk
	@PYTHONPATH=. $(BIN)/python tests/bench/run.py $(ARGS)

warm: $(VENV)/.run ## compile all kernels ahead
	@$(BIN)/tickwire warm $(ARGS)

docs: $(VENV)/.run ## write docs/messages.md from the message types
	@$(BIN)/python -m tickwire.docs_messages > docs/messages.md.new
	@mv docs/messages.md.new docs/messages.md

# Keys, journals and results (.tickwire, runs) are nobody's rubbish: they stay.
clean: ## remove .venv and caches
	@rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
