"""K leave-one-fold-out int8 graphs: one pass of mergeable statistics against a loop over `quantize_static`.

CPU seconds and peak memory (VmHWM) of fresh processes that calibrate and quantize, and score nothing. ResNet-20 on CIFAR-10's
training images. The loop feeds one image at a time, as onnxruntime's examples do, and knows no passes over weights; foldpress
runs without them and with its own. Both sides take turns: everything of foldpress's runs before the loop and after it. For
percentile and entropy the loop takes minutes; its price is the same for every fold, so some are run, and counted for all.
Last, what it costs to score the baseline on the same images, as every run does once.
Usage: python tests/perf/calibration.py [method …]
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

SHARED = Path(os.environ.get("FOLDPRESS_SHARED", Path(__file__).parents[3] / "shared" / "data"))
os.environ["FOLDPRESS_SHARED"] = str(SHARED)
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
FOLDER = Path(__file__).parents[1] / "data" / "resnet20"
SAMPLES, FEW, MANY = 2000, 500, 5000
FOLDS = 10
ROUNDS = 2  # of foldpress; the loop runs once, between them
IN_THE_LOOP = {"minmax": "MinMax", "percentile": "Percentile", "entropy": "Entropy"}
LOOPED = {"minmax": FOLDS, "percentile": 3, "entropy": 3}  # folds that are run
METHODS = [*IN_THE_LOOP, "mse", "auto"]

Cost = dict[str, float]


def bare(graph: Path, images: Any, folds: int, method: Any) -> None:
    """foldpress without passes over weights, of which the other side has none."""
    one_pass(graph, images, folds, method, ())


def one_pass(graph: Path, images: Any, folds: int, method: Any, weights: Any = None) -> None:
    """foldpress: collect once, merge K times, quantize K times."""
    import numpy as np

    from foldpress.data import Dataset
    from foldpress.graph import load_graph
    from foldpress.optimizer.cleanup import clean_up
    from foldpress.optimizer.passes import apply
    from foldpress.optimizer.press import Press
    from foldpress.optimizer.targets import choose_target

    model = apply(clean_up(), load_graph(graph)).model
    numbers = (np.arange(len(images)) % folds)[None]
    target = choose_target("x86-vnni")
    press = Press(model, Dataset({"x": images}), numbers, prune=None, target=target, ranges=method, weights=weights)
    for fold in range(folds):
        press.without(fold)


def loop(graph: Path, images: Any, folds: int, method: str) -> None:
    """onnxruntime: calibrate on every other fold's images, K times."""
    import logging

    import numpy as np
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self, chosen: Any) -> None:
            self._feeds = ({"x": image[None]} for image in chosen)

        def get_next(self) -> dict[str, Any] | None:
            return next(self._feeds, None)

    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        for fold in range(LOOPED[method]):
            rest = images[np.arange(len(images)) % folds != fold]
            target = Path(folder) / f"{fold}.onnx"
            quantize_static(
                graph,
                target,
                Reader(rest),
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod[IN_THE_LOOP[method]],
            )


def baseline(graph: Path, images: Any, _folds: int, _method: str) -> None:
    """The predictions of the graph that was exported, with all of onnxruntime's optimizations."""
    from foldpress.data import Dataset
    from foldpress.graph import batch_size, load_graph
    from foldpress.runtime import open_session, predict

    model = load_graph(graph)
    predict(open_session(model), Dataset({"x": images}), batch_size(model), "scoring the baseline")


WAYS = {way.__name__: way for way in (bare, one_pass, loop, baseline)}


def child(way: str, graph: str, images: str, samples: str, folds: str, method: str) -> None:
    """Run one way and print what it cost."""
    import numpy as np
    import onnxruntime.quantization  # noqa: F401  # loaded once, however many folds follow

    # All images are in memory, however few are used: the difference is what calibration itself keeps.
    loaded = np.load(images)[: int(samples)]
    before = resource.getrusage(resource.RUSAGE_SELF)
    WAYS[way](Path(graph), loaded, int(folds), method)
    used = resource.getrusage(resource.RUSAGE_SELF)
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    cpu = used.ru_utime + used.ru_stime
    own = cpu - before.ru_utime - before.ru_stime
    print(json.dumps({"cpu": cpu, "own": own, "mb": int(peak.split()[1]) / 1000}))


