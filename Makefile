# Needs git, make and Python 3.11 or newer with pip; no root. `make setup` does the rest.
PYTHON ?= python3
UV     := .uv/bin/uv
BIN    := .venv/bin
export UV_PYTHON_DOWNLOADS := never

.PHONY: help setup ears ngrok run test busy-test lint types bench soak fuzz fuzz-tools pages docs pictures screenshots licences lock clean-clone

help:
	@echo "make setup        the environment, in .venv"
	@echo "make ears         the extra [ears], 115 MB: the stand-in understands free speech"
	@echo "make ngrok        the extra [ngrok], 8 MB: a tunnel for offhook dev"
	@echo "make run          one phone call in this terminal; no accounts needed"
	@echo "make test         everything that must be true: lint, types, tests"
	@echo "make busy-test    'make test' five times beside two busy processes; nothing may be left"
	@echo "make bench        what this machine carries, in eight minutes; rewrites docs/performance.md, README"
	@echo "make soak         the table of docs/reliability.md in its long form; 5,000 calls held; what else takes hours"
	@echo "make soak-fleet   the table of fleets: nodes that die, are paused, cut off, restarted; needs root"
	@echo "make bench-console  what open consoles cost calls, how soon the page can be used; needs Chromium"
	@echo "make deploy-test  docs/deploy.md as it is written, and calls through nginx and HAProxy; needs root"
	@echo "make fuzz         every parser, guided by coverage, for a minute each; what breaks one is kept"
	@echo "make pages        write the pages that are made from the code"
	@echo "make console      build the console's page of web/ into the package"
	@echo "make docs         the documentation as a site, in site/"
	@echo "make pictures     draw the pictures of the documentation"
	@echo "make screenshots  take pictures of the console into docs/pictures/console; needs Chromium"
	@echo "make licences     write the tables of docs/licences.md from what is installed here"
	@echo "make lock         resolve the dependencies anew into requirements/; write outbound/zones.txt"
	@echo "make clean-clone  prove 'make run' and 'make test' on a fresh clone"

setup: .venv/ready

# uv is put into the checkout, from hashes, so that nothing outside it changes.
$(UV): requirements/uv.txt
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
	    --upgrade --target .uv -r requirements/uv.txt
	@touch $@

# A .venv of an older Python, or of one that is gone, is made anew whatever its time stamps say.
IS_NEW_ENOUGH := -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
ifeq ($(shell test -e .venv && ! $(BIN)/python $(IS_NEW_ENOUGH) && echo stale),stale)
.PHONY: .venv/ready .venv/run
endif

# An older .venv has phonenumbers, which owns the files of phonenumberslite: they would go with it.
define install
	@$(BIN)/python $(IS_NEW_ENOUGH) || $(PYTHON) $(IS_NEW_ENOUGH) || { \
	    echo "$(PYTHON) is not Python 3.11 or newer. Name one that is: make setup PYTHON=python3.12"; exit 1; }
	$(BIN)/python $(IS_NEW_ENOUGH) || $(UV) venv --quiet --clear --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" .venv
	$(UV) pip sync --quiet --require-hashes --reinstall-package phonenumberslite --python $(BIN)/python $(1)
	$(UV) pip install --quiet --no-deps --no-build-isolation --python $(BIN)/python -e .
	@touch $@
endef

.venv/ready: $(UV) requirements/dev.txt pyproject.toml
	$(call install,requirements/dev.txt)

# A newcomer's first call needs a quarter of what developers need.
.venv/run: $(UV) requirements/run.txt pyproject.toml
	$(call install,requirements/run.txt)

# Extras that setup leaves out, into the same environment. The tests need [ears].
ears ngrok: %: .venv/%

.venv/ears .venv/ngrok: .venv/%: .venv/ready requirements/%.txt
	$(UV) pip install --quiet --no-deps --require-hashes --python $(BIN)/python -r requirements/$*.txt
	@touch $@

