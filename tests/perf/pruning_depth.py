"""What repair costs as networks get deeper: CPU seconds and peak memory of structured pruning, with a frontier and without.

ResNets for CIFAR-10 (He et al. 2016, §4.2) of 20 to 110 layers, to 0.7 of the MACs with 512 unlabelled training images. Weights are
random, since time does not depend on them: nothing is said of accuracy. Without a frontier every layer runs all that lies before it
again. Each row is a process of its own, the two ways in turns.
Usage: python tests/perf/pruning_depth.py [blocks in each stage …]
"""

import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# before numpy, for which it sets the number of threads
from networks import ROOT, Material, material  # type: ignore[import-not-found]

# isort: split
import foldpress
from foldpress.optimizer import frontier
from foldpress.optimizer.prune import Prune

FOLDER = ROOT / "tests/data/resnet20"
BLOCKS = (3, 6, 9, 18)
SHARE = 0.7
MODEL = """
import torch
from model import Block, ResNet20

def build():
    torch.manual_seed(0)
    network, before = ResNet20(), 16
    for number, width in enumerate((16, 32, 64), 1):
        first = Block(before, width, 1 + (number > 1))
        stage = torch.nn.Sequential(first, *(Block(width, width, 1) for _ in range({blocks} - 1)))
        setattr(network, f"layer{{number}}", stage)
        before = width
    return network
"""


def deep(blocks: int, scratch: Path) -> Material:
    """A network of 6 · blocks + 2 layers."""
    folder = Path(shutil.copytree(FOLDER, scratch / "deep"))
    (folder / "deep.py").write_text(MODEL.format(blocks=blocks))
    foldpress.export("deep:build", scratch / "deep.onnx", data="data:load", folder=folder)
    return material(scratch / "deep.onnx", folder, 0)


def one(blocks: int, kept: bool) -> None:
    """Print CPU seconds and the process's peak in megabytes."""
    frontier._BYTES = frontier._BYTES if kept else 0  # what is measured
    with tempfile.TemporaryDirectory(prefix="foldpress.") as scratch:
        given = deep(blocks, Path(scratch))
    start = time.process_time()
    given.press(given.model, prune=Prune("structured", macs=SHARE), target=None).float_graph()
    print(time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)


def measured(blocks: int, kept: bool) -> tuple[float, float]:
    """The same of a process of its own."""
    command = [sys.executable, __file__, "--one", str(blocks), str(int(kept))]
    seconds, peak = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-2:]
    return float(seconds), float(peak)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one(int(sys.argv[2]), bool(int(sys.argv[3])))
        sys.exit()
    print("| layers | with a frontier | without | ratio |\n| --- | --- | --- | --- |")
    for count in [*map(int, sys.argv[1:])] or BLOCKS:
        (ahead, high), (again, low) = measured(count, True), measured(count, False)
        print(
            f"| {6 * count + 2} | {ahead:.0f} s, {high:.0f} MB | {again:.0f} s, {low:.0f} MB | {ahead / again:.2f} |",
            flush=True,
        )
