#!/bin/sh
# Brings an overlay into the cluster, for the first time or as an update: first all but umusic and nginx, with
# them the migration; once that has ended, these. If it fails, what runs goes on as it is.
set -eu

overlay=${1:-$(dirname "$0")/production}
namespace=${2:-umusic}

# A Job cannot be changed.
kubectl delete job migrate --namespace "$namespace" --ignore-not-found
kubectl apply -k "$overlay" --selector 'app.kubernetes.io/component notin (app, nginx)'
echo "Waiting for the migration…"
until kubectl wait job/migrate --namespace "$namespace" --for=condition=Complete --timeout=10s \
    2> /dev/null; do
    if kubectl wait job/migrate --namespace "$namespace" --for=condition=Failed --timeout=0s \
        > /dev/null 2>&1; then
        echo "The migration fails; umusic stays as it is. The last it said:"
        kubectl logs job/migrate --namespace "$namespace" --tail 5 || true
        exit 1
    fi
    kubectl get job migrate --namespace "$namespace" > /dev/null  # or it has gone, or the cluster
    kubectl get pods --namespace "$namespace" --selector job-name=migrate --no-headers || true
    sleep 1
done
kubectl apply -k "$overlay"
for deployment in app nginx; do
    kubectl rollout status "deployment/$deployment" --namespace "$namespace"
done
