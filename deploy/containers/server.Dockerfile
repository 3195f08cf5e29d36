# syntax=docker/dockerfile:1
# fovea's server on the current Triton. Build from the repository's root:
#   docker build -f deploy/containers/server.Dockerfile -t fovea-server:0.1.0 .
# A tag can be moved; to pin the tested image, pass its digest as well:
#   --build-arg TRITON_IMAGE=nvcr.io/nvidia/tritonserver:26.10-py3@sha256:DIGEST
ARG TRITON_RELEASE=26.10
ARG TRITON_IMAGE=nvcr.io/nvidia/tritonserver:${TRITON_RELEASE}-py3

FROM ${TRITON_IMAGE} AS packages
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY fovea fovea
COPY client client
COPY server server
COPY search search
COPY web web
COPY deploy/containers/locks locks
# locks/ has the version and hash of every wheel, also of those that build fovea.
RUN python3 -m pip install --no-cache-dir --target /build --require-hashes -r locks/build.txt \
 && python3 -m pip install --no-cache-dir --target /opt/fovea/packages --require-hashes -r locks/server.txt \
 && PYTHONPATH=/build python3 -m pip install --no-cache-dir --target /opt/fovea/packages --no-deps --no-build-isolation .

FROM ${TRITON_IMAGE}
LABEL org.opencontainers.image.title="fovea-server" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=packages /opt/fovea/packages /opt/fovea/packages
COPY --chmod=0555 deploy/containers/engine_key.py /opt/fovea/bin/engine_key.py
# Fail here, not in production, if the base image lacks what the models need.
RUN test -f /opt/tritonserver/backends/onnxruntime/libtriton_onnxruntime.so \
 && test -x /opt/tritonserver/backends/python/triton_python_backend_stub \
 && test -x /opt/nvidia/nvidia_entrypoint.sh \
 && PYTHONPATH=/opt/fovea/packages python3 -c "import cv2, fovea.steps, fovea_server.probe" \
 && install -d -o 1000 -g 1000 -m 0750 /run/fovea
# The base image's own user triton-server has this id.
USER 1000:1000
ENV PYTHONPATH=/opt/fovea/packages \
    PYTHONDONTWRITEBYTECODE=1 \
    FOVEA_CACHE=/run/fovea
# gRPC and metrics; HTTP stays on loopback, where the probes use it.
EXPOSE 8001 8002
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=25s --start-period=900s --retries=4 \
    CMD ["python3", "-m", "fovea_server.probe", "ready", "--timeout-s", "20"]
# NVIDIA's entry point first: on a driver older than the image's CUDA it puts the libraries of
# forward compatibility in front. Every hardened default is set here, once; a later flag wins.
ENTRYPOINT ["/opt/nvidia/nvidia_entrypoint.sh", "python3", "-m", "fovea_server", \
    "--closed-apis", "shared-memory model-repository model-config statistics trace logging", \
    "--model-control-mode=none", \
    "--host=0.0.0.0", \
    "--http-host=127.0.0.1", \
    "--max-connection-age-s=300", \
    "--max-connection-grace-s=90", \
    "--exit-timeout-s=90", \
    "--echo-log"]
CMD ["/models"]
