"""K leave-one-fold-out calibrations: one pass of mergeable statistics against a loop over `quantize_static`.

CPU seconds and peak memory of fresh processes, the two taking turns. ResNet-20, 1,000 CIFAR-10 images, min/max.
Usage: python tests/perf/calibration.py [K …]
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

SHARED = Path(__file__).parents[3] / "shared" / "data"
os.environ["FOLDPRESS_SHARED"] = str(SHARED)
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
FOLDER = Path(__file__).parents[1] / "data" / "resnet20"
SAMPLES, ROUNDS = 1000, 3


def one_pass(graph: Path, images: Any, folds: int) -> None:
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
    press = Press(model, Dataset({"x": images}), numbers, prune=None, target=choose_target("x86-vnni"), ranges="minmax")
    for fold in range(folds):
        press.without(fold)


def loop(graph: Path, images: Any, folds: int) -> None:
    """onnxruntime: calibrate on every other fold's images, K times."""
    import logging

    import numpy as np
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self, chosen: Any) -> None:
            self._feeds = ({"x": image[None]} for image in chosen)

        def get_next(self) -> dict[str, Any] | None:
            return next(self._feeds, None)

    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        for fold in range(folds):
            rest = images[np.arange(len(images)) % folds != fold]
            target = Path(folder) / f"{fold}.onnx"
            quantize_static(
                graph,
                target,
                Reader(rest),
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )


def child(method: str, graph: str, images: str, folds: str) -> None:
    """Run one method and print what it cost."""
    import numpy as np

    loaded = np.load(images)
    (one_pass if method == "one_pass" else loop)(Path(graph), loaded, int(folds))
    used = resource.getrusage(resource.RUSAGE_SELF)
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(json.dumps({"cpu": used.ru_utime + used.ru_stime, "mb": int(peak.split()[1]) / 1000}))


def main(counts: list[int]) -> None:
    if not SHARED.is_dir():
        print(f"skipped: no trained weights and images in {SHARED}")
        return
    import numpy as np

    import foldpress
    from foldpress.sources import read_data

    with tempfile.TemporaryDirectory() as name:
        graph, images = Path(name) / "net.onnx", Path(name) / "images.npy"
        weights = str(SHARED / "cifar10" / "resnet20-12fca82f.th")
        foldpress.export("model:build", graph, data="data:load_train", weights=weights, folder=FOLDER)
        np.save(images, read_data("data:load_train", FOLDER).select(np.arange(SAMPLES)).batch(slice(None))["x"])
        print(f"{'K':>3}{'loop: CPU s':>14}{'MB':>7}{'one pass: CPU s':>18}{'MB':>7}{'ratio':>8}")
        for folds in counts:
            costs: dict[str, list[dict[str, float]]] = {"loop": [], "one_pass": []}
            for _ in range(ROUNDS):
                for method, found in costs.items():
                    command = [sys.executable, __file__, "--child", method, str(graph), str(images), str(folds)]
                    found.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
            cpu, mb = (
                {m: float(np.median([one[key] for one in found])) for m, found in costs.items()}
                for key in ("cpu", "mb")
            )
            print(
                f"{folds:>3}{cpu['loop']:>14.1f}{mb['loop']:>7.0f}{cpu['one_pass']:>18.1f}{mb['one_pass']:>7.0f}{cpu['loop'] / cpu['one_pass']:>8.1f}"
            )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:])
    else:
        main([int(k) for k in sys.argv[1:]] or [5, 10])
