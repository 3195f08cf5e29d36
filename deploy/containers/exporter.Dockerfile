# syntax=docker/dockerfile:1
# Checkpoints to ONNX, and on the target GPU to TensorRT engines. Build from the repository's root:
#   docker build -f deploy/containers/exporter.Dockerfile -t fovea-exporter:0.1.0 .
# The release must equal the server image's: both of one month have the same TensorRT. To pin a digest:
#   --build-arg TENSORRT_IMAGE=nvcr.io/nvidia/tensorrt:26.10-py3@sha256:DIGEST
ARG TRITON_RELEASE=26.10
ARG TENSORRT_IMAGE=nvcr.io/nvidia/tensorrt:${TRITON_RELEASE}-py3

FROM ${TENSORRT_IMAGE}
LABEL org.opencontainers.image.title="fovea-exporter" \
      org.opencontainers.image.licenses="Apache-2.0"
WORKDIR /opt/fovea
COPY pyproject.toml README.md LICENSE ./
COPY fovea fovea
COPY client client
COPY server server
COPY search search
COPY web web
COPY export export
COPY deployments deployments
COPY demo demo
COPY deploy/containers/locks locks
# locks/ has the version and hash of every wheel, also of those that build fovea. The environment
# still sees the image's own tensorrt.
RUN python3 -m pip install --no-cache-dir --target /build --require-hashes -r locks/build.txt \
 && PYTHONPATH=/build python3 -m virtualenv --system-site-packages /opt/venv \
 && /opt/venv/bin/pip install --no-cache-dir --require-hashes -r locks/exporter.txt \
 && PYTHONPATH=/build /opt/venv/bin/pip install --no-cache-dir --no-deps --no-build-isolation . \
 && rm -r /build \
 && install -d -o 1000 -g 1000 -m 0750 /run/fovea
COPY --chmod=0555 deploy/containers/engine_key.py /opt/fovea/bin/engine_key.py
USER 1000:1000
ENV PATH=/opt/venv/bin:${PATH} \
    PYTHONDONTWRITEBYTECODE=1 \
    HF_HOME=/run/fovea/huggingface
# A program that runs once and ends has no health to check.
HEALTHCHECK NONE
ENTRYPOINT ["/opt/nvidia/nvidia_entrypoint.sh", "python3", "-m", "export"]
CMD ["--help"]
