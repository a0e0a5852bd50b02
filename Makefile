# Kapok: the commands of the house. Each one sets up what it needs; a second call costs nothing.
#   make demo    a city of hospitals on loopback: load, ask, train, audit      make test   the tests, lints and types
#   make bench   the benchmarks, each beside its peer or limit                 make lock   write the two hashed locks anew
#   make test-spark   the questions over a local Spark: installs pyspark (430 MB, built on the spot) and a Java runtime; part of what CI runs
# The system's own interpreter, where it is new enough: its security updates reach it, and Debian builds it with the optimizations that
# pyenv leaves out by itself, which is a tenth of a question's time. PY=... names another one, and so does an environment that is active.
PY ?= $(shell for each in $(if $(VIRTUAL_ENV)$(CONDA_PREFIX),python3) /usr/bin/python3; do \
  $$each -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$each && exit; done; echo python3)
WHOSE := import sys; print(sys.base_prefix, *sys.version_info[:2])
BIN := .venv/bin
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check
TORCH := torch==2.13.0
PYSPARK := pyspark==4.3.0
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup setup-dev demo test lint types imports unit bench test-spark stubs vectors lock clean servers

setup: .venv/.core
.venv/.core: requirements.lock pyproject.toml
	@$(PY) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Kapok needs Python 3.11 or newer: make PY=python3.11 setup"; exit 2; }
	@[ ! -e .venv ] || [ "$$($(BIN)/python -c '$(WHOSE)' 2>/dev/null)" = "$$($(PY) -c '$(WHOSE)')" ] \
	  || { rm -rf .venv.before && mv .venv .venv.before && echo "another interpreter: the old environment is in .venv.before"; }
	$(PY) -m venv .venv
	$(PIP) --no-deps --require-hashes -r requirements.lock
	$(PIP) --no-deps --no-build-isolation -e .
	touch $@

setup-dev: .venv/.dev
.venv/.dev: .venv/.core requirements-dev.lock
	$(PIP) --no-compile --no-deps --require-hashes -r requirements-dev.lock
	$(PIP) --no-compile --no-deps $(TORCH)
	touch $@

demo: setup
	$(BIN)/kapok-sim demo --out build/demo $(ARGS)

test: setup-dev
	$(MAKE) --no-print-directory -j2 --output-sync=target servers types lint imports
	$(MAKE) --no-print-directory unit

servers: setup-dev
	bash tests/support/servers.sh

lint: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup-dev
	$(BIN)/mypy

imports: setup-dev
	$(BIN)/lint-imports

unit: setup-dev
	$(BIN)/python -m pytest -n 2 --dist loadgroup $(ARGS)

test-spark: setup-dev
	@command -v java >/dev/null || { apt-get -o DPkg::Lock::Timeout=300 update -qq; \
	  apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends default-jre-headless; } >/dev/null 2>&1 || true
	@if command -v java >/dev/null; then \
	  $(PIP) $(PYSPARK) && $(BIN)/python -m pytest tests/hospital_node/sources/test_spark.py $(ARGS); \
	else echo "test-spark: Java (Debian package default-jre-headless) cannot be installed: Spark is not tested"; fi

bench: setup-dev
	@command -v wrk >/dev/null || { apt-get update -qq; apt-get install -y -qq --no-install-recommends wrk; } >/dev/null 2>&1 \
	  || echo "wrk (Debian package) cannot be installed: the log's door stays without its crowd"
	$(BIN)/python -m simulations.bench --out build/bench $(ARGS)

stubs: setup-dev
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m grpc_tools.protoc -I . --python_out=. --grpc_python_out=. --mypy_out=readable_stubs:. --mypy_grpc_out=. protocols/v1/*.proto

vectors: setup-dev
	$(BIN)/python -m tests.protocols.make_vectors

lock:
	$(PY) -m venv build/lock && build/lock/bin/pip install -q uv
	build/lock/bin/python requirements/lock.py build/lock/bin/uv

clean:
	rm -rf build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
