"""What no schema says of manifests: that names lead somewhere, and that pods may do no more than
they must. Each review tells faults as sentences."""

from collections.abc import Callable, Iterator
from typing import Any

from tests.kubernetes.manifests import Document, Manifests, Pod, named

Review = Callable[[Manifests], Iterator[str]]

#: Made by others: the certificate, by cert-manager or by hand.
_GIVEN = {("Secret", "certificate")}
#: For pods that cert-manager makes.
_OF_OTHERS = "NetworkPolicy/certificate"


def own_pods(all_: Manifests) -> Iterator[str]:
    """Who makes pods knows which are its own."""
    for deployment in all_.of("Deployment"):
        labels = deployment["spec"]["selector"]["matchLabels"]
        if not labels.items() <= Pod(deployment).labels.items():
            yield f"{named(deployment)} does not select its own pods"
        if len(all_.selected(labels)) > 1:
            yield f"{named(deployment)} selects the pods of others"
    for pod in all_.pods():
        for spread in pod.spec.get("topologySpreadConstraints", []):
            if pod not in all_.selected(spread["labelSelector"]["matchLabels"]):
                yield f"{pod.name} is spread among others"


def selectors(all_: Manifests) -> Iterator[str]:
    """Who else chooses pods by their labels finds some."""
    for service in all_.of("Service"):
        if not all_.selected(service["spec"]["selector"]):
            yield f"{named(service)} selects no pods"
    for kind, key in (("PodDisruptionBudget", "selector"), ("NetworkPolicy", "podSelector")):
        for document in all_.of(kind):
            if named(document) != _OF_OTHERS and not all_.selected(
                document["spec"][key].get("matchLabels", {})
            ):
                yield f"{named(document)} selects no pods"


def references(all_: Manifests) -> Iterator[str]:
    """What is named is there."""
    for name, kind, wanted in _names(all_):
        if not all_.find(kind, wanted) and (kind, wanted) not in _GIVEN:
            yield f"{name} names {kind}/{wanted}, which is not there"


