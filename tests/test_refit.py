"""Training anew in each fold: what the user's code is shown, what is judged, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import Arrays, Invoke, WriteRecipe
from foldpress.benchmark.intervals import corrected_mean_upper, tango_upper

# The nearest class mean, as a linear layer: training is exact and takes no time.
NETWORK = """
import numpy as np
import torch

class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(64, 64)
        self.last = torch.nn.Linear(64, 10)

    def forward(self, x):
        return self.last(torch.relu(self.first(x)))

def build():
    torch.manual_seed(0)
    return Network()

def trained(inputs, targets):
    network = build()
    with torch.no_grad():
        hidden = torch.relu(network.first(torch.from_numpy(inputs)))
        means = torch.stack([hidden[torch.from_numpy(targets == label)].mean(0) for label in range(10)])
        network.last.weight.copy_(means)
        network.last.bias.copy_(-(means ** 2).sum(1) / 2)
    return network

def fit(inputs, targets, seed):
    with open("{folder}/seen.txt", "a") as stream:
        stream.write(f"{{len(inputs)}} {{seed}} {{inputs.sum():.4f}}\\n")
    torch.rand(3)
    return trained(inputs, targets)

def fit_weights(inputs, targets, seed):
    return trained(inputs, targets).state_dict()

def fit_raising(inputs, targets, seed):
    raise RuntimeError("it diverged")

def fit_nothing(inputs, targets, seed):
    return None

def fit_nan(inputs, targets, seed):
    return torch.nn.Sequential(torch.nn.Linear(64, 10)).apply(lambda one: [p.data.fill_(float("nan")) for p in one.parameters()])
"""


@pytest.fixture
def run(recipe: WriteRecipe, tmp_path: Path, invoke: Invoke) -> Any:
    """Run a recipe with such a network, and this training."""

    def call(fit: str, **folds: Any) -> Any:
        (tmp_path / "network.py").write_text(NETWORK.format(folder=tmp_path))
        path = recipe(
            model={"source": "network:build"}, folds={"refit": f"network:{fit}", **folds}, gate={"max_drop": 0.5}
        )
        return invoke("run", path, "-o", tmp_path / "out", "--json", "-q")

    return call


def rows(path: Path) -> dict[str, Any]:
    with np.load(path) as archive:
        return dict(archive)


def test_each_fold_is_judged_by_a_network_trained_without_it(run: Any, tmp_path: Path, recipe: WriteRecipe) -> None:
    """Catches a held-out sample that training, calibration or the bound has seen; the reference trains by hand."""
    result = run("fit")
    assert result.exit_code == 0, result.output
    table, data = rows(tmp_path / "out/evidence/refit.npz"), rows(tmp_path / "data.npz")
    seen = [line.split() for line in (tmp_path / "seen.txt").read_text().splitlines()]
    for fold in range(3):
        rest = np.sort(table["sample"][table["fold"] != fold])
        assert seen[fold][:2] == [str(len(rest)), str(fold)]
        assert float(seen[fold][2]) == pytest.approx(data["x"][rest].sum(), rel=1e-5)
        held_out = table["fold"] == fold
        expected = by_hand(data, rest, table["sample"][held_out])
        np.testing.assert_array_equal(table["baseline"][held_out], expected)
    assert not set(table["sample"]) & set(rows(tmp_path / "out/evidence/test.npz")["sample"])
    assert set(table["trained_on"]) == {int(line[0]) for line in seen}


def by_hand(data: Arrays, rest: Any, held_out: Any) -> Any:
    """The nearest class mean among the same random features."""
    import torch

    torch.manual_seed(0)
    first = torch.nn.Linear(64, 64)
    hidden = np.maximum(data["x"] @ first.weight.detach().numpy().T + first.bias.detach().numpy(), 0)
    means = np.stack([hidden[rest][data["y"][rest] == label].mean(0) for label in range(10)])
    return ((hidden[held_out][:, None] - means) ** 2).sum(2).argmin(1)


def test_the_block_and_its_check(run: Any, tmp_path: Path) -> None:
    """Catches a corrected bound of other counts, or a check that is written and not judged."""
    document = json.loads(run("fit", repeats=2).stdout)
    block, table = document["accuracy"]["refit"], rows(tmp_path / "out/evidence/refit.npz")
    assert [(one["repeat"], one["fold"]) for one in block["each"]] == [(r, f) for r in range(2) for f in range(3)]
    drops = np.array([one["drop"] for one in block["each"]])
    ratio = np.mean([one["n"] / one["trained_on"] for one in block["each"]])
    assert block["drop_upper_corrected"] == pytest.approx(corrected_mean_upper(drops, ratio))
    assert block["drop_upper"] == max(block["drop_upper_corrected"], block["drop_upper_pooled"])
    assert block["drop_upper"] >= tango_upper(0, 0, block["n"])
    assert len(table["sample"]) == 2 * block["n"]
    (check,) = [one for one in document["checks"] if one["name"] == "max_drop_refit"]
    assert (check["bound"], check["limit"], check["verdict"]) == (block["drop_upper"], 0.5, "PASS")


def test_weights_do_as_well_as_a_network(run: Any, tmp_path: Path) -> None:
    """Catches a state dict that is loaded into the wrong network, or not at all."""
    blocks = [json.loads(run(fit, splits=2).stdout)["accuracy"]["refit"] for fit in ("fit", "fit_weights")]
    assert blocks[0] == blocks[1]
    assert blocks[0]["baseline"] > 0.7


def test_without_refit_there_is_no_such_check(recipe: WriteRecipe, tmp_path: Path, run: Any, invoke: Invoke) -> None:
    """Catches evidence of an earlier run that is judged as if it were this one's."""
    assert run("fit").exit_code == 0
    path = recipe(model={"source": "network:build"}, gate={"max_drop": 0.5})
    document = json.loads(invoke("run", path, "-o", tmp_path / "out", "--json", "-q").stdout)
    assert not (tmp_path / "out/evidence/refit.npz").exists()
    assert document["accuracy"]["refit"] is None
    assert "folds] refit" in document["accuracy"]["refit_why"]
    assert [check["name"] for check in document["checks"]] == ["max_drop", "max_drop_folds"]


def test_missing_refit_evidence_never_passes(run: Any, tmp_path: Path, invoke: Invoke) -> None:
    """Catches a check that is passed over where its evidence is gone."""
    assert run("fit").exit_code == 0
    assert invoke("gate", tmp_path / "out").exit_code == 0
    (tmp_path / "out/evidence/refit.npz").unlink()
    assert invoke("gate", tmp_path / "out").exit_code == 3


@pytest.mark.parametrize(
    ("fit", "words"),
    [("fit_raising", ("it diverged", "network.py")), ("fit_nothing", ("gave a NoneType", "state_dict")),
     ("fit_nan", ("NaN",)), ("fit_absent", ("'fit_absent'", "available:"))],
)  # fmt: skip
def test_what_is_no_training_is_refused(fit: str, words: tuple[str, ...], run: Any, tmp_path: Path) -> None:
    """Catches a training that failed, taken for one that lost nothing."""
    result = run(fit)
    assert result.exit_code in (2, 4)
    assert not [word for word in words if word not in result.stderr], result.stderr
    assert not (tmp_path / "out/manifest.json").exists()


def test_no_folds_no_refit(run: Any) -> None:
    """Catches a refit that is asked for and silently left out."""
    result = run("fit", scheme="holdout", splits=None)
    assert result.exit_code == 2
    assert "holdout" in result.stderr
