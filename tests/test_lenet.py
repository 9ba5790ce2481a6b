"""models/lenet, whose data do not come with it."""

from pathlib import Path

import pytest

from foldpress.errors import RequestError
from foldpress.recipe import load_recipe
from foldpress.sources import read_data

LENET = Path(__file__).parents[1] / "models/lenet"


@pytest.mark.parametrize("name", ["lenet-300-100.toml", "lenet-5.toml"])
def test_its_recipes_are_valid(name: str) -> None:
    """Catches a key that no longer exists, in a recipe that no other test runs."""
    recipe = load_recipe(LENET / name)
    assert recipe.quantize is None
    assert recipe.gate.max_drop == 0.005


def test_without_images_it_says_where_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a traceback, or a message that does not name the package."""
    monkeypatch.setenv("FOLDPRESS_FASHION", str(tmp_path))
    with pytest.raises(RequestError, match="apt-get install dataset-fashion-mnist"):
        read_data("data:load", LENET)
