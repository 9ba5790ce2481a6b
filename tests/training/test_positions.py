"""Networks with a class for each position, or with several outputs, learn and teach; padding counts for nothing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from torch import nn

from conftest import Invoke
from foldpress.data import Array, Dataset
from foldpress.errors import ModelError
from foldpress.exporter.export import export_model
from foldpress.training.distillation import distill
from foldpress.training.losses import Loss, Soft
from foldpress.training.plan import Plan
from foldpress.training.samples import Pool
from foldpress.training.scores import scores_of
from foldpress.training.teachers import Teacher

GENERATOR = np.random.default_rng(0)
PLAN = Plan(epochs=15, batch=32, learning_rate=0.02)
LABELS = np.array([[0, 3, -1], [1, -100, -1]])  # of two samples; a third has none
STUDENT, TEACHER = (GENERATOR.normal(size=(3, 4, 3)).astype(np.float32) for _ in range(2))
KNOWN = ((0, 0, 0), (0, 3, 1), (1, 1, 0))  # sample, class and position of what is no padding


class Tagger(nn.Module):
    """x [N, 6, 8] to lengths [N, 6] and tags of three classes, [N, 6, 3] or, turned, [N, 3, 6]."""

    def __init__(self, width: int, *, turned: bool = False) -> None:
        super().__init__()
        torch.manual_seed(width)
        self.layers = nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Linear(width, 3))
        self._turned = turned

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        tags = torch.softmax(self.layers(x), 2)
        return x.sum(2), tags.transpose(1, 2) if self._turned else tags


def sequences(count: int, *, padded: bool) -> Dataset:
    """With the largest of three sums as tags, [N, 6]; padded ones have wrong inputs from some position on."""
    generator = np.random.default_rng(count)
    x = generator.normal(size=(count, 6, 8)).astype(np.float32)
    y = (x @ np.random.default_rng(1).normal(size=(8, 3))).argmax(2)
    if padded:
        beyond = np.arange(6) >= generator.integers(1, 7, (count, 1))
        y[beyond], x[beyond] = -1, 100
    return Dataset({"x": x}, y)


def tagged(module: nn.Module) -> float:
    """The share of right tags on unseen sequences."""
    data = sequences(300, padded=False)
    with torch.no_grad():
        scores = module(torch.from_numpy(data.inputs["x"]))[1]
    return float((scores.argmax(2).numpy() == data.y).mean())


@pytest.fixture(scope="module")
def teacher() -> nn.Module:
    turned = Tagger(32, turned=True)
    return distill(turned, Pool(sequences(400, padded=True)), [], Loss(), PLAN, output=1).module


def kl(teacher: Array, student: Array) -> Array:
    """Σ p log(p/q) over the classes, at every position, [n, T]."""
    wanted = log_softmax(teacher, 1)
    return np.asarray((np.exp(wanted) * (wanted - log_softmax(student, 1))).sum(1))


def test_cross_entropy_leaves_padding_out() -> None:
    """Catches padding that is learned, and a mean over it."""
    found = Loss().hard(torch.from_numpy(STUDENT), torch.from_numpy(LABELS))
    wanted = -np.mean([log_softmax(STUDENT, 1)[at] for at in KNOWN])
    assert float(found) == pytest.approx(wanted, rel=1e-5)


def test_a_teacher_is_heard_at_every_position_but_padding() -> None:
    """Catches teachers that teach padding, unlabelled samples left out, and classes taken along the wrong axis."""
    found = Loss(1.0, 1.0)(torch.from_numpy(STUDENT), torch.from_numpy(LABELS), [Soft(torch.from_numpy(TEACHER))])
    counts = np.concatenate([LABELS >= 0, np.ones((1, 3), np.bool_)])
    assert float(found) == pytest.approx(kl(TEACHER, STUDENT)[counts].mean(), rel=1e-5)


def test_numbers_below_zero_are_no_padding() -> None:
    targets, given = np.array([-1.0, -2.0, 3.0], np.float32), np.array([[-4.0], [1.0], [2.0]], np.float32)
    found = Loss(1.0, classes=False)(torch.zeros(3, 1), torch.from_numpy(targets), [Soft(torch.from_numpy(given))])
    assert float(found) == pytest.approx(np.square(given).mean())


@pytest.mark.parametrize("as_graph", [False, True])
def test_a_tagger_teaches_another_wherever_its_classes_stand(teacher: nn.Module, *, as_graph: bool) -> None:
    """Catches the wrong output, another axis, or logarithms of probabilities that are not taken."""
    unlabelled = Dataset(sequences(400, padded=False).inputs)
    few = sequences(8, padded=True)
    source: Any = export_model(teacher, few).graph if as_graph else teacher
    plan = Plan(epochs=15, batch=32, learning_rate=0.02, held_back=0.0)
    alone = distill(Tagger(8), Pool(few), [], Loss(), plan, output=1)
    helped = distill(Tagger(8), Pool(few, unlabelled), [Teacher(source)], Loss(0.9, 1.0), plan, output=1)
    assert tagged(helped.module) > max(0.8, tagged(alone.module) + 0.1)


def test_its_own_average_teaches_a_tagger() -> None:
    trained = distill(Tagger(16), Pool(sequences(400, padded=True)), [Teacher(None)], Loss(0.3, 1.0), PLAN, output=1)
    assert tagged(trained.module) > 0.8


@pytest.mark.parametrize(
    ("shape", "positions", "told"),
    [((2, 4, 4), (4,), "axis 1 or axis 2"), ((2, 5), (5,), "gives [2, 5]"), ((2, 1), (), "gives [2, 1]")],
)
def test_outputs_without_a_plain_axis_of_classes_are_refused(shape: Any, positions: Any, told: str) -> None:
    with pytest.raises(ModelError) as error:
        scores_of(torch.zeros(shape), positions, whose="the network")
    assert told in str(error.value)


def test_answers_that_memory_does_not_hold_are_asked_for_again(
    teacher: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches answers that are other ones when they are not remembered."""
    data, plan, made = sequences(60, padded=True), Plan(epochs=2), []
    for most in (1 << 29, 0):
        monkeypatch.setattr("foldpress.training.teachers._REMEMBERED", most)
        made.append(distill(Tagger(8), Pool(data), [Teacher(teacher)], Loss(), plan, output=1).losses)
    np.testing.assert_allclose(made[0], made[1], rtol=1e-5)


