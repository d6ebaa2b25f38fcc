# The router: one OpenAI-compatible address for all models of a fleet.
ARG PYTHON_IMAGE=docker.io/library/python:3.11-slim

FROM ${PYTHON_IMAGE} AS dependencies
ARG PIP_INDEX_URL
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
RUN python3 -m venv --without-pip /opt/venv
# Without our packages this installs what they need: a change of a source leaves this stage, and
# the layer copied from it, alone.
COPY pyproject.toml requirements.lock LICENSE ./
RUN touch README.md \
    && python3 -m pip --python /opt/venv/bin/python install -c requirements.lock ".[kube,router,traces]" \
    && python3 -m pip --python /opt/venv/bin/python uninstall --yes modelfleet
# Typed models and APIs, 120 MB, that nothing here imports. That the rest still loads is tried at once.
WORKDIR /opt/venv/lib/python3.11/site-packages/kubernetes
RUN find client aio/client \( -path '*/models/*' -o -path '*/api/*' \) -type f \
        ! -name '__init__.*' -delete \
    && /opt/venv/bin/python -c "import kubernetes.aio.client, kubernetes.aio.config"

FROM dependencies AS build
WORKDIR /build
COPY services/fleet_console services/fleet_console
COPY services/fleet_contract services/fleet_contract
COPY services/fleet_kube services/fleet_kube
COPY services/fleet_web services/fleet_web
COPY services/fleet_router services/fleet_router
COPY services/fleet_cli services/fleet_cli
RUN python3 -m pip --python /opt/venv/bin/python install --no-deps --target /opt/modelfleet .

FROM ${PYTHON_IMAGE}
COPY --from=dependencies /opt/venv /opt/venv
COPY --from=build /opt/modelfleet /opt/modelfleet
ENV PATH=/opt/modelfleet/bin:/opt/venv/bin:$PATH \
    PYTHONPATH=/opt/modelfleet \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    USER=modelfleet \
    HOME=/tmp
USER 65532:65532
EXPOSE 8000
HEALTHCHECK CMD ["/opt/venv/bin/python", "-c", \
    "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/livez', timeout=2)"]
ENTRYPOINT ["modelfleet"]
CMD ["router", "--kube", "--host", "0.0.0.0", "--port", "8000"]
# Last, since they differ at every commit.
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="modelfleet-router" \
      org.opencontainers.image.description="Routes OpenAI-compatible requests to a fleet of models" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
