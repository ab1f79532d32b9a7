"""What must hold between the objects of one overlay. Each rule yields problems."""

import re

from . import schemas
from .objects import (
    all_labels,
    brokers_labels,
    campaign,
    containers,
    labels,
    longest_task_seconds,
    matches,
    named,
    of_kind,
    template,
    title,
    workloads,
)

NAMESPACE = "outshine"


def valid(objects, _project):
    """Every object fits the schema of its API."""
    for thing in objects:
        yield from (f"{title(thing)}: {text}" for text in schemas.problems(thing))


def names(objects, _project):
    """No two objects of a kind have one name; all are in one namespace."""
    seen = set()
    for thing in objects:
        if title(thing) in seen:
            yield f"{title(thing)}: there are two"
        seen.add(title(thing))
        inside = thing["metadata"].get("namespace")
        if thing["kind"] != "Namespace" and inside != NAMESPACE:
            yield f"{title(thing)}: in namespace {inside}, not {NAMESPACE}"


def secret_keys(objects):
    """The secrets that the broker's operator makes: name to keys."""
    keys = {"username", "password", "host", "port"}
    brokers = of_kind(objects, "RabbitmqCluster")
    return {f"{broker['metadata']['name']}-default-user": keys for broker in brokers}


def references(objects, project):
    """What is referred to is rendered, made by the operator, or said to be the user's."""
    made = secret_keys(objects)

    def secret(where, name, key):
        if name in made:
            if key not in made[name]:
                yield f"{where}: the operator's secret {name} has no key {key}"
        elif name not in project.users_names:
            yield f"{where}: secret {name}: made by nobody, nor named in deploy/README.md"

    def config(where, name):
        if named(objects, "ConfigMap", name) is None:
            yield f"{where}: there is no ConfigMap {name}"

    for workload, pod, container in containers(objects):
        where = title(workload)
        if container["image"].split(":")[0] not in project.users_names:
            yield f"{where}: image {container['image']}: not named in deploy/README.md"
        if not re.search(r":[^/:]+$", container["image"]) or container["image"].endswith(":latest"):
            yield f"{where}: image {container['image']}: no fixed tag"
        if named(objects, "ServiceAccount", pod.get("serviceAccountName")) is None:
            yield f"{where}: there is no ServiceAccount {pod.get('serviceAccountName')}"
        for source in container.get("envFrom", []):
            yield from config(where, source.get("configMapRef", {}).get("name"))
        for variable in container.get("env", []):
            wanted = variable.get("valueFrom", {}).get("secretKeyRef")
            if wanted:
                yield from secret(where, wanted["name"], wanted["key"])
        volumes = {volume["name"] for volume in pod.get("volumes", [])}
        for mount in container.get("volumeMounts", []):
            if mount["name"] not in volumes:
                yield f"{where}: there is no volume {mount['name']}"
        for volume in pod.get("volumes", []):
            if "configMap" in volume:
                yield from config(where, volume["configMap"]["name"])
    for authentication in of_kind(objects, "TriggerAuthentication"):
        for wanted in authentication["spec"]["secretTargetRef"]:
            yield from secret(title(authentication), wanted["name"], wanted["key"])