run: $(if $(wildcard .venv/ready),setup,.venv/run)
	$(BIN)/offhook demo

test: lint ears
	@echo "types and tests: 11 to 12 minutes on two idle cores, 20 on busy ones; what hangs is named after 5"
	scripts/run-tests --beside $(BIN)/mypy $(if $(STRICT),--strict)

busy-test: setup
	scripts/busy-test 5

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: setup
	$(BIN)/mypy

bench: setup
	$(BIN)/offhook bench --json --plot docs/performance.svg \
	    | $(BIN)/python bench/write_table.py
	$(BIN)/python bench/rows.py --gather= --write

soak: setup
	scripts/soak

# Needs a Chromium.
.PHONY: bench-console
bench-console: setup
	$(BIN)/python -m bench.consoles
	$(BIN)/python -m bench.consoles --page
	$(BIN)/python -m bench.newcomer

# Needs Linux, root, nginx and HAProxy; says so where one of them is missing.
.PHONY: soak-fleet
soak-fleet: setup
	$(BIN)/python -m bench.fleet

# Needs Linux, root, systemd, nginx and HAProxy; says so where one of them is missing.
.PHONY: deploy-test
deploy-test: setup
	$(BIN)/python -m bench.proxies nginx haproxy
	$(BIN)/python -m bench.deployed
	$(BIN)/python -m bench.container

# Where Atheris has no wheel, nothing is judged: the exit code of bench.fuzz is 2.
fuzz: fuzz-tools
	$(BIN)/python -m bench.fuzz --seconds 60

fuzz-tools: setup
	-$(UV) pip install --quiet --no-deps --require-hashes --python $(BIN)/python -r requirements/fuzz.txt

pages: setup
	$(BIN)/python -m scripts.write_pages

# The console's page, of web/, with a Node of its own where the machine has none.
.PHONY: console
console: setup
	$(BIN)/python -m scripts.build_console

docs: setup
	$(BIN)/python -m mkdocs build --strict
	@echo "open site/index.html"

pictures: setup
	$(BIN)/python -m scripts.draw_pictures

# Needs a Chromium; calls are made meanwhile, which takes a minute.
screenshots: console
	$(BIN)/python -m scripts.console_pictures

licences: ears
	$(BIN)/python scripts/licences.py

# Addresses stay out of the file: no committed file names a package registry's host. The time zones
# of numbers are written anew, from the package that has them at the version that is locked.
lock: $(UV)
	$(UV) lock --quiet
	$(UV) export --quiet --extra local --extra postgres --no-emit-project --no-header --format requirements-txt -o requirements/dev.txt
	$(UV) export --quiet --extra local --no-default-groups --group run --no-emit-project --no-header --format requirements-txt -o requirements/run.txt
	$(UV) export --quiet --extra ears --no-dev --no-emit-project --no-header --format requirements-txt \
	    | scripts/only-new requirements/dev.txt > requirements/ears.txt
	$(UV) export --quiet --extra ngrok --no-dev --no-emit-project --no-header --format requirements-txt \
	    | scripts/only-new requirements/dev.txt > requirements/ngrok.txt
	$(UV) export --quiet --only-group node --no-emit-project --no-header --format requirements-txt -o requirements/node.txt
	$(UV) export --quiet --only-group fuzz --no-emit-project --no-header --format requirements-txt -o requirements/fuzz.txt
	$(UV) export --quiet --no-dev --extra postgres --no-emit-project --no-header --format requirements-txt -o requirements/install.txt
	$(UV) export --quiet --only-group build --no-emit-project --no-header --format requirements-txt -o requirements/build.txt
	$(UV) run --quiet --no-project --isolated --python $(PYTHON) \
	    --with "$$(sed -n 's/^phonenumberslite==\([^ ;]*\).*/phonenumbers==\1/p' requirements/dev.txt)" \
	    scripts/write_zones.py

clean-clone:
	scripts/clean-clone