NETWORK = """
import torch
class Tagger(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first, self.last = torch.nn.Linear(8, width), torch.nn.Linear(width, 3)
    def forward(self, x):
        return x.sum(2), self.last(torch.relu(self.first(x)))
def build():
    return Tagger(64)
def build_small():
    return Tagger(32)
def tokens(targets, tags):
    return ((tags.argmax(2) == targets) | (targets < 0)).mean(1)
"""
RECIPE = """
{quantize}
[model]
source = "network:build"
weights = "large.safetensors"
[data]
source = "judged.npz"
train = "train.npz"
output = "1"
task = "{task}"
[folds]
scheme = "holdout"
[distill]
student = "network:build_small"
epochs = 40
learning_rate = 0.02
{loss}
[prune]
macs = 0.9
[finetune]
epochs = 5
{loss}
[gate]
max_drop = 0.2
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, invoke: Invoke) -> Path:
    """A tagger as a user has it: code, padded training sequences, and trained weights."""
    monkeypatch.chdir(tmp_path)
    Path("network.py").write_text(NETWORK)
    for name, count in (("train", 300), ("judged", 200)):
        data = sequences(count, padded=True)
        np.savez(f"{name}.npz", x=np.where(data.inputs["x"] == 100, 0, data.inputs["x"]), y=data.y)
    common = ("-d", "train.npz", "--judged-output", 1, "--epochs", 40, "--learning-rate", 0.02, "-q")
    result = invoke("distill", "network:build", "-t", "self", "-o", "large.safetensors", *common)
    assert result.exit_code == 0, result.output
    return tmp_path


@pytest.mark.parametrize(("task", "loss"), [("classification", ""), ("network:tokens", 'loss = "cross-entropy"')])
def test_a_run_trains_prunes_and_judges_a_tagger(folder: Path, invoke: Invoke, task: str, loss: str) -> None:
    """Catches a stage that trains, checks or masks by the first output; and a user's metric that cannot be trained for."""
    Path("recipe.toml").write_text(RECIPE.format(task=task, loss=loss, quantize="quantize = false"))
    result = invoke("run", "recipe.toml", "-o", "out", "-q")
    assert result.exit_code == 0, result.output
    assert (folder / "out/finetuned.onnx").is_file()


def test_what_a_metric_is_trained_by_has_to_be_said(folder: Path, invoke: Invoke) -> None:
    Path("recipe.toml").write_text(RECIPE.format(task="network:tokens", loss="", quantize="quantize = false"))
    result = invoke("run", "recipe.toml", "-o", "out", "-q")
    assert (result.exit_code, "out" in {one.name for one in folder.iterdir()}) == (2, False)
    assert 'loss = "cross-entropy"' in result.stderr


def test_a_student_without_the_output_is_refused(folder: Path, invoke: Invoke) -> None:
    result = invoke(
        "distill", "network:build", "-t", "self", "-d", "train.npz", "--judged-output", 2, "-o", "x.onnx", "-q"
    )
    assert result.exit_code == 2
    assert "no output 2" in result.stderr
    assert "0 … 1" in result.stderr
    assert not (folder / "x.onnx").exists()
