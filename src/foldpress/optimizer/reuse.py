"""Statistics from a file, where they are those that would be collected; else they are collected, or the file is refused."""

import logging
from pathlib import Path

from foldpress.errors import RequestError
from foldpress.optimizer.collection import Collection
from foldpress.optimizer.learning import Learning
from foldpress.optimizer.saved_statistics import load_statistics, requirements, sign

_logger = logging.getLogger(__name__)


def reused_or_collected(path: Path, collection: Collection) -> Learning:
    """The statistics in a file, if they are those that would be collected; else they are collected, and written there."""
    if path.is_file():
        try:
            found = load_statistics(path)
            found.require(requirements(collection))
        except RequestError as error:
            _logger.info("%s is not reused: %s", path.name, error.problem)
        else:
            _logger.info("%s: reused", path.name)
            return found.statistics
    return _collected(path, collection)


def taken_or_collected(path: Path, collection: Collection) -> Learning:
    """The statistics in a file; where there is none they are collected, and written there.

    Raises:
        RequestError: the file is damaged, or holds other statistics than would be collected: names everything that differs.
    """
    if not path.exists():
        return _collected(path, collection)
    found = load_statistics(path)
    try:
        found.require(requirements(collection))
    except RequestError as error:
        raise RequestError(
            f"{path} does not fit: {error.problem}",
            mend="name another file, or remove this one to have it written anew",
        ) from error
    return found.statistics


def _collected(path: Path, collection: Collection) -> Learning:
    collected = collection.collect()
    sign(collection, collected).save(path)
    return collected
