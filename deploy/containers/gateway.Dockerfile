# syntax=docker/dockerfile:1
# fovea's REST gateway and page. Build from the repository's root:
#   docker build -f deploy/containers/gateway.Dockerfile -t fovea-gateway:0.1.0 .
# A tag can be moved; to pin the tested image, pass its digest as well:
#   --build-arg PYTHON_IMAGE=python:3.12-slim-trixie@sha256:DIGEST
ARG PYTHON_IMAGE=python:3.12-slim-trixie

FROM ${PYTHON_IMAGE} AS packages
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
 && python3 -m venv /opt/fovea \
 && /opt/fovea/bin/pip install --no-cache-dir --require-hashes -r locks/gateway.txt \
 && PYTHONPATH=/build /opt/fovea/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="fovea-gateway" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=packages /opt/fovea /opt/fovea
# Fail here, not in production, if a package lacks a system library.
RUN /opt/fovea/bin/fovea web --help && /opt/fovea/bin/python -c "import cv2, lance"
USER 1000:1000
ENV PYTHONDONTWRITEBYTECODE=1
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
    CMD ["/opt/fovea/bin/python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8080/health/live', timeout=4)"]
# It refuses to start without --keys FILE, or --no-keys: see docs/web.md.
ENTRYPOINT ["/opt/fovea/bin/fovea", "web", "--host=0.0.0.0", "--port=8080"]