def no_literal_secrets(objects, _project):
    """No secret is written down: neither as an object nor as a value."""
    secret_name = re.compile(r"PASSWORD|SECRET|TOKEN|ACCESS_KEY")
    # A password in a URL that is no $(VARIABLE).
    in_url = re.compile(r"://[^/\s:@]*:(?!\$\()[^/\s@]+@")

    def texts(value):
        if isinstance(value, dict):
            for inner in value.values():
                yield from texts(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from texts(inner)
        elif isinstance(value, str):
            yield value

    for thing in objects:
        if thing["kind"] == "Secret":
            yield f"{title(thing)}: secrets are the user's to make"
        for key in thing.get("data", {}):
            if secret_name.search(key):
                yield f"{title(thing)}: {key}: a secret in the open"
        if any(in_url.search(text) for text in texts(thing)):
            yield f"{title(thing)}: an address with a password"
    for workload, _, container in containers(objects):
        for variable in container.get("env", []):
            if secret_name.search(variable["name"]) and "value" in variable:
                yield f"{title(workload)}: {variable['name']}: a secret in the open"


def containers_are_tight(objects, _project):
    """Resources, probes, and no rights beyond computing."""
    for workload, pod, container in containers(objects):
        where = f"{title(workload)}: {container['name']}"
        resources = container.get("resources", {})
        for bound in ("requests", "limits"):
            for resource in ("cpu", "memory"):
                if resource not in resources.get(bound, {}):
                    yield f"{where}: no {bound} of {resource}"
        asked, allowed = resources.get("requests", {}), resources.get("limits", {})
        if asked.get("memory") != allowed.get("memory"):
            yield f"{where}: memory asked for and allowed differ: it dies on a full node"
        ports = {port["name"] for port in container.get("ports", [])}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            get = container.get(probe, {}).get("httpGet", {})
            path = "/ready" if probe == "readinessProbe" else "/health"
            if get.get("path") != path or get.get("port") not in ports:
                yield f"{where}: {probe} does not ask for {path} at a port of its own"
        security = {**pod.get("securityContext", {}), **container.get("securityContext", {})}
        wanted = {
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        for key, value in wanted.items():
            if security.get(key) != value:
                yield f"{where}: securityContext.{key} is not {value}"
        if pod.get("automountServiceAccountToken") is not False:
            yield f"{where}: it is given a token of the Kubernetes API"
        if any(pod.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")):
            yield f"{where}: it shares the node's network or processes"
        if any("hostPath" in volume for volume in pod.get("volumes", [])):
            yield f"{where}: it mounts a folder of the node"
    for account in of_kind(objects, "ServiceAccount"):
        if account.get("automountServiceAccountToken") is not False:
            yield f"{title(account)}: it hands out tokens of the Kubernetes API"
    for thing in of_kind(objects, "Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"):
        yield f"{title(thing)}: nobody here needs rights"


def selectors(objects, _project):
    """Every selector selects pods; every pod is under a policy, every Deployment under a budget."""
    pods = all_labels(objects)

    def some(selector):
        return any(matches(selector, pod) for pod in pods)

    budgets = of_kind(objects, "PodDisruptionBudget")
    policies = of_kind(objects, "NetworkPolicy")
    for budget in budgets:
        if not some(budget["spec"]["selector"]):
            yield f"{title(budget)}: selects no pod"
    for policy in policies:
        if not some(policy["spec"]["podSelector"]):
            yield f"{title(policy)}: selects no pod"
        peers = [(rule, "from") for rule in policy["spec"].get("ingress", [])]
        peers += [(rule, "to") for rule in policy["spec"].get("egress", [])]
        for peer in (peer for rule, side in peers for peer in rule.get(side, [])):
            if "podSelector" in peer and not some(peer["podSelector"]):
                yield f"{title(policy)}: speaks of pods that do not exist: {peer['podSelector']}"
    for pod in pods:
        name = "/".join(sorted(pod.values()))
        over = [p for p in policies if matches(p["spec"]["podSelector"], pod)]
        if not any("Ingress" in policy["spec"]["policyTypes"] for policy in over):
            yield f"pods {name}: anybody may speak to them"
    for workload in workloads(objects):
        over = [p for p in policies if matches(p["spec"]["podSelector"], labels(workload))]
        if not any("Egress" in policy["spec"]["policyTypes"] for policy in over):
            yield f"{title(workload)}: may speak to anybody"
    for deployment in of_kind(objects, "Deployment"):
        count = sum(matches(b["spec"]["selector"], labels(deployment)) for b in budgets)
        if count != 1:
            yield f"{title(deployment)}: {count} disruption budgets; a drain needs exactly one"
        for spread in template(deployment)["spec"].get("topologySpreadConstraints", []):
            if not matches(spread["labelSelector"], labels(deployment)):
                yield f"{title(deployment)}: spreads pods that are not its own"


def grace(objects, _project):
    """Longest task < grace period; < the campaign's stall_seconds; < the broker's deadline."""
    stall = campaign(objects).get("execution", {}).get("stall_seconds")
    if stall is None:
        yield "the campaign does not say execution.stall_seconds"
        return
    deadlines = []
    for broker in of_kind(objects, "RabbitmqCluster"):
        config = broker["spec"].get("rabbitmq", {}).get("additionalConfig", "")
        found = re.search(r"^consumer_timeout = ([0-9]+)$", config, re.MULTILINE)
        if found is None:
            yield f"{title(broker)}: no consumer_timeout"
            continue
        deadlines.append(int(found[1]) / 1000)
    for workload in workloads(objects):
        longest = longest_task_seconds(workload)
        if longest is None:
            yield f"{title(workload)}: no annotation outshine/longest-task-seconds"
            continue
        given = template(workload)["spec"].get("terminationGracePeriodSeconds", 30)
        if given <= longest:
            yield f"{title(workload)}: {given} s to end a task of up to {longest} s"
        if longest >= stall:
            yield f"{title(workload)}: tasks of {longest} s, published again after {stall} s"
        if any(longest >= deadline / 2 for deadline in deadlines):
            yield f"{title(workload)}: tasks of {longest} s are too near the broker's deadline"


def scaling(objects, project):
    """Unacknowledged messages count, the queue is the class's, and it can be long enough."""
    window = campaign(objects).get("execution", {}).get("queue_window", project.queue_window)
    scaled = {}
    for scaler in of_kind(objects, "ScaledObject"):
        where, spec = title(scaler), scaler["spec"]
        deployment = named(objects, "Deployment", spec["scaleTargetRef"]["name"])
        if deployment is None:
            yield f"{where}: there is no Deployment {spec['scaleTargetRef']['name']}"
            continue
        scaled[title(deployment)] = where
        most = spec.get("maxReplicaCount", 100)
        if spec.get("minReplicaCount", 0) > most:
            yield f"{where}: at least more than at most"
        for trigger in spec["triggers"]:
            said = trigger["metadata"]
            counted = (said.get("protocol"), said["mode"], said.get("excludeUnacknowledged"))
            if counted != ("http", "QueueLength", "false"):
                yield f"{where}: does not count unacknowledged messages"
            queue = f"{project.queue}.{labels(deployment).get('outshine/class')}"
            if said["queueName"] != queue:
                yield f"{where}: scales by {said['queueName']}, its workers read {queue}"
            if float(said["value"]) * most > window:
                yield f"{where}: queue_window {window} never asks for {most} workers"
            wanted = [
                f"http://{broker['metadata']['name']}.{NAMESPACE}.svc:15672/"
                for broker in of_kind(objects, "RabbitmqCluster")
            ]
            if said.get("host") not in wanted:
                yield f"{where}: asks {said.get('host')}, where no broker is"
            name = trigger.get("authenticationRef", {}).get("name")
            if named(objects, "TriggerAuthentication", name) is None:
                yield f"{where}: there is no TriggerAuthentication {name}"
    for deployment in of_kind(objects, "Deployment"):
        fixed = "replicas" in deployment["spec"]
        if fixed == (title(deployment) in scaled):
            yield f"{title(deployment)}: its number must be set here or by KEDA, and not by both"


def programs(objects, project):
    """Programs are where the image has them, and read the variables that they are given."""
    for workload, _, container in containers(objects):
        where, path = title(workload), container["command"][0]
        known = project.variables.get(path)
        if known is None:
            yield f"{where}: {path} is not in the image"
            continue
        given = [variable["name"] for variable in container.get("env", [])]
        for source in container.get("envFrom", []):
            settings = named(objects, "ConfigMap", source["configMapRef"]["name"])
            given += list((settings or {}).get("data", {}))
        for name in given:
            if name.startswith("OUTSHINE_") and name not in known:
                yield f"{where}: {path} does not read {name}"
        for name in ("OUTSHINE_STORE", "OUTSHINE_QUEUE", "OUTSHINE_HTTP"):
            if name not in given:
                yield f"{where}: {name} is not set"
    for key in campaign(objects).get("execution", {}):
        if key not in project.execution_keys:
            yield f"campaign.toml: execution.{key}: no such key"


def broker(objects, _project):
    """There is one, and the workers' address is its own."""
    brokers = of_kind(objects, "RabbitmqCluster")
    if len(brokers) != 1:
        yield f"{len(brokers)} brokers, not one"
        return
    host = brokers[0]["metadata"]["name"]
    for workload, _, container in containers(objects):
        address = [v["value"] for v in container["env"] if v["name"] == "OUTSHINE_QUEUE"]
        if not any(f"@{host}:5672/" in url for url in address):
            yield f"{title(workload)}: its OUTSHINE_QUEUE is not {host}"
    affinity = brokers[0]["spec"].get("affinity", {}).get("podAntiAffinity", {})
    for term in affinity.get("requiredDuringSchedulingIgnoredDuringExecution", []):
        if not matches(term["labelSelector"], brokers_labels(brokers[0])):
            yield f"{title(brokers[0])}: keeps apart from pods that are not its own"
    if brokers[0]["spec"]["replicas"] > 1 and not affinity:
        yield f"{title(brokers[0])}: its nodes may all be on one machine"


def from_secret(variable):
    """The key of a secret that a variable is from; empty where it is from none."""
    return variable.get("valueFrom", {}).get("secretKeyRef", {})


def database(objects, _project):
    """Who loads the database is told where by a secret that may be missing, and can reach it."""
    port = 5432

    def opens(policy):
        rules = policy["spec"].get("egress", [])
        return any(entry.get("port") == port for rule in rules for entry in rule.get("ports", []))

    ways = [policy for policy in of_kind(objects, "NetworkPolicy") if opens(policy)]
    for workload, _, container in containers(objects):
        where, over = title(workload), []
        for policy in ways:
            if matches(policy["spec"]["podSelector"], labels(workload)):
                over.append(policy)
        loads = [v for v in container.get("env", []) if v["name"] == "OUTSHINE_DATABASE"]
        if loads and not over:
            yield f"{where}: loads a database, and no policy lets it reach port {port}"
        if over and not loads:
            yield f"{where}: may reach port {port} and loads no database"
        for variable in loads:
            secret = from_secret(variable)
            same = [v for v in container["env"] if from_secret(v).get("name") == secret.get("name")]
            for own in same if secret else loads:
                if not from_secret(own).get("optional"):
                    yield f"{where}: {own['name']} is not from a secret that may be missing"


ALL = [
    valid,
    names,
    references,
    no_literal_secrets,
    containers_are_tight,
    selectors,
    grace,
    scaling,
    programs,
    broker,
    database,
]
