"""Objects against the schemas of their APIs: no unknown field, no wrong type.

Kubernetes' own kinds: the schemas of the package `kubernetes-validate`, in their
strict form, of the oldest version that these manifests are for and of the newest
there is. Custom resources: the schemas below, of those fields that are of use
here; what they embed of Kubernetes (resources, affinity, the behaviour of an
autoscaler) is held against Kubernetes' own.
"""

import functools

import jsonschema
import kubernetes_validate
from kubernetes_validate import utils

# The first version whose Job has `podReplacementPolicy` on by default is 1.29.
OLDEST = "1.30"
VERSIONS = (OLDEST, kubernetes_validate.latest_version())

# Definitions of a version are one large file: read it once.
utils.schema_contents = functools.cache(utils.schema_contents)

TEXT = {"type": "string", "minLength": 1}
COUNT = {"type": "integer", "minimum": 0}
QUANTITY = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(m|[KMGTPE]i?)?$"}


def record(required=(), **fields):
    """An object with these fields and no others."""
    return {
        "type": "object",
        "properties": fields,
        "required": list(required),
        "additionalProperties": False,
    }


def custom(kind, spec):
    """A custom resource. Kubernetes itself checks the metadata of all."""
    return record(
        ["apiVersion", "kind", "metadata", "spec"],
        apiVersion=TEXT,
        kind={"const": kind},
        metadata={"type": "object"},
        spec=spec,
    )


# Source: the CRD rabbitmqclusters.rabbitmq.com (v1beta1) of the RabbitMQ cluster
# operator and its Go types. Of node counts it says: only 1, 3 and 5 are tested.
RABBITMQ = custom(
    "RabbitmqCluster",
    record(
        ["replicas", "image", "persistence", "resources"],
        replicas={"enum": [1, 3, 5]},
        image=TEXT,
        imagePullSecrets={"type": "array", "items": record(["name"], name=TEXT)},
        persistence=record(["storage"], storageClassName=TEXT, storage=QUANTITY),
        service=record(type={"enum": ["ClusterIP", "LoadBalancer", "NodePort"]}),
        resources={"type": "object"},
        affinity={"type": "object"},
        tolerations={"type": "array"},
        rabbitmq=record(
            additionalPlugins={"type": "array", "items": TEXT},
            additionalConfig={"type": "string", "maxLength": 2000},
            advancedConfig={"type": "string", "maxLength": 100000},
            envConfig={"type": "string", "maxLength": 100000},
        ),
        tls=record(
            secretName=TEXT, caSecretName=TEXT, disableNonTLSListeners={"type": "boolean"}
        ),
        skipPostDeploySteps={"type": "boolean"},
        terminationGracePeriodSeconds=COUNT,
    ),
)

# Source: KEDA's rabbitmq scaler, which reads its metadata by these names. Values
# are strings, whatever they mean.
FLAG = {"enum": ["true", "false"]}
NUMBER = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?$"}
RABBITMQ_TRIGGER = record(
    ["queueName", "mode", "value"],
    queueName=TEXT,
    mode={
        "enum": [
            "QueueLength",
            "MessageRate",
            "DeliverGetRate",
            "PublishedToDeliveredRatio",
            "ExpectedQueueConsumptionTime",
        ]
    },
    value=NUMBER,
    activationValue=NUMBER,
    host=TEXT,
    hostFromEnv=TEXT,
    usernameFromEnv=TEXT,
    passwordFromEnv=TEXT,
    protocol={"enum": ["auto", "http", "amqp"]},
    vhostName=TEXT,
    useRegex=FLAG,
    excludeUnacknowledged=FLAG,
    pageSize=NUMBER,
    operation={"enum": ["sum", "max", "avg"]},
    timeout=TEXT,
    unsafeSsl=FLAG,
)

