# Everything a newcomer types: make demo, make test.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
SHELL := /bin/bash

.PHONY: help install lint types test test-all test-long campaign reliability differential demo bench bench-store schemas clean

help:
	@echo "make install   a virtual environment with everything, versions as in constraints.txt"
	@echo "make demo      from the raw outputs of examples/silicon to a model, a report and an MD run"
	@echo "make test      the quick suite, with branch coverage"
	@echo "make test-all  the slow tests too"
	@echo "make test-long every damage of every reader's files, into benchmarks/reliability_readers.md"
	@echo "make campaign  10,000 simulated campaigns, into benchmarks/campaign.md; goes on where it was stopped"
	@echo "make reliability kills, power cuts, full disks, flipped bits, crowds, into benchmarks/reliability.md; goes on likewise"
	@echo "make differential every file beside ASE, pymatgen, dpdata and cclib, into benchmarks/differential.md"
	@echo "make fuzz      coverage-guided fuzzing of all readers, RUNS inputs each, below build/fuzz/"
	@echo "make lint      ruff; make types: mypy"
	@echo "make bench     the figures of the README, peers in the same run"
	@echo "make bench-store the store beside Atompack, LMDB, HDF5, Lance and others, into benchmarks/store.md; 20 GB of build/"
	@echo "make clean     what the pipeline wrote"

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[all,test]"
	touch $@

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

test: install
	$(BIN)/python -m pytest -n 2 --dist loadscope --cov --cov-report=term:skip-covered --cov-report=json:.coverage.json -m "not slow" $(PYTEST)

test-all: install
	$(BIN)/python -m pytest -n 2 --dist loadscope $(PYTEST)

test-long: install
	$(BIN)/python -m pytest -m slow tests/reliability/test_damage_readers.py tests/security/test_hostile_readers.py $(PYTEST)

campaign: install
	TMPDIR=$${TMPDIR:-/dev/shm} $(BIN)/python -m mlpdata.testing.campaign --campaigns 10000 --report benchmarks/campaign.md

SECONDS_A_ROW ?= 100000

reliability: install
	TMPDIR=$${TMPDIR:-/dev/shm} $(BIN)/python tests/reliability/long_runs.py --seconds $(SECONDS_A_ROW)

differential: install
	test -d .venv-peers || ($(PYTHON) -m venv .venv-peers && .venv-peers/bin/pip install --quiet ase pymatgen dpdata cclib)
	$(BIN)/python tests/differential/compare.py $${MLPDATA_CORPUS:-../shared/corpus} .venv-peers/bin/python

# atheris needs nothing of ours; ours is taken from the other environment, which has the same Python
FUZZ := .venv-fuzz
RUNS ?= 45000

$(FUZZ)/installed:
	$(PYTHON) -m venv $(FUZZ)
	$(FUZZ)/bin/python -m pip install --quiet atheris==3.0.0
	touch $@

fuzz: install $(FUZZ)/installed
	MLPDATA_FUZZ_SEEDS=build/fuzz/seeds PYTHONPATH=tests/fuzz $(BIN)/python -m pytest -q -p seeds -m "not shared" -k "not cut and not flipped and not damaged" tests/unit/readers
	PYTHONPATH="$(CURDIR):$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" $(FUZZ)/bin/python tests/fuzz/fuzz_readers.py --runs $(RUNS)
	PYTHONPATH="$(CURDIR)" $(BIN)/python tests/fuzz/reached.py --keep

demo: install
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/dvc repro
	@$(BIN)/mlpdata show
	@$(BIN)/mlpdata sql "SELECT kind, count(*) AS configurations, round(avg(max_force), 2) AS mean_max_force FROM configurations GROUP BY ALL ORDER BY ALL"
	@echo "Report: results/report.html    Ask more: $(BIN)/mlpdata sql"

bench: install
	for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

# one environment for ours and all peers, so that they share one numpy; the loader needs torch, which is in the other
.venv-peers-store/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-peers-store
	.venv-peers-store/bin/pip install --quiet --constraint constraints.txt --editable . \
		ase ase-db-backends atompack-db lmdb polars pylance tensorstore
	touch $@

bench-store: install .venv-peers-store/installed
	PYTHONPATH=benchmarks OMP_NUM_THREADS=1 .venv-peers-store/bin/python -m store --torch $(BIN)/python $(FIGURES)

schemas: install
	$(BIN)/python -m mlpdata.schema.publish schemas

clean:
	rm -rf store store.work splits views models results dataset.json dvc.lock
