"""`module:callable` as a recipe writes it: the user's own code, found beside the recipe."""

import importlib
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from foldpress.errors import ModelError, RequestError

_loaded: dict[Path, dict[str, ModuleType]] = {}


@contextmanager
def beside(folder: Path) -> Iterator[None]:
    """Let imports find the modules of `folder` first, and only here.

    Two recipes may each have a `model.py`: the modules of a folder are put aside afterwards and come back,
    the same objects, the next time; whatever else went by their names is untouched.
    """
    folder = folder.resolve()
    names = {path.stem for path in folder.glob("*.py")} | {path.parent.name for path in folder.glob("*/__init__.py")}
    elsewhere = _take_out(names)
    sys.modules.update(_loaded.get(folder, {}))
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        _loaded[folder] = _take_out(names)
        sys.modules.update(elsewhere)


def load_callable(spec: str, folder: Path) -> Callable[..., Any]:
    """The object that `module:callable` names, the module found in `folder` or, failing that, installed.

    Raises:
        RequestError: the spec is malformed, or there is no such module or callable.
        ModelError: importing the module raised; the user's traceback is in the message.
    """
    name, _, attribute = spec.partition(":")
    if not name or not attribute:
        raise RequestError(f"{spec!r} is not of the form module:callable", mend="write, for example, model:build")
    with beside(folder):
        found = _attribute(_import(name, folder), attribute, spec)

    def call(*args: Any, **kwargs: Any) -> Any:
        with beside(folder), user_code(spec):
            return found(*args, **kwargs)

    return call


@contextmanager
def user_code(what: str) -> Iterator[None]:
    """Run the user's code; what it raises becomes an error that shows the user's own traceback.

    Raises:
        ModelError: with the traceback, foldpress's own frames left out.
    """
    try:
        yield
    except RequestError:
        raise
    except Exception as error:
        raise ModelError(f"{what} raised {type(error).__name__}: {error}\n{_users_frames(error)}") from error


def _import(name: str, folder: Path) -> ModuleType:
    try:
        with user_code(f"importing {name}"):
            return importlib.import_module(name)
    except ModelError as error:
        cause = error.__cause__
        if isinstance(cause, ModuleNotFoundError) and cause.name == name.partition(".")[0]:
            modules = sorted(path.stem for path in folder.glob("*.py"))
            raise RequestError(
                f"there is no module {name!r} beside the recipe, in {folder}", available=", ".join(modules) or "none"
            ) from error
        raise


def _attribute(module: ModuleType, attribute: str, spec: str) -> Callable[..., Any]:
    found = getattr(module, attribute, None)
    if not callable(found):
        names = sorted(name for name, value in vars(module).items() if callable(value) and not name.startswith("_"))
        raise RequestError(f"{spec!r}: the module has no callable {attribute!r}", available=", ".join(names) or "none")
    return found  # type: ignore[no-any-return]


def _take_out(names: set[str]) -> dict[str, ModuleType]:
    taken = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in names}
    for name in taken:
        del sys.modules[name]
    return taken


def _users_frames(error: BaseException) -> str:
    own = str(Path(__file__).parent)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(own)]
    lines = traceback.format_list([frame for frame in frames if "importlib" not in frame.filename])
    return "".join([*lines, *traceback.format_exception_only(error)]).rstrip()
