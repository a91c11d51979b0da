# Needs Python 3.11 or later with pip: the environment is made in .venv and the user's own
# Python stays as it is.
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3,$(shell command -v $(name))))
ENVIRONMENT := .venv/.made
RUN := .venv/bin

.PHONY: demo test test-long check clean

demo: $(ENVIRONMENT)
	$(RUN)/python jobs/select.py

test: check
	$(RUN)/pytest

test-long: $(ENVIRONMENT)
	$(RUN)/pytest -m long --timeout 7200

check: $(ENVIRONMENT)
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy

$(ENVIRONMENT): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(RUN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv
