"""`foldpress init`: a whole start, and nothing overwritten."""

import ast
from pathlib import Path

import pytest

from foldpress.errors import RequestError
from foldpress.recipe import load_recipe
from foldpress.templates import init

TEMPLATES = ["digits", "regression", "sequence", "tabular"]


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_template_is_a_recipe_with_its_code(template: str, tmp_path: Path) -> None:
    """Catches a template whose recipe is refused or names a file that was not copied."""
    files = init(tmp_path / "new", template)
    recipe = load_recipe(tmp_path / "new")
    for source in (recipe.model.source, recipe.data.source):
        module, _, name = source.partition(":")
        tree = ast.parse((tmp_path / "new" / f"{module}.py").read_text())
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    assert all(file.is_file() and file.parent == tmp_path / "new" for file in files)
    assert {file.suffix for file in files} >= {".py", ".toml"}


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """Catches work that is lost to a template."""
    (tmp_path / "model.py").write_text("mine")
    with pytest.raises(RequestError, match="not empty"):
        init(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["model.py"]
    (tmp_path / "file").write_text("")
    with pytest.raises(RequestError):
        init(tmp_path / "file")


def test_unknown_templates_name_the_known(tmp_path: Path) -> None:
    """Catches an empty folder left behind by a misspelled name."""
    with pytest.raises(RequestError, match=", ".join(TEMPLATES)):
        init(tmp_path / "new", "digit")
    assert not (tmp_path / "new").exists()
