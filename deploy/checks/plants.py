"""Faults planted into rendered manifests: each must be found by the rule it is for.

A check that finds nothing wrong in them would find nothing wrong anywhere.
"""

import copy

from . import rules
from .objects import named, of_kind, template


def fit(objects):
    """The Deployment of the class `fit`."""
    return named(objects, "Deployment", "outshine-worker-fit")


def container(objects):
    """Its container."""
    return template(fit(objects))["spec"]["containers"][0]


def scaler(objects):
    """Its ScaledObject."""
    return named(objects, "ScaledObject", "outshine-worker-fit")


def policy(objects):
    """The policy of Outshine's pods."""
    return named(objects, "NetworkPolicy", "outshine")


def variable(objects, name):
    """A variable of the worker's."""
    return next(v for v in container(objects)["env"] if v["name"] == name)


def one_broker(objects):
    """The broker."""
    return of_kind(objects, "RabbitmqCluster")[0]


def job(objects):
    """The coordinator's container."""
    return template(of_kind(objects, "Job")[0])["spec"]["containers"][0]


def database(objects):
    """The policy of who loads the database."""
    return named(objects, "NetworkPolicy", "outshine-database")["spec"]


def address(objects):
    """The variable that says where the database is."""
    return next(v for v in job(objects)["env"] if v["name"] == "OUTSHINE_DATABASE")


def password(objects):
    """The variable that has the database's password."""
    return next(v for v in job(objects)["env"] if v["name"] == "PGPASSWORD")


def settings(objects):
    """The data of the settings."""
    maps = of_kind(objects, "ConfigMap")
    return next(m["data"] for m in maps if m["metadata"]["name"].startswith("outshine-settings"))


def campaign(objects, old, new):
    """Changes the campaign file."""
    data = next(m["data"] for m in of_kind(objects, "ConfigMap") if "campaign.toml" in m["data"])
    assert old in data["campaign.toml"], f"the campaign has no `{old}`"
    data["campaign.toml"] = data["campaign.toml"].replace(old, new)


def rename(where, old, new):
    """Misspells a key."""
    where[new] = where.pop(old)


def put(where, key, value):
    """Sets a key that is there."""
    assert key in where, f"no {key} to change"
    where[key] = value


