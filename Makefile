# Needs Python 3.11 or later with pip: the environment is made in .venv and the user's own
# Python stays as it is.
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3,$(shell command -v $(name))))
ENVIRONMENT := .venv/.made
RUN := .venv/bin
VLLM := .venv-vllm

.PHONY: demo evaluation test test-long test-vllm check clean

demo: $(ENVIRONMENT)
	$(RUN)/python jobs/select.py

evaluation: $(ENVIRONMENT)
	$(RUN)/python jobs/evaluate.py

# Two at a time, each file by one process, in the order of their names: the long ones do not come last.
test: check
	$(RUN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

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

# vLLM for CPUs, and what it needs, in an environment of its own: all versions are stated, so nothing is resolved.
test-vllm: $(VLLM)/.made
	VLLM_CPU_KVCACHE_SPACE=1 VLLM_NO_USAGE_STATS=1 PYTHONPATH=tests/engines/site $(VLLM)/bin/pytest tests/engines

$(VLLM)/.made: pyproject.toml tests/engines/requirements.txt
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/pip install --quiet --no-compile --no-deps --requirement tests/engines/requirements.txt --editable .
	touch $@

clean:
	rm -rf .venv $(VLLM)