# Source: the CRD scaledobjects.keda.sh (v1alpha1).
SCALED_OBJECT = custom(
    "ScaledObject",
    record(
        ["scaleTargetRef", "triggers"],
        scaleTargetRef=record(
            ["name"], name=TEXT, kind=TEXT, apiVersion=TEXT, envSourceContainerName=TEXT
        ),
        pollingInterval=COUNT,
        cooldownPeriod=COUNT,
        initialCooldownPeriod=COUNT,
        idleReplicaCount=COUNT,
        minReplicaCount=COUNT,
        maxReplicaCount=COUNT,
        fallback=record(
            ["failureThreshold", "replicas"],
            failureThreshold=COUNT,
            replicas=COUNT,
            behavior=TEXT,
        ),
        advanced=record(
            restoreToOriginalReplicaCount={"type": "boolean"},
            horizontalPodAutoscalerConfig=record(name=TEXT, behavior={"type": "object"}),
        ),
        triggers={
            "type": "array",
            "minItems": 1,
            "items": record(
                ["type", "metadata"],
                type={"const": "rabbitmq"},
                name=TEXT,
                metadata=RABBITMQ_TRIGGER,
                authenticationRef=record(["name"], name=TEXT, kind=TEXT),
                metricType={"enum": ["AverageValue", "Value"]},
                useCachedMetrics={"type": "boolean"},
            ),
        },
    ),
)

# Source: the CRD triggerauthentications.keda.sh (v1alpha1); the parameters are
# those that the rabbitmq scaler takes from an authentication.
TRIGGER_AUTHENTICATION = custom(
    "TriggerAuthentication",
    record(
        ["secretTargetRef"],
        secretTargetRef={
            "type": "array",
            "minItems": 1,
            "items": record(
                ["parameter", "name", "key"],
                parameter={
                    "enum": [
                        *["host", "protocol", "vhostName", "username", "password"],
                        *["tls", "ca", "cert", "key", "keyPassword"],
                    ]
                },
                name=TEXT,
                key=TEXT,
            ),
        },
    ),
)

CUSTOM = {
    ("rabbitmq.com/v1beta1", "RabbitmqCluster"): RABBITMQ,
    ("keda.sh/v1alpha1", "ScaledObject"): SCALED_OBJECT,
    ("keda.sh/v1alpha1", "TriggerAuthentication"): TRIGGER_AUTHENTICATION,
}


def embedded(thing):
    """What a custom resource embeds, as objects that Kubernetes has a schema for."""
    spec, meta = thing["spec"], {"name": thing["metadata"]["name"]}
    if thing["kind"] == "RabbitmqCluster":
        pod = {key: spec[key] for key in ("affinity", "tolerations") if key in spec}
        resources = spec.get("resources", {})
        pod["containers"] = [{"name": "rabbitmq", "resources": resources}]
        yield {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": pod}
    advanced = spec.get("advanced", {}).get("horizontalPodAutoscalerConfig", {})
    if "behavior" in advanced:
        target = {"kind": "Deployment", "name": spec["scaleTargetRef"]["name"]}
        scaler = {
            "scaleTargetRef": target,
            "maxReplicas": 1,
            "behavior": advanced["behavior"],
        }
        yield {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": meta,
            "spec": scaler,
        }
    # The metadata of any object.
    yield {"apiVersion": "v1", "kind": "ConfigMap", "metadata": thing["metadata"]}


def place(error):
    """Where in an object a schema was violated."""
    return ".".join(str(part) for part in error.absolute_path) or "the object"


def problems(thing, versions=VERSIONS):
    """Violations of the schemas of one object."""
    schema = CUSTOM.get((thing.get("apiVersion"), thing.get("kind")))
    if schema is None:
        native = [thing]
    else:
        found = list(jsonschema.Draft202012Validator(schema).iter_errors(thing))
        yield from (f"{place(error)}: {error.message}" for error in found)
        native = [] if found else embedded(thing)
    for part in native:
        for version in versions:
            try:
                kubernetes_validate.validate(part, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                yield f"{place(error)}: {error.message} (Kubernetes {version})"
            except kubernetes_validate.SchemaNotFoundError as error:
                yield f"Kubernetes {version}: {error.message}"
