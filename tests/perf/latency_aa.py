"""Does timing tell no difference from a difference? The baseline against itself, and against a graph with 10 % more to do.

Each comparison is one measurement as `foldpress bench` makes it, by default settings. The baseline is a chain of 20
convolutions like those of ResNet-20; the slowed graph has 22. Half of the comparisons run while both cores are kept busy.
Usage: python tests/perf/latency_aa.py [comparisons]
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import onnx.parser

from foldpress.benchmark.evidence import LatencySamples
from foldpress.benchmark.latency import measure
from foldpress.benchmark.plan import LatencyPlan
from foldpress.benchmark.ratios import AA_CONFIDENCE, Ratio, ratio_of
from foldpress.data import Dataset

CONFIDENCE = 0.95
SHAPE = (16, 32, 32)


def chain(layers: int) -> onnx.ModelProto:
    """So many equal convolutions with ReLU, one after the other."""
    body = " ".join(f"c{i} = Conv<pads = [1, 1, 1, 1]>(x{i}, W) x{i + 1} = Relu(c{i})" for i in range(layers))
    model = onnx.parser.parse_model(f"""<ir_version: 9, opset_import: ["" : 18]>
        g (float[N, 16, 32, 32] x0) => (float[N, 16, 32, 32] x{layers}) {{ {body} }}""")
    weight = np.random.default_rng(0).normal(size=(16, 16, 3, 3)).astype(np.float32) / 12  # keeps the variance
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "W"))
    return model


@contextmanager
def busy_cores(count: int) -> Iterator[None]:
    """Keep so many cores busy."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def compare(folder: Path, comparisons: int) -> list[tuple[Ratio, Ratio, Ratio]]:
    """The A/A ratio at the interval's and at the gate's confidence, and the slowed graph's ratio."""
    graphs = {"baseline": folder / "20.onnx", "slowed": folder / "22.onnx"}
    data = Dataset({"x0": np.random.default_rng(0).normal(size=(8, *SHAPE)).astype(np.float32)})
    found = []
    for seed in range(comparisons):
        baseline, slowed = measure(graphs, data, LatencyPlan(seed=1000 * seed))
        found.append((_itself(baseline, CONFIDENCE), _itself(baseline, AA_CONFIDENCE),
                      ratio_of(slowed.samples_ms, baseline.samples_ms, CONFIDENCE)))  # fmt: skip
        print(f"{seed}: A/A {_shown(found[-1][0])}, slowed {_shown(found[-1][2])}", file=sys.stderr, flush=True)
    return found


def _itself(baseline: LatencySamples, confidence: float) -> Ratio:
    return ratio_of(baseline.samples_ms, baseline.again_ms, confidence)


def _shown(ratio: Ratio) -> str:
    return f"{ratio.value:.4f} ({ratio.low:.4f}–{ratio.high:.4f})"


def main(comparisons: int) -> None:
    """Print one row a setting."""
    print("| machine | comparisons | A/A intervals without 1: 95 % | 99 %, the gate's | A/A ratio, widest 95 % interval | "
          "slow-down found | its ratio |\n|---|---|---|---|---|---|---|")  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        for layers in (20, 22):
            onnx.save(chain(layers), Path(name) / f"{layers}.onnx")
        for label, count in (("as it is", 0), ("both cores kept busy", 2)):
            with busy_cores(count):
                found = compare(Path(name), comparisons)
            alarms = [sum(ratios[which].excludes_one() for ratios in found) for which in (0, 1)]
            caught = sum(slowed.low is not None and slowed.low > 1 for _, _, slowed in found)
            itself = np.array([aa.value for aa, _, _ in found])
            widest = max(aa.half_width() for aa, _, _ in found)
            print(f"| {label} | {comparisons} | {alarms[0]} | {alarms[1]} | {itself.mean():.4f} ± {itself.std(ddof=1):.4f}, "
                  f"±{widest:.1%} | {caught} of {comparisons} | "
                  f"{np.mean([slowed.value for _, _, slowed in found]):.3f} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
