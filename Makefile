# Modelfleet: everything a newcomer types. Needs Python 3.11 or later, pip, git and make.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help up test test-cluster docs lint bench bench-figures lock clean test-deps env-run env-torch env-dev

VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

# The first of these that is really there: a version manager's empty shim is not.
PYTHONS := python3 python3.13 python3.12 python3.11 python3.14 python
PYTHON ?= $(shell for python in $(PYTHONS); do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
	&& { command -v "$$python"; break; }; done)

# PyTorch's CPU build is a tenth of the default one, which brings CUDA along.
TORCH_INDEX_URL ?= https://download.pytorch.org/whl/cpu

# What an installed environment was made from; as long as it is the same, nothing is installed.
MADE_FROM = $(shell cat pyproject.toml requirements.lock | cksum | tr -d ' ')

include $(wildcard images.mk chart.mk)

TESTS ?= tests/unit tests/oracle tests/local $(wildcard tests/cluster tests/e2e)
help: ## Show this
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1~\2/p' $(MAKEFILE_LIST) | awk -F'~' '{ printf "%-20s %s\n", $$1, $$2 }'
	@echo "Variables: MODELS=a,b  PORT=8000  HOST=127.0.0.1  TORCH=1  TORCH_INDEX_URL=...  PYTHON=..."

up: $(if $(filter-out 0,$(TORCH)),env-torch,env-run) ## Serve a fleet: chat, embeddings, speech; or MODELS=a,b
	@exec $(BIN)/modelfleet up

test: env-dev ## Lint, check types, run every test this machine can run
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest $(TESTS) $(PYTEST_ARGS)

test-cluster: env-dev ## Run the tests on a real control plane and a real node (as root) only
	$(BIN)/python -m pytest tests/cluster tests/e2e $(PYTEST_ARGS)

lint: env-dev ## Lint and check types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Speech is measured with three samples, or with a recording: make bench AUDIO_FILE=speech.wav
bench: env-run ## Measure a fleet that runs at PORT
	$(BIN)/modelfleet bench chat --model smollm2 $(BENCHED)
	$(BIN)/modelfleet bench embeddings --model minilm $(BENCHED)
	$(BIN)/modelfleet bench audio --model whisper-base $(if $(AUDIO_FILE),--file $(AUDIO_FILE)) $(BENCHED)

bench-figures: env-dev ## Take the figures of docs/benchmarks.md on this machine
	@set -e; for script in ready in_process router_overhead router_side_by_side router_memory \
		chat_side_by_side; do \
		$(BIN)/python tests/bench/$$script.py; done

BENCHED = --base-url http://127.0.0.1:$(or $(PORT),8000) $(BENCH_ARGS)

# Debian packages: the speech tests' voices and formats, then what the node of tests/cluster and
# the edge of tests/e2e need.
DEBIAN := espeak-ng ffmpeg \
	containerd runc containernetworking-plugins iptables nftables conntrack iproute2 util-linux \
	buildah debootstrap ca-certificates openssl docker-registry nginx

# Tests run their own: what was not here before does not serve by itself, now or after a boot.
SERVICES := containerd docker-registry nginx
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

docs: env-dev ## Regenerate pages, the CRD and the chart's copies
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

clean: ## Remove the environment and everything built; weights stay
	rm -rf $(VENV) build dist run .mypy_cache .ruff_cache .pytest_cache *.egg-info

# Without bytecode: it is made for what is imported, at the first start, in less time than for all.
# Environments: run < torch < dev. A richer one that is fresh serves for a poorer one.

env-run:
	@$(call unless-fresh,run torch dev) \
	$(call make-venv,$(VENV)) && \
	echo "Installing Modelfleet without torch." && \
	$(PIP) install --no-compile -c requirements.lock -e '.[router,server]' && \
	$(call stamp,run)

env-torch:
	@$(call unless-fresh,torch dev) \
	$(call make-venv,$(VENV)) && \
	$(install-torch) && \
	extras=router,server,torch && if $(has-nvidia); then extras=$$extras,cuda; fi && \
	$(PIP) install -c requirements.lock -e ".[$$extras]" && \
	$(call stamp,torch)

env-dev:
	@$(call unless-fresh,dev) \
	$(call make-venv,$(VENV)) && \
	$(install-torch) && \
	$(PIP) install -c requirements.lock -e '.[operator,dev]' && \
	$(call stamp,dev)

unless-fresh = for kind in $(1); do \
	if [ "$$(cat $(VENV)/made-for-$$kind 2>/dev/null)" = "$(or $(MADE_FROM),unknown)" ]; then exit 0; fi; done;

stamp = printf '%s\n' '$(MADE_FROM)' > $(VENV)/made-for-$(1)

NO_PYTHON = echo "There is no Python 3.11 or later on the PATH; name one with PYTHON=..." >&2; exit 1

# The pip at hand installs one into the environment: quicker than ensurepip, which Debian's Python
# lacks. A pip too old for that (before 22.3), or none, leaves it to ensurepip.
make-venv = { test -n "$(PYTHON)" || { $(NO_PYTHON); }; } && \
	{ test -x $(1)/bin/pip || \
	  { echo "Creating $(1) with $(PYTHON)." && \
	    { "$(PYTHON)" -m venv --clear --without-pip $(1) && \
	      "$(PYTHON)" -m pip --python $(1)/bin/python install --quiet 'pip>=25' 2>/dev/null || \
	      { "$(PYTHON)" -m venv --clear $(1) && \
	        $(1)/bin/python -m pip install --quiet --upgrade 'pip>=25'; }; }; }; }

has-nvidia = { [ -e /dev/nvidiactl ] || nvidia-smi -L >/dev/null 2>&1; }

# Where PyTorch's CPU build is wanted (Linux without an NVIDIA GPU), take just torch from its index.
install-torch = \
	if [ "$$(uname -s)" != Linux ] || $(has-nvidia); then :; \
	elif $(BIN)/python -c 'import torch' 2>/dev/null; then :; \
	elif $(BIN)/python -c "$$REACHABLE" '$(TORCH_INDEX_URL)'; then \
		$(PIP) install --no-deps -c requirements.lock --index-url '$(TORCH_INDEX_URL)' torch torchvision; \
	else \
		echo "$(TORCH_INDEX_URL) cannot be reached: torch comes from the default index," ; \
		echo "whose wheel for Linux is the CUDA build, 3.3 GB in all. TORCH_INDEX_URL names another." ; \
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
