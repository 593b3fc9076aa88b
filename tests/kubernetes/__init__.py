"""deploy/kubernetes as kustomize builds it, looked through without a cluster; needs kubectl."""
