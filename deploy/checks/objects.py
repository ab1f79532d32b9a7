"""Looking things up in a list of rendered objects."""

import tomllib


def title(thing):
    """Kind and name, for messages."""
    return f"{thing['kind']}/{thing['metadata']['name']}"


def of_kind(objects, *kinds):
    """The objects of these kinds."""
    return [thing for thing in objects if thing["kind"] in kinds]


def named(objects, kind, name):
    """The object of this kind and name, or None."""
    found = [thing for thing in of_kind(objects, kind) if thing["metadata"]["name"] == name]
    return found[0] if found else None


def workloads(objects):
    """Everything with a pod template."""
    return of_kind(objects, "Deployment", "Job", "StatefulSet", "DaemonSet")


def template(workload):
    """Its pod template."""
    return workload["spec"]["template"]


def labels(workload):
    """The labels of its pods."""
    return template(workload)["metadata"]["labels"]


def annotations(workload):
    """The annotations of its pods."""
    return template(workload)["metadata"].get("annotations", {})


def containers(objects):
    """Every (workload, pod specification, container), init containers included."""
    for workload in workloads(objects):
        pod = template(workload)["spec"]
        for container in pod.get("initContainers", []) + pod["containers"]:
            yield workload, pod, container


def brokers_labels(broker):
    """The labels that the operator gives the pods of a RabbitmqCluster."""
    return {
        "app.kubernetes.io/name": broker["metadata"]["name"],
        "app.kubernetes.io/component": "rabbitmq",
    }


def all_labels(objects):
    """The labels of the pods of every workload and broker."""
    own = [labels(workload) for workload in workloads(objects)]
    return own + [brokers_labels(broker) for broker in of_kind(objects, "RabbitmqCluster")]


def matches(selector, pod_labels):
    """Whether a selector with `matchLabels` alone selects a pod."""
    assert set(selector) <= {"matchLabels"}, f"only matchLabels is understood: {selector}"
    wanted = selector.get("matchLabels", {})
    return all(pod_labels.get(key) == value for key, value in wanted.items())


def campaign(objects):
    """The campaign file, read."""
    for thing in of_kind(objects, "ConfigMap"):
        text = thing.get("data", {}).get("campaign.toml")
        if text is not None:
            try:
                return tomllib.loads(text)
            except tomllib.TOMLDecodeError as error:
                raise SystemExit(f"check: campaign.toml: {error}") from error
    return {}


def longest_task_seconds(workload):
    """What a workload says of its longest task, or None."""
    said = annotations(workload).get("outshine/longest-task-seconds")
    return int(said) if said is not None and said.isdecimal() else None