# What is planted, the rule that must find it, and how it is done to the overlay
# `production`, which has every kind of object.
PLANTS = [
    ("a typo in a Deployment", rules.valid,
     lambda o: rename(container(o), "imagePullPolicy", "imagePullPolice")),
    ("a typo in a probe", rules.valid,
     lambda o: rename(container(o)["livenessProbe"], "periodSeconds", "periodSecond")),
    ("a number as text", rules.valid,
     lambda o: put(template(fit(o))["spec"], "terminationGracePeriodSeconds", "330")),
    ("a typo in the Job", rules.valid,
     lambda o: rename(of_kind(o, "Job")[0]["spec"], "backoffLimit", "backOffLimit")),
    ("a typo in a NetworkPolicy", rules.valid,
     lambda o: rename(policy(o)["spec"], "policyTypes", "policyType")),
    ("a typo in a ScaledObject", rules.valid,
     lambda o: rename(scaler(o)["spec"], "maxReplicaCount", "maxReplicas")),
    ("a typo in a trigger", rules.valid,
     lambda o: rename(scaler(o)["spec"]["triggers"][0]["metadata"], "queueName", "queue")),
    ("a typo in an autoscaler's behaviour", rules.valid,
     lambda o: scaler(o)["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
     ["scaleDown"].update(stabilisationWindowSeconds=1)),
    ("a typo in a RabbitmqCluster", rules.valid,
     lambda o: rename(one_broker(o)["spec"], "persistence", "persistance")),
    ("a typo in the broker's affinity", rules.valid,
     lambda o: rename(one_broker(o)["spec"]["affinity"], "podAntiAffinity", "antiAffinity")),
    ("an even number of brokers", rules.valid,
     lambda o: put(one_broker(o)["spec"], "replicas", 2)),
    ("an API that is gone", rules.valid,
     lambda o: put(of_kind(o, "PodDisruptionBudget")[0], "apiVersion", "policy/v1beta1")),
    ("another namespace", rules.names,
     lambda o: put(fit(o)["metadata"], "namespace", "default")),
    ("a secret nobody makes", rules.references,
     lambda o: put(variable(o, "AWS_ACCESS_KEY_ID")["valueFrom"]["secretKeyRef"], "name", "keys")),
    ("a key that the operator's secret lacks", rules.references,
     lambda o: put(variable(o, "BROKER_USER")["valueFrom"]["secretKeyRef"], "key", "user")),
    ("a ConfigMap that is missing", rules.references,
     lambda o: put(container(o)["envFrom"][0]["configMapRef"], "name", "outshine-settings")),
    ("an image nobody names", rules.references,
     lambda o: put(container(o), "image", "example.org/other:1")),
    ("an image without a tag", rules.references,
     lambda o: put(container(o), "image", "registry.example.org/outshine")),
    ("a password in an address", rules.no_literal_secrets,
     lambda o: put(variable(o, "OUTSHINE_QUEUE"), "value", "amqp://u:p@outshine-broker:5672/")),
    ("a secret among the settings", rules.no_literal_secrets,
     lambda o: settings(o).update(AWS_SECRET_ACCESS_KEY="x")),
    ("a Secret in the manifests", rules.no_literal_secrets,
     lambda o: o.append({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}})),
    ("no limit of memory", rules.containers_are_tight,
     lambda o: container(o)["resources"]["limits"].pop("memory")),
    ("no readiness probe", rules.containers_are_tight,
     lambda o: container(o).pop("readinessProbe")),
    ("a probe of a port that is not there", rules.containers_are_tight,
     lambda o: put(container(o)["livenessProbe"]["httpGet"], "port", "web")),
    ("a root file system to write to", rules.containers_are_tight,
     lambda o: put(container(o)["securityContext"], "readOnlyRootFilesystem", False)),
    ("root", rules.containers_are_tight,
     lambda o: template(fit(o))["spec"]["securityContext"].pop("runAsNonRoot")),
    ("a token", rules.containers_are_tight,
     lambda o: template(fit(o))["spec"].pop("automountServiceAccountToken")),
    ("a budget of no pods", rules.selectors,
     lambda o: put(of_kind(o, "PodDisruptionBudget")[1]["spec"]["selector"]["matchLabels"],
                   "app.kubernetes.io/component", "workers")),
    ("a policy of no pods", rules.selectors,
     lambda o: put(policy(o)["spec"]["podSelector"]["matchLabels"],
                   "app.kubernetes.io/name", "outshin")),
    ("a policy that names no broker", rules.selectors,
     lambda o: put(policy(o)["spec"]["egress"][1]["to"][0]["podSelector"]["matchLabels"],
                   "app.kubernetes.io/name", "rabbitmq")),
    ("no policy of what goes out", rules.selectors,
     lambda o: policy(o)["spec"]["policyTypes"].remove("Egress")),
    ("too short a grace period", rules.grace,
     lambda o: put(template(fit(o))["spec"], "terminationGracePeriodSeconds", 300)),
    ("tasks longer than stall_seconds", rules.grace,
     lambda o: campaign(o, "stall_seconds = 600", "stall_seconds = 300")),
    ("tasks longer than the broker waits", rules.grace,
     lambda o: put(one_broker(o)["spec"]["rabbitmq"], "additionalConfig",
                   "consumer_timeout = 600000\n")),
    ("unacknowledged messages that do not count", rules.scaling,
     lambda o: put(scaler(o)["spec"]["triggers"][0]["metadata"], "protocol", "amqp")),
    ("the queue of the other class", rules.scaling,
     lambda o: put(scaler(o)["spec"]["triggers"][0]["metadata"], "queueName",
                   "outshine.tasks.v1.train")),
    ("a window too short for the workers", rules.scaling,
     lambda o: campaign(o, "queue_window = 500", "queue_window = 499")),
    ("a broker in another namespace", rules.scaling,
     lambda o: put(scaler(o)["spec"]["triggers"][0]["metadata"], "host",
                   "http://outshine-broker.default.svc:15672/")),
    ("a fixed number beside KEDA's", rules.scaling,
     lambda o: fit(o)["spec"].update(replicas=3)),
    ("a variable that nobody reads", rules.programs,
     lambda o: put(variable(o, "OUTSHINE_SLOTS"), "name", "OUTSHINE_SLOT")),
    ("a program that is not in the image", rules.programs,
     lambda o: put(container(o), "command", ["/bin/outshine-worker"])),
    ("a key that campaigns do not have", rules.programs,
     lambda o: campaign(o, "queue_window", "window")),
    ("an address of no broker", rules.broker,
     lambda o: put(one_broker(o)["metadata"], "name", "rabbit")),
    ("a database that cannot be reached", rules.database,
     lambda o: put(database(o)["egress"][0]["ports"][0], "port", 5433)),
    ("a way to the database for all", rules.database,
     lambda o: database(o)["podSelector"]["matchLabels"].pop("app.kubernetes.io/component")),
    ("a password that each campaign needs", rules.database,
     lambda o: password(o)["valueFrom"]["secretKeyRef"].pop("optional")),
    ("a secret that each campaign needs", rules.database,
     lambda o: address(o)["valueFrom"]["secretKeyRef"].pop("optional")),
    ("a database in the open", rules.database,
     lambda o: address(o).update(value=address(o).pop("valueFrom")["secretKeyRef"]["name"])),
    ("a database's secret nobody makes", rules.references,
     lambda o: put(address(o)["valueFrom"]["secretKeyRef"], "name", "database")),
    ("brokers on one machine", rules.broker,
     lambda o: one_broker(o)["spec"].pop("affinity")),
]


def missed(objects, project):
    """The planted faults that their rule does not find, or that are there unplanted."""
    for what, rule, plant in PLANTS:
        if list(rule(objects, project)):
            yield f"{rule.__name__} finds faults before `{what}` is planted"
            continue
        changed = copy.deepcopy(objects)
        plant(changed)
        if not list(rule(changed, project)):
            yield f"{rule.__name__} does not find {what}"
