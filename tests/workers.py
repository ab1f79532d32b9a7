#!/usr/bin/env python3
"""Times stage fit with one worker and with two, in turns.

    cargo build --release -p outshine
    python3 tests/workers.py target/release/outshine deploy/campaigns/mock-survey.toml 3 \\
        --set field.mock.galaxies=120 --set calibrate.count=200 --set calibrate.required=false

The stage lasts from the last commit that it waits for to its own last commit.
The check of the answer: both have committed the same data.
"""

import json
import pathlib
import subprocess
import sys
import tempfile


def commits(store, stage):
    """When the commits of a stage were written, s, and digests of their data by shard."""
    files = list(pathlib.Path(store).glob(f"campaigns/*/commits/{stage}/**/*.json"))
    records = [json.loads(file.read_text()) for file in files]
    data = {record["shard"]["start"]: record["data_digest"] for record in records}
    return [file.stat().st_mtime for file in files], data


def fit(command, campaign, workers, settings):
    """Seconds of stage fit, and digests of what it made."""
    with tempfile.TemporaryDirectory() as store:
        run = [command, "run", campaign, "--store", store, "--workers", str(workers), *settings]
        subprocess.run(run + ["--until", "fit"], check=True, capture_output=True)
        begun = max(time for stage in ("field", "calibrate") for time in commits(store, stage)[0])
        ended, data = commits(store, "fit")
        return max(ended) - begun, data


def main():
    command, campaign, rounds, *settings = sys.argv[1:]
    ratios = []
    for number in range(int(rounds)):
        (one, first), (two, second) = (fit(command, campaign, n, settings) for n in (1, 2))
        if not first or first != second:
            sys.exit("one and two workers have made different data")
        ratios.append(one / two)
        line = f"round {number + 1}: one worker {one:.1f} s, two {two:.1f} s"
        print(f"{line}, ratio {ratios[-1]:.2f}, {len(first)} tasks", flush=True)
    print(f"RATIO {sorted(ratios)[len(ratios) // 2]:.2f}")


if __name__ == "__main__":
    main()
