"""`foldpress init`: a recipe, a model file and a data file to start from."""

import shutil
from pathlib import Path

from foldpress.errors import RequestError
from foldpress.files import writable_folder

_COPIED = ("*.py", "*.toml", "*.md")


def init(folder: Path | str, template: str = "digits") -> list[Path]:
    """Copy a reference model into a new or empty folder; gives the files written.

    Raises:
        RequestError: no such template, or the folder already holds something.
        OutputError: the folder cannot be written to.
    """
    folder = Path(folder)
    available = {path.name: path for path in sorted(_models().iterdir()) if (path / "recipe.toml").is_file()}
    if template not in available:
        raise RequestError(f"there is no template {template!r}", available=", ".join(available))
    if folder.is_dir() and any(folder.iterdir()):
        raise RequestError(f"{folder} is not empty; nothing was written", mend="name a new folder")
    writable_folder(folder)
    sources = [path for pattern in _COPIED for path in sorted(available[template].glob(pattern))]
    return [Path(shutil.copy(path, folder / path.name)) for path in sources]


def _models() -> Path:
    """The reference models: inside an installed package, or at the top of a checkout."""
    installed = Path(__file__).parent / "_models"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "models"
