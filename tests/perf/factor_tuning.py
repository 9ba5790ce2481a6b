"""Factors that learn: networks factorized to a share of their MACs, before and after training on labelled images.

512 training images to factorize by, 10,000 to train on (the ViT: all 2,000 that there are, moved and mirrored); the teacher is the
network itself, and what is learned is what it says alone. Scored on all held-out images; the intervals are paired. What is trained is
then factorized by the same budget, and that is what is scored. For the networks see `networks.py`.
Usage: python tests/perf/factor_tuning.py [network[:share of the MACs[:epochs[:learning rate]]] …]
"""

import sys
import tempfile
import time
from pathlib import Path

# before numpy, for which it sets the number of threads
from networks import CALIBRATION, macs, origin  # type: ignore[import-not-found]

# isort: split
import numpy as np
import torch
from finetuning import jittered, right  # type: ignore[import-not-found]

from foldpress.data import fit_inputs
from foldpress.exporter.source import build_model, fit_names
from foldpress.finetuning import finetune
from foldpress.graph import input_specs
from foldpress.masked_network import MaskedNetwork
from foldpress.optimizer.factorize.request import Factorization
from foldpress.optimizer.press import Press
from foldpress.sources import read_data
from foldpress.training.losses import Loss
from foldpress.training.plan import Plan
from foldpress.training.samples import Pool
from foldpress.training.teachers import Teacher

CASES = ("vgg:0.25", "vgg:0.15", "vit:0.6")
DEFAULTS = (0.25, 8.0, 5e-4)
TRAINED_ON = 10_000
DRAW = 1  # epochs and rate were chosen on draw 0 of the VGG at 0.15


def measure(network: str, share: float, epochs: float, rate: float, scratch: Path) -> None:
    """Print a row."""
    source, folder, weights = origin(network, scratch)
    baseline = build_model(source, str(weights), folder)
    train, test = (fit_names(baseline, read_data(f"data:{name}", folder)) for name in ("load_train", "load"))
    order = np.random.default_rng(DRAW).permutation(len(train))
    made = MaskedNetwork(baseline, train)
    drawn = fit_inputs(train, input_specs(made.graph)).select(order[:CALIBRATION])
    asked = Factorization(macs=share)
    press = Press(made.graph, drawn, np.zeros((1, CALIBRATION), np.intp), factorize=asked, target=None)
    whole, before = right(made.graph, test), right(press.float_graph(), test)
    augment = jittered if network == "vit" else None
    plan = Plan(epochs=int(epochs), batch=64, learning_rate=rate, augment=augment, patience=None, held_back=0)
    start = time.process_time()
    pool = Pool(train.select(order[:TRAINED_ON]))
    tuned = finetune(made, press, pool, [Teacher(baseline)], Loss(1.0, 4.0), plan, factors=True)
    seconds = time.process_time() - start
    found = press.unpruned_of(tuned.model).float_graph()
    after = right(found, test)
    won, lost = int((after & ~before).sum()), int((before & ~after).sum())
    half = 1.96 * (won + lost - (won - lost) ** 2 / len(after)) ** 0.5
    gain = f"{(won - lost) / len(after):+.2%} ± {half / len(after):.2%}"
    told = f"{whole.mean():.2%} | {before.mean():.2%} | {after.mean():.2%} | {gain} | {seconds:.0f} s"
    print(f"| {network} | {macs(found) / macs(made.graph):.1%} | {told} |", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(
        "| network | MACs left | whole | factorized | trained | gain, 95 % | CPU, training |\n|---|---|---|---|---|---|---|"
    )
    for case in sys.argv[1:] or CASES:
        name, *given = case.split(":")
        share, epochs, rate = [*map(float, given), *DEFAULTS[len(given) :]]
        with tempfile.TemporaryDirectory(prefix="foldpress.") as scratch:
            measure(name, share, epochs, rate, Path(scratch))