def cost(way: str, graph: Path, images: Path, samples: int, folds: int, method: str) -> Cost:
    """CPU seconds and peak memory, MB, of a fresh process."""
    command = [sys.executable, __file__, "--child", way, str(graph), str(images), str(samples), str(folds), method]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: Cost = json.loads(printed.splitlines()[-1])  # onnxruntime prints what it collects
    return found


def prepare(folder: Path) -> tuple[Path, Path, Path]:
    """The graph, the images, and as many as the question of memory asks for: there are 2,000, so some stand in it twice."""
    import numpy as np

    import foldpress
    from foldpress.sources import read_data

    graph, images, more = folder / "net.onnx", folder / "images.npy", folder / "more.npy"
    weights = str(SHARED / "cifar10" / "resnet20-12fca82f.th")
    foldpress.export("model:build", graph, data="data:load_train", weights=weights, folder=FOLDER)
    found = read_data("data:load_train", FOLDER).batch(slice(None))["x"]
    np.save(images, found[:SAMPLES])
    np.save(more, np.resize(found, (MANY, *found.shape[1:])))
    return graph, images, more


def compare(method: str, graph: Path, images: Path, more: Path) -> str:
    """One row of the table."""
    import numpy as np

    asked = [("bare", FOLDS), ("one_pass", 2), ("one_pass", FOLDS)]
    taken: dict[tuple[str, int], list[Cost]] = {one: [] for one in asked}
    slow: Cost | None = None
    for _ in range(ROUNDS):
        for way, folds in asked:
            taken[way, folds].append(cost(way, graph, images, SAMPLES, folds, method))
        if slow is None and method in IN_THE_LOOP:
            slow = cost("loop", graph, images, SAMPLES, FOLDS, method)
            slow["cpu"] += slow["own"] * (FOLDS / LOOPED[method] - 1)
    cpu = {one: float(np.mean([each["cpu"] for each in costs])) for one, costs in taken.items()}
    cells = [method, f"{slow['cpu']:.1f} s, {slow['mb']:.0f} MB" if slow else ""]
    for way in ("bare", "one_pass"):
        ten = cpu[way, FOLDS]
        mb = max(each["mb"] for each in taken[way, FOLDS])
        ratio = f"{slow['cpu'] / ten:.1f}" if slow else ""
        cells += [f"{ten:.1f} s, {mb:.0f} MB", ratio]
    cells.append(f"{cpu['one_pass', FOLDS] / cpu['one_pass', 2]:.2f}")
    few, many = (cost("one_pass", graph, more, samples, FOLDS, method)["mb"] for samples in (FEW, MANY))
    return "| " + " | ".join([*cells, f"{few:.0f} / {many:.0f} MB"]) + " |"


def main(methods: list[str]) -> None:
    if not SHARED.is_dir():
        print(f"skipped: no trained weights and images in {SHARED}")
        return
    with tempfile.TemporaryDirectory() as name:
        graph, images, more = prepare(Path(name))
        print("| method | loop | without passes | ratio | with passes | ratio | K = 10 / K = 2 | 500 / 5,000 |")
        print("|---|---|---|---|---|---|---|---|", flush=True)
        for method in methods:
            print(compare(method, graph, images, more), flush=True)
        for way in ("baseline", "one_pass"):
            own = min(cost(way, graph, images, SAMPLES, 2, "auto")["own"] for _ in range(3))
            print(f"{way}, K = 2: {own:.2f} CPU seconds, loading of foldpress included")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:])
    else:
        main(sys.argv[1:] or METHODS)
