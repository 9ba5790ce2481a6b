"""The archive that is shipped: whole, and able to run in an environment that has nothing else."""

import json
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel built from the sdist, as an installer without a wheel would."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)], check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_every_module_and_model(wheel: Path) -> None:
    """Catches: packages lost because links point to them; weights or caches shipped by mistake."""
    names = set(zipfile.ZipFile(wheel).namelist())
    source = ROOT / "src"
    modules = {
        p.relative_to(source).as_posix() for p in (source / "foldpress").rglob("*") if p.suffix in (".py", ".j2")
    }
    assert modules <= names
    for model in ("digits", "tabular", "regression", "sequence"):
        assert {
            f"foldpress/_models/{model}/{file}" for file in ("model.py", "data.py", "train.py", "recipe.toml")
        } <= names
    assert not [name for name in names if "weights" in name.rpartition("/")[2] and name.endswith(".safetensors")]
    assert not [name for name in names if "__pycache__" in name]


def test_it_runs_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    """Catches: a dependency that is imported but not declared; templates that only a checkout has."""
    venv.create(tmp_path / "venv")
    tools = tmp_path / "venv" / "bin"
    pip = [sys.executable, "-m", "pip", "--python", str(tools / "python")]
    # To compile all of torch takes longer than all else; what is imported here is compiled then.
    install = [*pip, "install", "--quiet", "--no-compile", "-c", str(ROOT / "constraints.txt"), str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    doctor = subprocess.run(
        [str(tools / "foldpress"), "doctor", "--json", "-q"], check=True, capture_output=True, cwd=tmp_path
    )
    found = json.loads(doctor.stdout)
    assert "CPUExecutionProvider" in found["providers"]
    assert found["versions"]["torch"].startswith("2.13.0")
    subprocess.run([str(tools / "foldpress"), "init", "mine"], check=True, capture_output=True, cwd=tmp_path)
    assert (tmp_path / "mine" / "recipe.toml").is_file()
