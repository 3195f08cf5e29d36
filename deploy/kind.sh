#!/usr/bin/env bash
# Runs the demo on a real cluster: builds the image, starts kind, applies the overlay, calls it, cleans up.
set -euo pipefail
cd "$(dirname "$0")/.."
cluster=fovea
for tool in docker kind kubectl; do
  command -v "$tool" >/dev/null || { echo "make kind needs $tool" >&2; exit 1; }
done
docker info >/dev/null 2>&1 || { echo "make kind needs a running Docker engine" >&2; exit 1; }

models=$PWD/build/export/demo/model_repository
test -d "$models" || { echo "no $models: run make demo first" >&2; exit 1; }
docker build -f deploy/containers/server.Dockerfile -t fovea-server:0.1.0 .
trap 'kind delete cluster --name "$cluster"' EXIT
kind create cluster --name "$cluster" --wait 120s --config - <<END
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
nodes:
  - role: control-plane
    extraMounts:
      - { hostPath: $models, containerPath: /fovea-models, readOnly: true }
END
kind load docker-image fovea-server:0.1.0 --name "$cluster"
kubectl apply -k deploy/kubernetes/overlays/kind
kubectl -n fovea rollout status deployment/fovea --timeout=15m

pod=$(kubectl -n fovea get pod -l app.kubernetes.io/component=server -o name | head -1)
kubectl -n fovea exec "$pod" -- python3 -m fovea_server.probe ready
echo "killing one backend process: the server must answer again by itself"
kubectl -n fovea exec "$pod" -- sh -c 'kill -9 $(pgrep -f triton_python_backend_stub | head -1)'
for _ in $(seq 60); do
  kubectl -n fovea exec "$pod" -- python3 -m fovea_server.probe ready && exit 0
  sleep 2
done
exit 1
