# syntax=docker/dockerfile:1
# Object search on the machines of a Ray cluster. Build from the repository's root:
#   docker build -f deploy/containers/indexer.Dockerfile -t fovea-indexer:0.1.0 .
# Ray's version must be that of the extra `ray`. To pin a digest:
#   --build-arg RAY_IMAGE=rayproject/ray:2.60.0-py311-cpu@sha256:DIGEST
ARG RAY_IMAGE=rayproject/ray:2.60.0-py311-cpu

FROM ${RAY_IMAGE}
LABEL org.opencontainers.image.title="fovea-indexer" \
      org.opencontainers.image.licenses="Apache-2.0"
WORKDIR /opt/fovea
COPY pyproject.toml README.md LICENSE ./
COPY fovea fovea
COPY client client
COPY server server
COPY search search
COPY web web
COPY deploy/containers/locks locks
USER 0:0
# locks/ has the version and hash of every wheel, also of those that build fovea.
RUN pip install --no-cache-dir --target /build --require-hashes -r locks/build.txt \
 && pip install --no-cache-dir --require-hashes -r locks/indexer.txt \
 && PYTHONPATH=/build pip install --no-cache-dir --no-deps --no-build-isolation . \
 && rm -r /build
USER 1000:1000
ENV PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp
# KubeRay itself watches the processes of a cluster.
HEALTHCHECK NONE
CMD ["fovea", "index", "--help"]
