# make demo and make test set everything up by themselves: .venv, made with this machine's own Python (3.11 to 3.14,
# with venv and pip), holding exactly what requirements/dev.txt names. make install makes a .venv for running the relay
# only, of requirements/run.txt. PYTHON=... picks another interpreter.

VENV  := .venv
BIN   := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo install test endurance hostile soak fuzz check check-web check-install audit bench docs wheel lock clean

help:
	@echo 'make demo    the whole thing without accounts, in a terminal'
	@echo 'make install  .venv with the relay in it and without development tools (EXTRAS=1 for onnx, otel and plot)'
	@echo 'make test    the tests (ARGS="..." goes to pytest)'
	@echo 'make endurance  cut connections, killed daemons, stores that fail, an hour on a bad network: some 37 minutes'
	@echo 'make fuzz    the parsers that face the network, with made-up input: ten minutes (MINUTES=...)'
	@echo 'make hostile  attacks on a relay with live calls, and the memory after 2,000 short ones: some 30 minutes'
	@echo 'make soak    25 calls that lose their sockets and end, for an hour (MINUTES=...): fails if anything grows'
	@echo 'make check   format, lint, types, tests; the page, too (needs npm)'
	@echo 'make check-install  make install in an empty environment, and what works from it: about a minute (needs the network)'
	@echo 'make audit   what is published against the locked packages (needs the network)'
	@echo 'make bench   what 1 to 100 calls cost, PCM and mu-law, as a table: some ten minutes (ARGS="--rounds 1 --calls 25")'
	@echo 'make docs    make the tables of docs/reference.md from config.toml'
	@echo 'make wheel   dist/relay-VERSION-py3-none-any.whl'
	@echo 'make lock    refresh requirements/*.txt (needs uv)'

# A .venv that had the development tools keeps them: then make test brings back the editable form.
install:
	@scripts/bootstrap $(VENV) $(if $(EXTRAS),extras,run)
	@rm -f $(STAMP)

demo: $(STAMP)
	@$(BIN)/relay demo $(ARGS)

# Four processes on two cores, whatever the machine has: many tests wait in real time, and more of them would be in
# each other's way. The tests of a file stay together, because they share what is expensive to make; the files keep
# their order, or those with few tests, which take longest, come last and alone. ARGS="-n 0" takes one process, for a
# debugger.
PYTEST := $(BIN)/pytest -n 4 --dist loadfile --no-loadscope-reorder

# Kept, or each of the hundred processes that the tests start would compile the relay anew.
unexport PYTHONDONTWRITEBYTECODE

test: $(STAMP)
	@$(PYTEST) $(ARGS)

# The tests of tests/endurance, which make test leaves out. A smaller dose: make endurance ENDURANCE_CUTS=20.
endurance: export ENDURANCE_CUTS ?= 200
endurance: export ENDURANCE_KILLS ?= 20
endurance: export ENDURANCE_COUGHS ?= 60
endurance: export ENDURANCE_MINUTES ?= 60
endurance: export ENDURANCE_SILENCE_S ?= 290
endurance: $(STAMP)
	@$(BIN)/pytest -s tests/endurance $(ARGS)

# The fuzzer comes as a wheel for Linux on x86-64, and is nothing that the tests or the relay need: it has a folder of its
# own. What breaks a parser is kept in fuzz/.
FUZZER  := $(VENV)/fuzzer

fuzz: $(FUZZER)
	@PYTHONPATH=$(FUZZER):. $(BIN)/python scripts/fuzz.py $(or $(MINUTES),10)

$(FUZZER): requirements/fuzz.txt $(STAMP)
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --require-hashes --only-binary :all: \
	  --upgrade --target $@ -r $<
	@touch $@

# Attacks on a relay that has live calls. A smaller dose: make hostile ARGS=--small.
hostile: $(STAMP)
	@$(BIN)/python -m tests.hostile $(ARGS)

# The relay's log is kept in soak.log where it fails.
soak: $(STAMP)
	@$(BIN)/python -m tests.soak --minutes $(or $(MINUTES),60) $(ARGS)

# Beside a plain asyncio relay, where COMPARE names a compare.py and PEERS the folder that its setup.sh has prepared.
bench: $(STAMP)
	@$(BIN)/python -m scripts.bench_table $(ARGS)

check: $(STAMP) check-web
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(PYTEST) $(ARGS)
	-@$(MAKE) --no-print-directory audit

check-install: $(STAMP)
	@scripts/check_install $(BIN)

wheel: $(STAMP)
	@$(BIN)/python -m pip wheel --disable-pip-version-check --quiet --no-deps --no-build-isolation --wheel-dir dist .

# It fails when something is known, or cannot be asked for. make check and CI only show that: an advisory comes on a day
# that no change here has chosen, often before a version that mends it, and would hold up changes that have nothing to do
# with it. It has to be green before a release. Its tool has a folder of its own, as the fuzzer has.
AUDITOR := $(VENV)/auditor

audit: $(AUDITOR)
	@PYTHONPATH=$(AUDITOR) $(BIN)/python -m pip_audit --format json --progress-spinner off --disable-pip --require-hashes \
	  --requirement requirements/dev.txt 2>$(AUDITOR).log | $(BIN)/python scripts/audit.py $(AUDITOR).log

$(AUDITOR): requirements/audit.txt $(STAMP)
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --require-hashes --only-binary :all: \
	  --upgrade --target $@ -r $<
	@touch $@

docs: $(STAMP)
	@$(BIN)/python scripts/make_reference.py

# The page's JavaScript: types, then faults. The tools come from npm and are needed for nothing else; npm update in their
# folder refreshes package-lock.json.
WEB_CHECK := tests/web/check
WEB_BIN   := $(WEB_CHECK)/node_modules/.bin
WEB_STAMP := $(WEB_CHECK)/node_modules/.installed

check-web: $(WEB_STAMP)
	$(WEB_BIN)/tsc -p $(WEB_CHECK)/tsconfig.json
	$(WEB_BIN)/tsc -p $(WEB_CHECK)/tsconfig.worklets.json
	$(WEB_BIN)/eslint --config $(WEB_CHECK)/eslint.config.js --max-warnings 0 relay/web relay/record/web

$(WEB_STAMP): $(WEB_CHECK)/package.json $(WEB_CHECK)/package-lock.json
	@command -v npm >/dev/null || { echo 'relay: the page is checked with npm (Debian, Ubuntu: apt-get install nodejs npm)' >&2; exit 1; }
	@npm ci --prefix $(WEB_CHECK) --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

$(STAMP): requirements/run.txt requirements/dev.txt pyproject.toml scripts/bootstrap
	@scripts/bootstrap $(VENV) dev
	@touch $@

# No index address gets into the files. Each set is made within the one before it.
UV_COMPILE := uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	--no-emit-index-url --quiet --upgrade

lock:
	$(UV_COMPILE) pyproject.toml --output-file requirements/run.txt
	$(UV_COMPILE) pyproject.toml --all-extras --constraints requirements/run.txt --output-file requirements/extras.txt
	$(UV_COMPILE) pyproject.toml --all-extras --group dev --constraints requirements/extras.txt \
	  --output-file requirements/dev.txt
	$(UV_COMPILE) --group build --constraints requirements/dev.txt --output-file requirements/build.txt
	$(UV_COMPILE) --group fuzz --output-file requirements/fuzz.txt
	$(UV_COMPILE) --no-config --group audit --output-file requirements/audit.txt

clean:
	rm -rf $(VENV) $(WEB_CHECK)/node_modules .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage
