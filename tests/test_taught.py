"""Recipes and commands that train: what they leave, what they refuse, and that an interruption leaves nothing half written."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from conftest import Classifier, Invoke, WriteRecipe
from foldpress.cost import graph_cost
from foldpress.folds import Folds
from foldpress.job import open_job
from foldpress.recipe import load_recipe, make_table
from foldpress.refit import refit
from foldpress.tables.train import DistillTable
from foldpress.taught import Training
from foldpress.training.losses import Loss
from foldpress.training_inputs import make_loss

NETWORK = """
import torch

class Network(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first, self.last = torch.nn.Linear(64, width), torch.nn.Linear(width, 10)

    def forward(self, x):
        return self.last(torch.relu(self.first(x)))

def build():
    return Network(32)

def build_small():
    return Network(16)

def build_other():
    return torch.nn.Linear(64, 7)

def build_broken():
    network = Network(16)
    network.first.weight.data[0, 0] = float("nan")
    return network

def fit(inputs, targets, seed):
    torch.manual_seed(seed)
    network, inputs, targets = Network(32), torch.from_numpy(inputs), torch.from_numpy(targets)
    optimizer = torch.optim.Adam(network.parameters(), 0.02)
    for _ in range(60):
        optimizer.zero_grad()
        torch.autograd.backward(torch.nn.functional.cross_entropy(network(inputs), targets))
        optimizer.step()
    return network

def augment(x):
    return x

def interrupt(x, calls=[]):
    calls.append(1)
    if len(calls) == 30:
        raise KeyboardInterrupt
    return x

def sgd(parameters):
    return torch.optim.SGD(parameters, 1e30)
"""


@pytest.fixture
def folder(tmp_path: Path, classifier: Classifier) -> Path:
    """net.onnx with its data, the same network in PyTorch, and that trained."""
    for file in classifier.folder.iterdir():
        shutil.copy(file, tmp_path)
    (tmp_path / "network.py").write_text(NETWORK)
    return tmp_path


def read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text()))


def train(folder: Path, monkeypatch: pytest.MonkeyPatch, invoke: Invoke, *options: object) -> Any:
    """`foldpress distill` in the folder, ten epochs."""
    monkeypatch.chdir(folder)
    common = ("--epochs", 10, "--learning-rate", 0.02, "--json", "-q")
    return invoke("distill", "network:build_small", "--data", "train.npz", *common, *options)


ASKED = {
    "data": {"train": "train.npz"},
    "folds": {"splits": 2, "refit": "network:fit"},
    "prune": {"macs": 0.75},
    "finetune": {"learning_rate": 0.005, "epochs": 5},
    "gate": {"max_drop": 0.6},
}


def test_a_table_says_how_teachers_are_weighed() -> None:
    """Catches a key that is read and goes no further."""
    table = make_table(DistillTable, student="network:build", teacher="self", gamma=0.4, temperature=2.0, ramp_up=0.3)
    assert make_loss(table, "regression") == Loss(0.4, 2.0, classes=False, ramp_up=0.3)
    assert make_loss(table, "classification").classes


def test_a_run_trains_a_student_prunes_and_finetunes_it(folder: Path, recipe: WriteRecipe, invoke: Invoke) -> None:
    """Catches a stage that starts from the wrong graph, and a student that is judged against itself."""
    student = {"student": "network:build_small", "learning_rate": 0.02, "epochs": 20}
    path = recipe(**{**ASKED, "folds": {"splits": 2}}, distill=student)
    result = invoke("run", path, "-o", folder / "out", "-q")
    assert result.exit_code == 0, result.output
    graphs, log = (
        read(folder / "out" / name)[key] for name, key in (("report.json", "graphs"), ("evidence/facts.json", "log"))
    )
    assert list(graphs) == ["exported.onnx", "distilled.onnx", "finetuned.onnx", "quantized.onnx"]
    macs = [graphs[name]["macs"] for name in graphs]
    assert macs[0] == 2 * macs[1] > 2.5 * macs[2]
    assert macs[2] == macs[3]
    assert all(graph["score"] > 0.6 for graph in graphs.values())
    assert {"distill", "prune-structured", "finetune"} <= {entry["pass"] for entry in log}
    assert load_file(folder / "out/student.safetensors")["first.weight"].shape == (16, 64)
    assert not list((folder / "out").glob("*.checkpoint"))


def test_a_run_trains_factors(folder: Path, recipe: WriteRecipe, invoke: Invoke) -> None:
    """Catches factors that the stage behind the training does not find again, and a training that wants something pruned."""
    path = recipe(data=ASKED["data"], folds={"splits": 2}, factorize={"macs": 0.6}, gate=ASKED["gate"], quantize=None,
                  finetune={"learning_rate": 0.005, "epochs": 5, "factors": True},
                  model={"source": "network:build"})  # fmt: skip
    path.write_text("quantize = false\n" + path.read_text())
    result = invoke("run", path, "-o", folder / "out", "-q")
    assert result.exit_code == 0, result.output
    graphs, log = (
        read(folder / "out" / name)[key] for name, key in (("report.json", "graphs"), ("evidence/facts.json", "log"))
    )
    assert list(graphs) == ["exported.onnx", "finetuned.onnx", "factorized.onnx"]
    assert graphs["factorized.onnx"]["macs"] <= 0.6 * graphs["finetuned.onnx"]["macs"]
    assert graphs["factorized.onnx"]["score"] == graphs["finetuned.onnx"]["score"]
    errors = [
        entry["detail"].split()[-1] for entry in log if entry["pass"] == "factorize" and entry["action"] == "done"
    ]
    assert errors == ["0.00%"]


def test_each_round_of_refit_finetunes_its_own_network(folder: Path, recipe: WriteRecipe) -> None:
    """Catches a fold that masks or training have seen: each round has the samples of its own part, and no more."""
    path = recipe(**ASKED, model={"source": "network:build"}, quantize=None)
    path.write_text("quantize = false\n" + path.read_text())
    job = open_job(load_recipe(path))
    seen: list[int] = []
    training = job.training
    assert training is not None

    class Watched(Training):
        def of(self, baseline: Any, train: Folds) -> Training:
            seen.append(len(train.development))
            return super().of(baseline, train)

    watched = Watched(**training.__dict__)
    first = next(
        iter(
            refit(
                job.recipe, job.folds, job.task, {"prune": {}, "factorize": {}, "precision": None, "log": []}, watched
            )
        )
    )
    assert seen == [first.trained_on] == [len(job.folds.development) - len(job.folds.held_out(0, 0))]
    before, after = (graph_cost(graph).macs for graph in (first.baseline, first.artifact))
    assert after is not None
    assert before is not None
    assert after <= 0.75 * before


def test_an_interrupted_run_is_taken_up(folder: Path, recipe: WriteRecipe, invoke: Invoke) -> None:
    """Catches half-written files, and a training that begins anew."""
    asked = {"student": "network:build_small", "epochs": 5, "augment": "network:interrupt"}
    path = recipe(data={"train": "train.npz"}, folds={"scheme": "holdout"}, distill=asked, gate={"max_drop": 0.9})
    arguments = ("run", path, "-o", folder / "out", "-q", "--set", "quantize=false")
    assert invoke(*arguments).exit_code == 130
    left = sorted(one.name for one in (folder / "out").iterdir() if one.name.startswith(("distill", "student")))
    assert left == ["distill.checkpoint"]
    assert invoke(*arguments, "--resume").exit_code == 0
    assert "taken up after epoch 2" in (folder / "out/run.log").read_text()
    assert (folder / "out/distilled.onnx").is_file()


def test_a_student_is_written_with_its_graph(folder: Path, monkeypatch: pytest.MonkeyPatch, invoke: Invoke) -> None:
    result = train(folder, monkeypatch, invoke, "--teacher", "net.onnx", "-o", "student.onnx")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["output"] == "student.onnx"
    assert [entry["pass"] for entry in document["log"]] == ["distill", "export"]
    assert set(load_file(folder / "student.safetensors")) == {"first.weight", "first.bias", "last.weight", "last.bias"}
    judged = invoke("validate", "net.onnx", "student.onnx", "--data", "data.npz", "--max-drop", 0.3, "-q")
    assert judged.exit_code == 0
    assert {one.name for one in folder.iterdir() if one.is_dir()} <= {"__pycache__"}


def test_weights_alone(folder: Path, monkeypatch: pytest.MonkeyPatch, invoke: Invoke) -> None:
    result = train(folder, monkeypatch, invoke, "--teacher", "self", "-o", "student.safetensors")
    assert json.loads(result.stdout)["parameters"] == 64 * 16 + 16 + 160 + 10
    assert not (folder / "student.onnx").exists()


def test_features_go_by_pairs(folder: Path, monkeypatch: pytest.MonkeyPatch, invoke: Invoke) -> None:
    """Catches options that are read and go no further."""
    to = ("-t", "network:build", "-o", "student.safetensors", "--feature", "first=first")
    weights = []
    for weight in ("0.001", "100"):
        assert train(folder, monkeypatch, invoke, *to, "--feature-weight", weight).exit_code == 0
        weights.append(load_file(folder / "student.safetensors")["first.weight"])
    assert (weights[0] != weights[1]).any()


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (("-t", "nowhere.onnx"), 2, "there is no ONNX file"),
        (("-t", "network:build_other"), 2, "gives 7 outputs a sample, and 10 are expected"),
        (("-t", "baseline"), 2, "name the teacher"),
        (("-t", "teacher.pt"), 2, r"none of baseline, self, module:callable, file.onnx\n?$"),
        (("-t", "net.onnx", "--gamma", 1.5), 2, "gamma"),
        (("-t", "self", "--ramp-up", 1.5), 2, "ramp_up"),
        (("-t", "net.onnx", "--temperature", 0), 2, "temperature"),
        (("-t", "net.onnx", "--held-back", 1), 2, "held_back"),
        (("-t", "network:build", "--feature", "first"), 2, "is not KEY=VALUE"),
        (("-t", "network:build", "--feature", "first=nowhere"), 2, "there is no module nowhere"),
        (("-t", "net.onnx", "--feature", "first=first"), 2, "an ONNX graph has no modules"),
        (("-t", "net.onnx", "--optimizer", "network:nothing"), 2, "no callable 'nothing'"),
        (("-t", "net.onnx", "--unlabelled", "none.npz"), 2, "there is no data file"),
        (("-t", "net.onnx", "--optimizer", "network:sgd"), 4, r"in epoch 1, in step \d of 10"),
        (("-t", "network:build_broken"), 4, "diverged"),
    ],
)
def test_wrong_requests_say_so_and_write_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, invoke: Invoke, options: Any, code: int, told: str
) -> None:
    before = {one.name for one in folder.iterdir()}
    result = train(folder, monkeypatch, invoke, *options, "-o", "student.onnx")
    assert result.exit_code == code, result.output
    assert re.search(told, result.stderr), result.stderr
    assert {one.name for one in folder.iterdir()} - before <= {"__pycache__"}


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        ({"distill": {"student": "network:build_small"}}, "add [data] train"),
        ({"data": {"train": "train.npz"}, "distill": {"gamma": 0.5}}, "name a student or a teacher"),
        ({"data": {"train": "train.npz"}, "distill": {"student": "network:build_small", "gamma": 2}}, "distill.gamma"),
        ({"data": {"train": "train.npz"}, "distill": {"student": "network:build_other"}}, "available: 0 … 6"),
        (
            {"data": {"train": "train.npz"}, "distill": {"student": "network:build_small", "teachers": "self"}},
            "did you mean teacher",
        ),
        (
            {"data": {"train": "train.npz"}, "distill": {"student": "network:build_small", "teacher": []}},
            "teacher: there is none",
        ),
        ({"data": {"train": "train.npz"}, "finetune": {}}, "[prune], which is not there"),
        ({"data": {"train": "train.npz"}, "prune": {"macs": 0.5}, "finetune": {}}, "PyTorch trains modules"),
        ({"data": {"train": "train.npz"}, "prune": {"macs": 0.5}, "finetune": {"gradual": True}}, "prune.sparsity"),
        (
            {"data": {"train": "train.npz"}, "prune": {"macs": 0.5}, "finetune": {"teacher": "self"}},
            "belongs to [distill]",
        ),
        ({"data": {"train": "train.npz"}, "finetune": {"factors": True}}, "needs [factorize]"),
        (
            {"data": {"train": "train.npz"}, "factorize": {"latency": 0.5}, "finetune": {"factors": True}},
            "a budget in macs, parameters or bytes",
        ),
        (
            {
                "data": {"train": "train.npz"},
                "prune": {"method": "2:4"},
                "factorize": {"macs": 0.5},
                "finetune": {"factors": True},
            },
            "no single zeros",
        ),
        (
            {
                "data": {"train": "train.npz"},
                "factorize": {"macs": 0.5},
                "finetune": {"factors": True},
                "share": {"epochs": 2},
                "quantize": {"precision": "static"},
            },
            "would be no products",
        ),
        ({"data": {"train": "data.npz"}, "distill": {"student": "network:build_small"}}, "two sides of a split"),
        (
            {"data": {"train": "train.npz"}, "distill": {"student": "network:build_small", "unlabelled": "data.npz"}},
            "two sides of a split",
        ),
    ],
)
def test_recipes_that_cannot_be_trained_are_refused(
    folder: Path, recipe: WriteRecipe, invoke: Invoke, tables: Any, told: str
) -> None:
    result = invoke("run", recipe(**tables), "-o", folder / "out", "-q")
    assert result.exit_code == 2, result.output
    assert told in result.stderr
    assert not (folder / "out").exists()
