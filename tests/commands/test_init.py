"""`init`: a folder to start from."""

from pathlib import Path

import pytest

from conftest import Invoke
from contract import document_of


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("template", ["digits", "tabular"])
def test_init_fills_a_new_folder_only(template: str, as_json: bool, invoke: Invoke, tmp_path: Path) -> None:
    """Catches a template without one of its three parts, and a start that overwrites somebody's files."""
    json_option = ["--json"] if as_json else []
    result = invoke("init", tmp_path / "new", "--from", template, *json_option)
    assert result.exit_code == 0, result.stderr
    for name in ("recipe.toml", "model.py", "data.py"):
        assert (tmp_path / "new" / name).is_file()
        assert name in result.stdout.replace("\n", "")
    if as_json:
        assert sorted(document_of(result)["files"]) == sorted(str(path) for path in (tmp_path / "new").iterdir())
    before = {path.name: path.read_bytes() for path in (tmp_path / "new").iterdir()}
    again = invoke("init", tmp_path / "new", "--from", template)
    assert again.exit_code == 2
    assert "not empty" in again.stderr
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "new").iterdir()}


def test_init_names_its_templates(invoke: Invoke, tmp_path: Path) -> None:
    """Catches a refusal that leaves one guessing."""
    result = invoke("init", tmp_path / "new", "--from", "digit")
    assert result.exit_code == 2
    assert "digits" in result.stderr
    assert not (tmp_path / "new").exists()
