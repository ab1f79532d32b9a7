#!/usr/bin/env python3
"""Times draws of a published estimator by sbi 0.23.3, beside our own in the same run.

    python3 -m venv VENV && VENV/bin/pip install torch==2.8.0 sbi==0.23.3 safetensors
    cargo build --release -p outshine-npe --example published_speed
    EXAMPLE=target/release/examples/published_speed
    $EXAMPLE export 15 500 maf             # or any folder with model.safetensors
    VENV/bin/python published_speed.py maf -- $EXAMPLE time maf

What follows `--` is a command that prints a line `RATE published NAME NUMBER`:
our milliseconds per pixel on one core. Rounds of both alternate, so that
whatever else the machine does meets both; the result is the median over rounds
of the ratio of that round's two times.

sbi's side: `build_maf` makes the network, the folder's weights are loaded into
it, and `estimator.sample` draws 500 points per pixel on the CPU, on one thread,
without gradients. That is the call inside `DirectPosterior.sample`, without its
rejection of draws outside the prior, which ours does not do either. Pixels go
to it one at a time and several at a time (`--together`); the faster way counts.

The check of the answer: from the base noise of `vectors.safetensors`, sbi's
network gives that file's theta to 1e-3 of its spread. Our command checks itself
against the same file.
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import time

# Before torch is loaded, which reads them once.
for name in ("OMP", "OPENBLAS", "MKL"):
    os.environ[f"{name}_NUM_THREADS"] = "1"

DRAWS = 500


def load(folder):
    """sbi's network with the folder's weights, its size, and the test vectors."""
    import torch
    from safetensors.torch import load_file
    from sbi.neural_nets.net_builders import build_maf

    torch.set_num_threads(1)
    weights = load_file(folder / "model.safetensors")
    dims = weights["t0._scale"].numel()
    context = weights["_embedding_net.0._mean"].numel()
    hidden = weights["t1.initial_layer.bias"].numel()
    blocks = sum(name.endswith("._permutation") for name in weights)
    estimator = build_maf(
        torch.randn(100, dims),
        torch.randn(100, context),
        hidden_features=hidden,
        num_transforms=blocks,
    )
    state = {}
    for name, value in weights.items():
        if not name.startswith("t"):
            state[f"net.{name}"] = value
            continue
        place, rest = name[1:].split(".", 1)
        own = "" if rest.startswith("_") else "autoregressive_net."
        state[f"net._transform._transforms.{place}.{own}{rest}"] = value
    missing, unknown = estimator.load_state_dict(state, strict=False)
    # A block of hidden units keeps its layer's degrees a second time in some versions.
    assert not unknown, unknown
    assert not [name for name in missing if "_distribution" not in name], missing
    estimator.eval()
    return estimator, f"{blocks}x{hidden}", load_file(folder / "vectors.safetensors")


def check(estimator, vectors):
    """The largest deviation of theta, in units of its spread."""
    import torch

    context, noise, theta = (vectors[n] for n in ("context", "base_noise", "theta"))
    draws, flow = noise.shape[1], estimator.net
    with torch.no_grad():
        given = flow._embedding_net(context).repeat_interleave(draws, dim=0)
        found, _ = flow._transform.inverse(noise.flatten(0, 1), context=given)
    spread = theta.var(dim=1).mean(dim=0).sqrt()
    worst = ((found.view_as(theta) - theta).abs().amax(dim=(0, 1)) / spread).max().item()
    assert worst < 1e-3, f"sbi's theta deviates by {worst} of its spread"
    return worst


def sbi_ms(estimator, context, together, seconds):
    """Median milliseconds per pixel, `together` pixels per call."""
    import torch

    times, first, started = [], 0, time.perf_counter()
    with torch.no_grad():
        while len(times) < 3 or time.perf_counter() - started < seconds:
            rows = [(first + k) % len(context) for k in range(together)]
            first += together
            start = time.perf_counter()
            theta = estimator.sample((DRAWS,), condition=context[rows])
            times.append((time.perf_counter() - start) * 1e3 / together)
            assert theta.shape[:2] == (DRAWS, together) and bool(theta.isfinite().all())
    return statistics.median(times)


def our_ms(command, name):
    """Runs our benchmark; returns the number of its line `RATE published NAME NUMBER`."""
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    for line in output.splitlines():
        words = line.split()
        if words[:3] == ["RATE", "published", name]:
            return float(words[3])
    sys.exit(f"no line `RATE published {name} NUMBER` from {' '.join(command)}:\n{output}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of sbi per way and round")
    parser.add_argument("--together", type=int, default=8, help="pixels per call, at most")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("command", nargs="*", help="our benchmark, after --")
    options = parser.parse_args()

    estimator, name, vectors = load(options.folder)
    print(f"sbi's theta is the vectors' to {check(estimator, vectors):.1e} of its spread")
    ways = sorted({1, options.together})
    for together in ways:
        sbi_ms(estimator, vectors["context"], together, 0.0)
    times, ours, ratios = [], [], []
    for number in range(options.rounds):
        found = [sbi_ms(estimator, vectors["context"], n, options.seconds) for n in ways]
        times.append(min(found))
        each = ", ".join(f"{ms:.1f} ({n} a call)" for n, ms in zip(ways, found))
        line = f"round {number + 1}: sbi {each} ms per pixel"
        if options.command:
            ours.append(our_ms(options.command, name))
            ratios.append(times[-1] / ours[-1])
            line += f", ours {ours[-1]:.2f}, ratio {ratios[-1]:.1f}"
        print(line, flush=True)
    low, middle, high = min(times), statistics.median(times), max(times)
    print(f"SBI published {name} {middle:.1f} ms per pixel (rounds {low:.1f} to {high:.1f})")
    if ratios:
        print(f"OURS published {name} {statistics.median(ours):.2f} ms per pixel")
        spread = f"rounds {min(ratios):.1f} to {max(ratios):.1f}"
        print(f"RATIO published {name} {statistics.median(ratios):.1f} ({spread})")


if __name__ == "__main__":
    main()
