"""The dashboard and the systemd units."""

import configparser
import json
import re


def expressions(panels):
    """Every query of a dashboard, rows and their panels included."""
    for panel in panels:
        yield from expressions(panel.get("panels", []))
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]


def metrics(project):
    """deploy/README.md describes the metrics of the sources, with their labels and values."""
    path = "deploy/README.md"
    described = project.described_metrics
    for name in sorted(set(project.metrics) ^ set(described)):
        where = "is not described" if name in project.metrics else "is none of the sources"
        yield f"{path}: {name} {where}"
    for name in set(project.metrics) & set(described):
        labels, words = described[name]
        if labels != set(project.metrics[name]):
            yield f"{path}: {name} has the labels {sorted(project.metrics[name])}"
        for value in set().union(*project.metrics[name].values()):
            if f"`{value}`" not in words:
                yield f"{path}: {name} may be `{value}`"


def dashboard(project):
    """The dashboard asks for the metrics of the sources: no others, and each at least once."""
    path = "deploy/grafana/outshine.json"
    board = json.loads(project.text(path))
    asked = set()
    for panel, query in expressions(board["panels"]):
        for name in re.findall(r"\boutshine_[a-z_]+", query):
            plain = re.sub(r"_(bucket|sum|count)$", "", name)
            asked.add(plain)
            if plain not in project.metrics:
                yield f"{path}: {panel}: {name} is none of the sources"
                continue
            own = project.metrics[plain]
            # Those that Prometheus adds are free.
            known = set(own) | {"le", "pod", "namespace", "instance", "job"}
            for inside in re.findall(re.escape(name) + r"\{([^}]*)\}", query):
                for label, value in re.findall(r'([a-z_]+)\s*(?:=~|!=|!~|=)\s*"([^"]*)"', inside):
                    if label not in known:
                        yield f"{path}: {panel}: {name} has no label {label}"
                    for one in value.split("|") if own.get(label) else []:
                        if one not in own[label]:
                            yield f"{path}: {panel}: {label} of {name} is never {one}"
        if query.count("(") != query.count(")") or query.count("{") != query.count("}"):
            yield f"{path}: {panel}: brackets do not close: {query}"
    for name in sorted(set(project.metrics) - asked):
        yield f"{path}: no panel shows {name}"
    numbers = [panel["id"] for panel in board["panels"]]
    if len(numbers) != len(set(numbers)):
        yield f"{path}: two panels have one id"


def unit(text):
    """A systemd unit, its repeated keys joined."""
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    parser.optionxform = str
    parser.read_string(text)
    return parser


def units(project, longest):
    """Units start programs of the image with variables that they read, and let tasks end."""
    folder = project.top / "deploy/systemd"
    given = re.findall(r"^(OUTSHINE_[A-Z_]+)=", project.text("deploy/systemd/outshine.env"), re.M)
    for path in sorted(folder.glob("*.service")):
        where = f"deploy/systemd/{path.name}"
        service = unit(path.read_text())["Service"]
        known = project.variables.get(service["ExecStart"].split()[0])
        if known is None:
            yield f"{where}: ExecStart is none of the programs"
            continue
        own = re.findall(r"^Environment=(OUTSHINE_[A-Z_]+)=", path.read_text(), re.M)
        for name in own + given:
            if name not in known:
                yield f"{where}: {service['ExecStart']} does not read {name}"
        if "worker" in path.name and int(service["TimeoutStopSec"]) <= longest:
            yield f"{where}: {service['TimeoutStopSec']} s to end a task of up to {longest} s"
        for key in ("DynamicUser", "NoNewPrivileges"):
            if service.get(key) != "yes":
                yield f"{where}: {key} is not yes"
