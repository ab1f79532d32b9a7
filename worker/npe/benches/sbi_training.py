"""Trains a masked autoregressive flow with sbi on rows of a campaign's
training distribution and scores it on others, as a peer of the project's own
estimator. Needs Python with torch 2.8, sbi 0.23.3 and numpy.

    R="cargo run --release -p outshine-worker --example training_rows --"
    ALL='coverage={drop_band=0.0,drop_groups=[]}'
    $R deploy/campaigns/estimator-tau.toml train.f32 200000 11 - "$ALL"
    $R deploy/campaigns/estimator-tau.toml test.f32 100000 12 MODEL_DIR "$ALL"
    python worker/npe/benches/sbi_training.py train.f32 test.f32 --blocks 5 --hidden 128
    python worker/npe/benches/sbi_training.py train.f32 test.f32 --blocks 15 --hidden 500 --hours 2

Both see the same features and learn the same five coordinates (the unbounded
images of the free parameters); both are scored by mean ln p of the test rows'
parameters over the unit box, so that 0 is knowing the box alone.
"""

import argparse
import math
import tempfile
import time

import numpy as np
import torch
from sbi.inference import SNPE
from sbi.neural_nets import posterior_nn
from torch.utils.tensorboard import SummaryWriter

FREE = 5
EDGE = 1e-9


def rows(path):
    count = 4 * 19 + 3 + FREE + 1
    values = np.fromfile(path, dtype=np.float32).reshape(-1, count)
    fraction = torch.from_numpy(values[:, -1 - FREE : -1].astype(np.float64)).clamp(EDGE, 1 - EDGE)
    u = math.sqrt(2.0) * torch.erfinv(2.0 * fraction - 1.0)
    # ln du / d(fraction), summed over coordinates.
    slope = (0.5 * u**2 + 0.5 * math.log(2.0 * math.pi)).sum(1)
    return torch.from_numpy(values[:, : -1 - FREE].copy()), u.float(), slope


def main():
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("train")
    args.add_argument("test")
    args.add_argument("--blocks", type=int, default=5)
    args.add_argument("--hidden", type=int, default=128)
    args.add_argument("--hours", type=float, default=24.0)
    args.add_argument("--batch", type=int, default=200)
    args.add_argument("--rate", type=float, default=5e-4)
    args.add_argument("--threads", type=int, default=1)
    args = args.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    x, u, _ = rows(args.train)
    build = posterior_nn(model="maf", hidden_features=args.hidden, num_transforms=args.blocks)
    # Its own logs go away, not into the folder it is called from.
    logs = SummaryWriter(tempfile.mkdtemp())
    inference = SNPE(
        prior=None, density_estimator=build, summary_writer=logs, show_progress_bars=False
    )
    inference.append_simulations(u, x, proposal=None)
    start = time.time()
    estimator, epochs = None, 0
    # One epoch at a time, so that a limit of time can end it.
    while time.time() - start < args.hours * 3600:
        epochs += 1
        estimator = inference.train(
            training_batch_size=args.batch,
            learning_rate=args.rate,
            validation_fraction=0.1,
            stop_after_epochs=20,
            max_num_epochs=epochs,
            resume_training=epochs > 1,
        )
        if inference._converged(inference.epoch, 20):
            break
    seconds = time.time() - start
    x, u, slope = rows(args.test)
    scores = []
    with torch.no_grad():
        for k in range(0, len(x), 2000):
            part = slice(k, k + 2000)
            log_prob = estimator.log_prob(u[None, part], condition=x[part])[0]
            scores.append(log_prob.double() + slope[part])
    scores = torch.cat(scores)
    error = scores.std() / math.sqrt(len(scores))
    print(
        f"sbi MAF {args.blocks} x {args.hidden}: {inference.epoch} epochs, {seconds:.0f} s on "
        f"{args.threads} thread(s); mean ln p {scores.mean():.4f} +- {error:.4f} nat over the box"
    )


if __name__ == "__main__":
    main()