def _names(all_: Manifests) -> Iterator[tuple[str, str, str]]:
    """Who names what, by its kind and name."""
    for pod in all_.pods():
        yield from ((pod.name, kind, name) for kind, name in _names_of(pod))
    for scaler in all_.of("HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]
        yield named(scaler), target["kind"], target["name"]
    for gateway in all_.of("Gateway"):
        for listener in gateway["spec"]["listeners"]:
            for reference in listener.get("tls", {}).get("certificateRefs", []):
                yield named(gateway), "Secret", reference["name"]
    for ingress in all_.of("Ingress"):
        for tls in ingress["spec"]["tls"]:
            yield named(ingress), "Secret", tls["secretName"]
    for name, service, _ in _backends(all_):
        yield name, "Service", service


def _names_of(pod: Pod) -> Iterator[tuple[str, str]]:
    yield "ServiceAccount", pod.spec["serviceAccountName"]
    for container in pod.containers:
        for source in container.get("envFrom", []):
            for key, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
                if key in source:
                    yield kind, source[key]["name"]
    for volume in pod.spec.get("volumes", []):
        if "configMap" in volume:
            yield "ConfigMap", volume["configMap"]["name"]


def _backends(all_: Manifests) -> Iterator[tuple[str, str, Any]]:
    """From where, to which Service and which of its ports."""
    for route in all_.of("HTTPRoute"):
        for rule in route["spec"]["rules"]:
            for backend in rule.get("backendRefs", []):
                yield named(route), backend["name"], backend["port"]
    for ingress in all_.of("Ingress"):
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                service = path["backend"]["service"]
                port = service["port"]
                yield named(ingress), service["name"], port.get("name") or port.get("number")


def asked_ports(all_: Manifests) -> Iterator[str]:
    """Probes and Services lead to ports that pods have."""
    for pod in all_.pods():
        for container in pod.containers:
            known = {port["name"] for port in container.get("ports", [])}
            for probe, action in probes(container):
                if action["port"] not in known:
                    yield f"{pod.name}: {probe} asks a port that is not its container's"
    for service in all_.of("Service"):
        for port in service["spec"]["ports"]:
            for pod in all_.selected(service["spec"]["selector"]):
                if port["targetPort"] not in pod.ports:
                    yield f"{named(service)} leads to a port that {pod.name} has not"


def the_way_in(all_: Manifests) -> Iterator[str]:
    """Routes begin at a listener that there is, and end at a Service's port."""
    for name, backend, wanted in _backends(all_):
        found = all_.find("Service", backend)
        if found and not any(wanted in (p["name"], p["port"]) for p in found["spec"]["ports"]):
            yield f"{name} leads to a port that Service/{backend} has not"
    for route in all_.of("HTTPRoute"):
        for parent in route["spec"]["parentRefs"]:
            gateway = all_.find("Gateway", parent["name"])
            own = route["metadata"]["namespace"]
            if gateway and gateway["metadata"]["namespace"] != parent.get("namespace", own):
                yield f"{named(route)} has a Gateway that is in another namespace"
            listeners = gateway["spec"]["listeners"] if gateway else []
            found = [each for each in listeners if each["name"] == parent["sectionName"]]
            if not gateway or not found:
                yield f"{named(route)} has a listener that is not there"
            elif not _admits(found[0], own, gateway["metadata"]["namespace"]):
                yield f"{named(route)} has a listener that is not for its namespace"


def _admits(listener: Document, route: str, gateway: str) -> bool:
    """Whether a listener takes routes of a namespace; of none but the Gateway's unless told."""
    namespaces = listener.get("allowedRoutes", {}).get("namespaces", {})
    if namespaces.get("from", "Same") == "Same":
        return route == gateway
    labels = namespaces["selector"]["matchLabels"]
    return bool(labels == {"kubernetes.io/metadata.name": route})


def opened_ports(all_: Manifests) -> Iterator[str]:
    """NetworkPolicies open ports that pods have."""
    for policy in all_.of("NetworkPolicy"):
        pods = all_.selected(policy["spec"]["podSelector"].get("matchLabels", {}))
        for rule in policy["spec"].get("ingress", []):
            for port in rule["ports"]:
                if not all(port["port"] in pod.ports for pod in pods):
                    yield f"{named(policy)} opens a port that its pods have not"


def probes(container: Document) -> Iterator[tuple[str, Document]]:
    """The container's probes, by name, and what each asks."""
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        probe = container.get(name, {})
        for action in ("httpGet", "tcpSocket"):
            if action in probe:
                yield name, probe[action]


def mounts(all_: Manifests) -> Iterator[str]:
    """What is mounted is a volume of the pod, and a file that there is."""
    for pod in all_.pods():
        volumes = {volume["name"]: volume for volume in pod.spec.get("volumes", [])}
        for container in pod.containers:
            for mount in container.get("volumeMounts", []):
                volume = volumes.get(mount["name"])
                if volume is None:
                    yield f"{pod.name} mounts {mount['name']}, which is not there"
                elif "subPath" in mount:
                    files = all_.find("ConfigMap", volume["configMap"]["name"])
                    if files and mount["subPath"] not in files["data"]:
                        yield f"{pod.name} mounts a file that its ConfigMap has not"


def limits(all_: Manifests) -> Iterator[str]:
    """No volume can take the node's disk."""
    for pod in all_.pods():
        for volume in pod.spec.get("volumes", []):
            if "emptyDir" in volume and "sizeLimit" not in volume["emptyDir"]:
                yield f"{pod.name}: {volume['name']} has no limit"


def rights_of_pods(all_: Manifests) -> Iterator[str]:
    """Pods may do what `restricted` lets them (Pod Security Standards), and know nothing of the
    cluster."""
    for pod in all_.pods():
        own = pod.spec.get("securityContext", {})
        if not own.get("runAsNonRoot") or not own.get("runAsUser"):
            yield f"{pod.name} may run as root"
        if own.get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield f"{pod.name} may make any system call"
        if pod.spec.get("automountServiceAccountToken") is not False:
            yield f"{pod.name} has a token for the cluster"
        # UMUSIC_SERVICE_HOST and the like would be settings that umusic does not know.
        if pod.spec.get("enableServiceLinks") is not False:
            yield f"{pod.name} is told of Services by its environment"


def rights_of_containers(all_: Manifests) -> Iterator[str]:
    """Containers may do no more than their pods, and write to volumes only."""
    for pod in all_.pods():
        for container in pod.containers:
            own = container.get("securityContext", {})
            if own.get("runAsUser") == 0 or own.get("runAsNonRoot") is False:
                yield f"{pod.name} may run as root"
            if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
                yield f"{pod.name} may gain rights"
            if own.get("capabilities") != {"drop": ["ALL"]}:
                yield f"{pod.name} has capabilities"
            if own.get("readOnlyRootFilesystem") is not True:
                yield f"{pod.name} may write to its image"


def resources(all_: Manifests) -> Iterator[str]:
    """The scheduler knows what each container takes, and none takes the node's memory."""
    for pod in all_.pods():
        for container in pod.containers:
            told = container.get("resources", {})
            if not {"cpu", "memory"} <= set(told.get("requests", {})):
                yield f"{pod.name} does not say what it needs"
            if "memory" not in told.get("limits", {}):
                yield f"{pod.name} may take all memory"


def images(all_: Manifests) -> Iterator[str]:
    """Each image is pinned by a tag that stands for a version."""
    for pod in all_.pods():
        for container in pod.containers:
            tag = container["image"].rpartition("/")[2].partition(":")[2]
            if tag in ("", "latest", "stable"):
                yield f"{pod.name} has an image that changes: {container['image']}"


def scaling(all_: Manifests) -> Iterator[str]:
    """Who is scaled by a number of its own or by the autoscaler, not by both in turn."""
    for scaler in all_.of("HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]
        found = all_.find(target["kind"], target["name"])
        if found and "replicas" in found["spec"]:
            yield f"{named(found)} has replicas, which are the autoscaler's to say"
        behavior = scaler["spec"].get("behavior", {}).get("scaleDown", {})
        grace = found["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] if found else 0
        if behavior.get("stabilizationWindowSeconds", 0) < grace:
            yield f"{named(scaler)} takes pods away faster than they drain"


REVIEWS: tuple[Review, ...] = (
    own_pods,
    selectors,
    references,
    asked_ports,
    the_way_in,
    opened_ports,
    mounts,
    limits,
    rights_of_pods,
    rights_of_containers,
    resources,
    images,
    scaling,
)


def faults(all_: Manifests) -> list[str]:
    """All that the reviews have to say."""
    return [fault for review in REVIEWS for fault in review(all_)]
