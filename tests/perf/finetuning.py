"""Fine-tuning under masks: ResNet-20 pruned to half of its MACs, before and after training on 2,000 images.

CIFAR-10's 2,000 training images of the shared data, shifted and mirrored; the teacher is the unpruned network, and what is learned
is what it says alone. Scored on 5,000 test images; by content, none of them is among those trained on. Pruned with 512 of the
training images, four channels at a time; three draws of them.
Usage: python tests/perf/finetuning.py [epochs [learning rate [share of the MACs]]]
"""

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

SHARED = Path(__file__).parents[3] / "shared" / "data"
os.environ |= {"ORT_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
os.environ.setdefault("FOLDPRESS_SHARED", str(SHARED))
FOLDER = Path(__file__).parents[1] / "data/resnet20"

import copy  # noqa: E402

import numpy as np  # noqa: E402
import onnx_ir as ir  # noqa: E402
import torch  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.nn import functional  # noqa: E402

from foldpress.cost import graph_cost  # noqa: E402
from foldpress.data import Dataset, check_disjoint, fit_inputs  # noqa: E402
from foldpress.exporter.source import build_model, fit_names  # noqa: E402
from foldpress.finetuning import finetune  # noqa: E402
from foldpress.graph import input_specs  # noqa: E402
from foldpress.masked_network import MaskedNetwork  # noqa: E402
from foldpress.optimizer.press import Press  # noqa: E402
from foldpress.optimizer.prune import Prune  # noqa: E402
from foldpress.runtime import open_session, predict  # noqa: E402
from foldpress.sources import read_data  # noqa: E402
from foldpress.training.losses import Loss  # noqa: E402
from foldpress.training.plan import Plan  # noqa: E402
from foldpress.training.samples import Pool  # noqa: E402
from foldpress.training.teachers import Teacher  # noqa: E402

CALIBRATION = 512
DEFAULTS = (16.0, 2e-4, 0.5)
DRAWS = (9, 10, 11)  # settings were chosen on draws 0 and 1


def jittered(images: Tensor) -> Tensor:
    """Each batch moved by up to four pixels each way, and half of the images mirrored."""
    down, right = torch.randint(9, (2,)).tolist()
    moved = functional.pad(images, (4, 4, 4, 4))[:, :, down : down + 32, right : right + 32]
    mirrored = torch.rand(len(images), 1, 1, 1) < 0.5
    return torch.where(mirrored, moved.flip(3), moved)


def right(graph: ir.Model, data: Dataset) -> NDArray[np.bool_]:
    """Which samples it has right, [N]."""
    outputs = predict(open_session(graph), fit_inputs(data, input_specs(graph)), 50)[0]
    return np.asarray(outputs.argmax(1) == data.y)


def macs(graph: ir.Model) -> int:
    """Of one image."""
    return sum(layer.macs or 0 for layer in graph_cost(graph).layers)


def measure(baseline: torch.nn.Module, train: Dataset, test: Dataset, draw: int, given: Sequence[float]) -> None:
    """Print a row of one draw: accuracy before and after, the difference with its interval of 95 %, and CPU seconds."""
    epochs, rate, share = [*given, *DEFAULTS[len(given) :]]
    start = time.process_time()
    network = MaskedNetwork(baseline, train)
    fitted = fit_inputs(train, input_specs(network.graph))
    drawn = fitted.select(np.random.default_rng(draw).permutation(len(train))[:CALIBRATION])
    numbers = np.zeros((1, len(drawn)), np.intp)
    press = Press(network.graph, drawn, numbers, prune=Prune("structured", macs=share), target=None)
    before = right(press.masked()[1].model, test)  # what is hidden there is cut out in the pruned graph
    pruned = time.process_time() - start
    plan = Plan(
        epochs=int(epochs), batch=64, learning_rate=rate, augment=jittered, patience=None, held_back=0, seed=draw
    )
    tuned = finetune(network, press, Pool(train), [Teacher(copy.deepcopy(baseline))], Loss(1.0, 4.0), plan)
    after = right(tuned.model, test)
    won, lost = int((after & ~before).sum()), int((before & ~after).sum())
    half = 1.96 * (won + lost - (won - lost) ** 2 / len(after)) ** 0.5
    gain = f"{(won - lost) / len(after):+.2%} ± {half / len(after):.2%}"
    left = macs(tuned.model) / macs(network.graph)
    cost = f"{pruned:.0f} and {time.process_time() - start - pruned:.0f} s"
    print(f"| {draw} | {left:.1%} | {before.mean():.2%} | {after.mean():.2%} | {gain} | {cost} |", flush=True)


def main() -> None:
    """Print a table."""
    torch.set_num_threads(1)
    baseline = build_model("model:build", os.environ["FOLDPRESS_SHARED"] + "/cifar10/resnet20-12fca82f.th", FOLDER)
    train = fit_names(baseline, read_data("data:load_train", FOLDER))
    test = fit_names(baseline, read_data("data:load", FOLDER))
    check_disjoint({"train": train, "test": test})
    print(
        "| draw | MACs left | pruned | fine-tuned | gain, 95 % | to prune, to train |\n|---|---|---|---|---|---|",
        flush=True,
    )
    for draw in DRAWS:
        measure(baseline, train, test, draw, [float(one) for one in sys.argv[1:]])


if __name__ == "__main__":
    main()
