# Container images, included by the Makefile; built with docker, podman or buildah.

# The first that works: a docker client without a daemon does not.
BUILDER ?= $(shell for tool in docker podman buildah; do \
	$$tool info >/dev/null 2>&1 && { command -v $$tool; break; }; done)
BUILD_FLAGS ?=
PUSH_FLAGS ?=
IMAGES ?= operator router server client
IMAGE_PREFIX ?= modelfleet-
TAG ?= dev
FLAVOUR ?= cpu
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
REVISION = $(shell git rev-parse HEAD 2>/dev/null || echo unknown)

DOCKERFILE_operator := operator/Dockerfile
DOCKERFILE_router := services/router.Dockerfile
DOCKERFILE_server := services/server.Dockerfile
DOCKERFILE_client := services/client.Dockerfile

# The flavours of the server share a name and differ in their tags.
TAG_operator = $(TAG)
TAG_router = $(TAG)
TAG_client = $(TAG)
TAG_server = $(TAG)-$(FLAVOUR)

.PHONY: images
images: $(IMAGES:%=image-%) ## Build the images: IMAGE_PREFIX=registry/fleet- TAG=1.0 FLAVOUR=cpu|cuda|vllm|intel

image-%:
	@$(NEED_BUILDER)
	$(BUILD) -f $(DOCKERFILE_$*) -t $(IMAGE_PREFIX)$*:$(TAG_$*) .

# For skaffold's custom builder: its environment names the image and whether to push it.
.PHONY: skaffold-image
skaffold-image:
	@$(NEED_BUILDER)
	$(BUILD) -f $(DOCKERFILE_$(KIND)) -t $(IMAGE) .
	@if [ "$(PUSH_IMAGE)" = true ]; then set -x; $(BUILDER) push $(PUSH_FLAGS) $(IMAGE); fi

NEED_BUILDER = test -n "$(BUILDER)" || \
	{ echo "make images needs docker, podman or buildah" >&2; exit 1; }

# HEALTHCHECK is a docker extension: buildah and podman write it only into images in docker format.
BUILD = $(BUILDER) build $(if $(findstring docker,$(firstword $(BUILDER))),,--format docker) \
	$(BUILD_FLAGS) --build-arg FLAVOUR=$(FLAVOUR) --build-arg VERSION=$(VERSION) \
	--build-arg REVISION=$(REVISION)
