"""Who may connect to whom, by the NetworkPolicies of a build; as a network plugin decides it."""

import ipaddress
from dataclasses import dataclass, field
from typing import Any

from tests.kubernetes.manifests import Document, Manifests, Pod


@dataclass(frozen=True)
class Peer:
    """One end of a connection: a pod by its labels and its namespace (None: that of the policies),
    or an address outside."""

    labels: dict[str, str] = field(default_factory=dict)
    namespace: str | None = None
    address: str | None = None


def peer(pod: Pod) -> Peer:
    """A pod of the build as one end of a connection."""
    return Peer(pod.labels)


def may_come(all_: Manifests, source: Peer, pod: Pod, port: str) -> bool:
    """Whether a connection to the pod is let in."""
    return _may(all_, pod, "Ingress", source, (port, pod.ports.get(port)))


def may_go(all_: Manifests, pod: Pod, target: Peer, *port: str | int) -> bool:
    """Whether a connection from the pod is let out, to a port by its name or its number."""
    return _may(all_, pod, "Egress", target, port)


def _may(all_: Manifests, pod: Pod, way: str, other: Peer, port: tuple[Any, ...]) -> bool:
    policies = [
        policy["spec"]
        for policy in all_.of("NetworkPolicy")
        if pod in all_.selected(policy["spec"]["podSelector"].get("matchLabels", {}))
        and way in policy["spec"]["policyTypes"]
    ]
    rules = [rule for policy in policies for rule in policy.get(way.lower(), [])]
    return not policies or any(_fits(rule, way, other, port) for rule in rules)


def _fits(rule: Document, way: str, other: Peer, port: tuple[Any, ...]) -> bool:
    peers = rule.get("from" if way == "Ingress" else "to")
    ports = rule.get("ports")
    return (peers is None or any(_is(other, each) for each in peers)) and (
        ports is None or any(each["port"] in port for each in ports)
    )


def _is(other: Peer, meant: Document) -> bool:
    if "ipBlock" in meant:
        network = ipaddress.ip_network(meant["ipBlock"]["cidr"])
        return other.address is not None and ipaddress.ip_address(other.address) in network
    if other.address is not None:
        return False
    if "namespaceSelector" in meant:
        labels = meant["namespaceSelector"].get("matchLabels", {})
        if not labels.items() <= {"kubernetes.io/metadata.name": other.namespace}.items():
            return False
    elif other.namespace is not None:
        return False
    pods = meant.get("podSelector", {}).get("matchLabels", {})
    return bool(pods.items() <= other.labels.items())
