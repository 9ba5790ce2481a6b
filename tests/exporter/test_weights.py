from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from foldpress.errors import ModelError
from foldpress.exporter.weights import load_weights


@pytest.fixture
def stored() -> dict[str, torch.Tensor]:
    return {"0.weight": torch.full((3, 4), 2.0), "0.bias": torch.full((3,), 5.0)}


def build() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(4, 3))


def bias(model: torch.nn.Module) -> float:
    return float(model.state_dict()["0.bias"][0])


def test_safetensors_are_loaded(tmp_path: Path, stored: dict[str, torch.Tensor]) -> None:
    """Catches: a loader that reads .pt only."""
    save_file(stored, tmp_path / "w.safetensors")
    model = build()
    load_weights(model, tmp_path / "w.safetensors")
    assert bias(model) == 5.0


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: s,
        lambda s: {"state_dict": s, "epoch": 3},
        lambda s: {"model": {"state_dict": s}, "optimizer": {"lr": 0.1}},
        lambda s: {"state_dict": {f"module.{k}": v for k, v in s.items()}, "best_prec1": 91.7},
        lambda s: {f"_orig_mod.module.{k}": v for k, v in s.items()},
    ],
    ids=["plain", "nested", "twice nested", "DataParallel", "compiled DataParallel"],
)
def test_a_state_dict_is_found_where_training_scripts_put_it(
    tmp_path: Path, stored: dict[str, torch.Tensor], wrap: Any
) -> None:
    """Catches: a checkpoint refused for its wrapping."""
    torch.save(wrap(stored), tmp_path / "w.pt")
    model = build()
    load_weights(model, tmp_path / "w.pt")
    assert bias(model) == 5.0


def test_a_name_that_only_looks_like_a_prefix_stays(tmp_path: Path) -> None:
    """Catches: stripping `model.` from a network whose own keys begin so."""

    class Outer(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = torch.nn.Linear(2, 2)

    trained, fresh = Outer(), Outer()
    torch.save(trained.state_dict(), tmp_path / "w.pt")
    load_weights(fresh, tmp_path / "w.pt")
    assert torch.equal(fresh.model.weight, trained.model.weight)


def test_what_does_not_fit_is_named_and_shortened(tmp_path: Path) -> None:
    """Catches: silently loading half of the weights; a message of a thousand keys."""
    torch.save(
        {f"layer{i}.weight": torch.zeros(1) for i in range(30)} | {"0.weight": torch.zeros(3, 5)}, tmp_path / "w.pt"
    )
    with pytest.raises(
        ModelError, match=r"missing 0\.bias; unexpected layer0\.weight.*and 26 more; of another shape 0\.weight"
    ):
        load_weights(build(), tmp_path / "w.pt")


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("unpickled"),))


def test_a_pickle_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: loading with weights_only=False."""
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Bomb()}, "w.pth")
    with pytest.raises(ModelError, match="nothing else is unpickled"):
        load_weights(build(), Path("w.pth"))
    assert not Path("unpickled").exists()


def test_missing_and_damaged_files(tmp_path: Path) -> None:
    """Catches: a raw FileNotFoundError or SafetensorError reaching the user."""
    with pytest.raises(ModelError, match="there are no weights"):
        load_weights(build(), tmp_path / "none.pt")
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\x00\x00")
    with pytest.raises(ModelError, match="cannot be read as weights"):
        load_weights(build(), tmp_path / "cut.safetensors")
