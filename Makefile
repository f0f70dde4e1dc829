# make run     start the program on http://127.0.0.1:8000 (make run PORT=8123)
# make test    run the whole test suite (make test ARGS="tests/unit -k redis", JOBS=2); THOROUGH=1 tries 25 times as many examples
# make setup   only the environment of both, in .venv (make setup PYTHON=/path/to/python3)
# make chaos   break a fleet of real processes at random and check every fire (make chaos SEED=7 MINUTES=5)
# make proof   measure recovery and a steady load with real processes; some minutes, on a machine with nothing else to do
# make mutations break the program in many ways and see which test notices (make mutations NAMES="token")
# make pythons try the test kit on each supported Python that is found, each in an environment of its own under .pythons
# make check   format, lint, types, layers, links in the documents
# make format  put the code into the format that check wants
# make bench   schedules beside the peers, each in its own environment (make bench ARGS="--only ours --seconds 10")
# make bench-jobs  the job service beside its peers (make bench-jobs ARGS="--only ours streaq --parts drained")
# make bench-estimates  how far off the estimated completions of jobs are
# make bench-monitoring  what it costs to watch a fleet (make bench-monitoring ARGS="--workers 1000")
# make docs    write the pages of docs/reference that are made from the code
# make lock    pin the dependencies anew after a change of pyproject.toml; UPGRADE=1 takes newer versions

VENV := .venv
READY := $(VENV)/.set-up-done
# Twice the processors of a small machine: many tests wait for programs, or for a lease to be over.
JOBS ?= 4
ARGS ?=
# More examples of each property, and chaos under more seeds: hours.
THOROUGH ?=

export UV_PYTHON_DOWNLOADS := never
ifdef PORT
export ROUNDSMAN_SERVER__PORT := $(PORT)
endif

.PHONY: setup run test pythons chaos proof mutations check check-format check-lint check-types check-layers check-links format docs lock bench bench-jobs bench-estimates bench-monitoring

setup: $(READY)
	@:

$(READY): requirements/uv.txt requirements/dev.txt pyproject.toml scripts/set_up.py scripts/find_python.sh
	@python=$$(PYTHON="$(PYTHON)" sh scripts/find_python.sh) && "$$python" scripts/set_up.py
	@touch $(READY)

# No shell between make and the program, so that Ctrl-C and SIGTERM reach it.
run: $(READY)
	@$(VENV)/bin/roundsman run

test: $(READY)
	@THOROUGH=$(THOROUGH) $(VENV)/bin/pytest -n $(JOBS) --dist worksteal $(if $(THOROUGH),-o timeout=7200) $(ARGS)

mutations: $(READY)
	@$(VENV)/bin/python tests/mutations.py $(NAMES)

pythons: $(READY)
	@$(VENV)/bin/python scripts/pythons.py

chaos: $(READY)
	@PYTHONPATH=tests $(VENV)/bin/python -m distributed.chaos $(if $(SEED),--seed $(SEED)) $(if $(MINUTES),--minutes $(MINUTES)) $(ARGS)

proof: $(READY)
	@$(VENV)/bin/python tests/distributed/measure.py $(ARGS)

# All of them, also when the first one fails: one run shows everything.
check: $(READY)
	@$(MAKE) --no-print-directory --keep-going check-format check-lint check-types check-layers check-links

check-format: $(READY)
	@$(VENV)/bin/ruff format --check .

check-lint: $(READY)
	@$(VENV)/bin/ruff check .

check-types: $(READY)
	@$(VENV)/bin/mypy
	@for project in examples/*/; do \
		(cd "$$project" && MYPYPATH=../../src "$(CURDIR)/$(VENV)/bin/mypy" --config-file ../../pyproject.toml .) || exit 1; done

check-layers: $(READY)
	@$(VENV)/bin/lint-imports

check-links: $(READY)
	@$(VENV)/bin/python scripts/check_links.py

format: $(READY)
	@$(VENV)/bin/ruff format .
	@$(VENV)/bin/ruff check --fix .

bench: $(READY)
	@$(VENV)/bin/python -m benchmarks.schedules $(ARGS)

bench-jobs: $(READY)
	@$(VENV)/bin/python -m benchmarks.jobs $(ARGS)

bench-estimates: $(READY)
	@$(VENV)/bin/python -m benchmarks.job_estimates $(ARGS)

bench-monitoring: $(READY)
	@$(VENV)/bin/python -m benchmarks.monitoring $(ARGS)

docs: $(READY)
	@$(VENV)/bin/python scripts/make_reference.py

lock: $(READY)
	@UPGRADE="$(UPGRADE)" sh scripts/lock.sh $(VENV)/bin/uv
