# make demo and make test set everything up by themselves: .venv, made with this machine's own Python (3.11 or newer,
# with venv and pip), holding exactly what requirements/dev.txt names. PYTHON=... picks another interpreter.

VENV  := .venv
BIN   := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test endurance check bench lock clean

help:
	@echo 'make demo    the whole thing without accounts, in a terminal'
	@echo 'make test    the tests (ARGS="..." goes to pytest)'
	@echo 'make endurance  cut connections, killed daemons, an hour on a bad network: some 35 minutes'
	@echo 'make check   format, lint, types, tests'
	@echo 'make bench   the benchmark (ARGS="..." goes to relay bench)'
	@echo 'make lock    refresh requirements/*.txt (needs uv)'

demo: $(STAMP)
	@$(BIN)/relay demo $(ARGS)

# Two processes, whatever the machine has: many tests run in real time and would be in each other's way. The tests of a
# file stay together, because they share what is expensive to make. ARGS="-n 0" takes one process, for a debugger.
PYTEST := $(BIN)/pytest -n 2 --dist loadfile

test: $(STAMP)
	@$(PYTEST) $(ARGS)

# The tests of tests/endurance, which make test leaves out. A smaller dose: make endurance ENDURANCE_CUTS=20.
endurance: export ENDURANCE_CUTS ?= 200
endurance: export ENDURANCE_KILLS ?= 20
endurance: export ENDURANCE_MINUTES ?= 60
endurance: export ENDURANCE_SILENCE_S ?= 290
endurance: $(STAMP)
	@$(BIN)/pytest -s tests/endurance $(ARGS)

bench: $(STAMP)
	@$(BIN)/relay bench $(ARGS)

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(PYTEST) $(ARGS)

$(STAMP): requirements/run.txt requirements/dev.txt pyproject.toml scripts/bootstrap
	@scripts/bootstrap $(VENV)
	@touch $@

# torch is left out by [tool.uv] in pyproject.toml; no index address gets into the files.
UV_COMPILE := uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	--no-emit-index-url --quiet --upgrade

lock:
	$(UV_COMPILE) --output-file requirements/run.txt
	$(UV_COMPILE) --group dev --constraints requirements/run.txt --output-file requirements/dev.txt

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage
