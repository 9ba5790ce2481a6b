"""One small tree of errors. Each says what was asked, what is available, and what to do.

Exit codes (contract): 0 PASS or done, 1 FAIL, 2 the request is wrong, 3 INCONCLUSIVE, 4 the job broke.
"""

from collections.abc import Iterable
from typing import TypeVar

_Name = TypeVar("_Name", bound=str)


class FoldpressError(Exception):
    """Anything foldpress raises on purpose.

    Args:
        problem: what was asked, and what is wrong with it.
        available: what could have been asked for instead.
        mend: what to do about it.
    """

    exit_code = 4

    def __init__(self, problem: str, *, available: str | None = None, mend: str | None = None) -> None:
        self.problem, self.available, self.mend = problem, available, mend
        parts = [problem]
        if available is not None:
            parts.append(f"available: {available}")
        if mend is not None:
            parts.append(f"what to do: {mend}")
        super().__init__("\n".join(parts))


class RequestError(FoldpressError):
    """The request is wrong: usage, recipe or an input file. Nothing was run, nothing is half written."""

    exit_code = 2


class RecipeError(RequestError):
    """A recipe that cannot be read, or asks for what there is not."""


class DataError(RequestError):
    """A data set that does not fit: names, shapes, types, values, labels, folds."""


class LeakageError(DataError):
    """The same sample stands on two sides of a split that must be disjoint."""


class ModelError(RequestError):
    """A model that cannot be built, loaded, or run; the user's own traceback is part of the message."""


class GraphError(RequestError):
    """An .onnx file that is missing, damaged, unsafe, or not what was asked for."""


class ProviderError(RequestError):
    """An execution provider that is unknown, absent, or not the one that ran."""


class OutputError(RequestError):
    """A place that cannot be written to."""


class MissingExtraError(RequestError):
    """An optional package is needed."""

    def __init__(self, package: str, needed_for: str, extra: str) -> None:
        super().__init__(
            f"{needed_for} needs the package {package}, which is not installed",
            mend=f"pip install 'foldpress[{extra}]'",
        )


class ParityError(FoldpressError):
    """The exported graph does not compute what PyTorch computes; names the output and the sample."""


class PassError(FoldpressError):
    """A pass would break the graph."""


class DivergedError(FoldpressError):
    """Training gave no numbers any more; names the epoch and the step."""


def choose_from(known: Iterable[_Name], name: str, problem: str) -> _Name:
    """The one of the known names that was asked for; `problem` and the name say that there is no such one.

    Raises:
        RequestError: there is none.
    """
    names = tuple(known)
    for one in names:
        if one == name:
            return one
    raise RequestError(f"{problem} {name!r}", available=", ".join(names))
