#!/usr/bin/env python3
"""Renders every overlay of deploy/kubernetes as `kubectl apply -k` would, and checks it.

    target/test-tools/bin/python deploy/check.py

Checked are: every object against the schema of its API, unknown fields included;
what must hold between the objects (deploy/checks/rules.py); the dashboard and the
systemd units. Last, faults are planted that each rule must find. Needs kubectl,
and `kubernetes-validate` and `jsonschema` from PyPI: tests/install-servers.sh
installs all three.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

sys.dont_write_bytecode = True
TOP = Path(__file__).resolve().parent.parent
TOOLS = Path(os.environ.get("OUTSHINE_TOOLS", TOP / "target/test-tools"))

try:
    import yaml
    from checks import objects as look
    from checks import plants, rules, texts
    from checks.project import Project
except ImportError as error:
    python = TOOLS / "bin/python"
    sys.exit(f"check: {error}: run tests/install-servers.sh, then {python} deploy/check.py")


def kubectl():
    """The machine's, or the one of tests/install-servers.sh, if either knows these files."""
    for program in (shutil.which("kubectl"), shutil.which(str(TOOLS / "bin/kubectl"))):
        if program is None:
            continue
        version = subprocess.run(
            [program, "version", "--client"], capture_output=True, text=True, timeout=60
        )
        if "Kustomize Version: v5" in version.stdout:
            return program
    return None


def render(program, overlay):
    """The objects of one overlay."""
    done = subprocess.run(
        [program, "kustomize", str(overlay)], capture_output=True, text=True, timeout=60
    )
    if done.returncode != 0 or done.stderr:
        sys.exit(f"check: {program} kustomize {overlay}: {done.stderr.strip()}")
    return [thing for thing in yaml.safe_load_all(done.stdout) if thing is not None]


def main():
    """Prints every problem; fails if there is one."""
    program = kubectl()
    if program is None:
        print("SKIPPED: no kubectl of version 1.27 or later: NOTHING of deploy/ is checked")
        return 0
    project = Project(TOP)
    folder = TOP / "deploy/kubernetes/overlays"
    overlays = {path.name: render(program, path) for path in sorted(folder.iterdir())}
    found, longest = [], 0
    for name, things in overlays.items():
        for rule in rules.ALL:
            problems = [f"{name}: {text}" for text in rule(things, project)]
            found += problems
            if problems and rule is rules.valid:
                break  # The other rules take objects of the right form.
        said = [look.longest_task_seconds(workload) or 0 for workload in look.workloads(things)]
        longest = max([longest, *said])
    found += texts.metrics(project)
    found += texts.dashboard(project)
    found += texts.units(project, longest)
    if not found:
        found = [f"self-test: {text}" for text in plants.missed(overlays["production"], project)]
    for text in found:
        print(f"check: {text}")
    count = sum(len(things) for things in overlays.values())
    print(
        f"check: {len(overlays)} overlays, {count} objects, {len(rules.ALL)} rules, "
        f"{len(plants.PLANTS)} planted faults; {len(found)} problems"
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
