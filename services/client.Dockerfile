# The client: the official OpenAI package for `helm test`, and `modelfleet bench`, inside a cluster.
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
    && python3 -m pip --python /opt/venv/bin/python install -c requirements.lock ".[client]" \
    && python3 -m pip --python /opt/venv/bin/python uninstall --yes modelfleet

FROM dependencies AS build
COPY services/fleet_contract services/fleet_contract
COPY services/fleet_bench services/fleet_bench
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
# It serves nothing.
HEALTHCHECK NONE
ENTRYPOINT ["modelfleet"]
CMD ["bench", "--help"]
# Last, since they differ at every commit.
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="modelfleet-client" \
      org.opencontainers.image.description="The OpenAI client and a benchmark for a fleet of models" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
