"""Facts of the project, read from its sources and pages."""

import re
from functools import cached_property


class Project:
    """The project in a folder."""

    def __init__(self, top):
        """Reads nothing yet."""
        self.top = top

    def text(self, path):
        """A file."""
        return (self.top / path).read_text()

    def one(self, pattern, path):
        """The one match of a pattern in a file."""
        found = re.findall(pattern, self.text(path), re.DOTALL)
        if len(found) != 1:
            raise SystemExit(f"deploy/checks/project.py: {path}: {len(found)} times: {pattern}")
        return found[0]

    @cached_property
    def queue(self):
        """The name of the queues, without the class."""
        return self.one(r'"(outshine\.tasks\.v[0-9]+)"', "schemas/src/task.rs")

    @cached_property
    def queue_window(self):
        """The default of `execution.queue_window`."""
        return int(self.one(r"queue_window: ([0-9_]+),", "schemas/src/campaign/steps.rs"))

    @cached_property
    def execution_keys(self):
        """The keys of `[execution]` of a campaign."""
        body = self.one(r"pub struct Execution \{(.*?)\n\}", "schemas/src/campaign/steps.rs")
        return set(re.findall(r"pub ([a-z_]+):", body))

    @cached_property
    def variables(self):
        """The path of each program in the image, and the variables that it reads."""
        sources = {"outshine": "coordinator/src", "outshine-worker": "worker/src"}
        known = {}
        for program, folder in sources.items():
            text = "".join(path.read_text() for path in (self.top / folder).rglob("*.rs"))
            found = set(re.findall(r'env = "(OUTSHINE_[A-Z_]+)"', text))
            known[f"/usr/local/bin/{program}"] = found
        return known

    @cached_property
    def users_names(self):
        """Images and secrets that deploy/README.md asks its reader for."""
        section = self.one(r"\n## What you provide\n(.*?)\n## ", "deploy/README.md")
        return set(re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE))

    @cached_property
    def metrics(self):
        """The metrics of the sources: name to labels, and these to their values, if few."""
        found = {}
        text = self.text("schemas/observe/src/names.rs")
        for comment, name in re.findall(
            r"((?:^/// .*\n)+)pub const [A-Z_]+: &str = \"(outshine_[a-z_]+)\";", text, re.MULTILINE
        ):
            # "Gauge by `stage` and `state` (planned, done): what it is".
            head = " ".join(line[4:] for line in comment.splitlines()).split(":")[0]
            pairs = re.findall(r"`([a-z]+)`(?: \(([a-z, ]+)\))?", head)
            found[name] = {label: set(filter(None, few.split(", "))) for label, few in pairs}
        return found

    @cached_property
    def described_metrics(self):
        """The metrics that deploy/README.md describes: name to labels, and the words on them."""
        rows = re.findall(
            r"^\| `(outshine_[a-z_]+)(?:\{([a-z_,]*)\})?` \| (.*) \|$",
            self.text("deploy/README.md"),
            re.MULTILINE,
        )
        return {n: (set(filter(None, labels.split(","))), words) for n, labels, words in rows}
