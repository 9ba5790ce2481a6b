"""What a recipe names, opened and checked before anything is written."""

import logging
from dataclasses import dataclass, replace

from foldpress.benchmark.metrics import make_metric
from foldpress.benchmark.planning import plan_samples
from foldpress.benchmark.scoring import Task, check_targets, make_task, output_position
from foldpress.data import Dataset, check_disjoint
from foldpress.folds import Folds, make_folds, one_fold
from foldpress.identity import Identity, identify
from foldpress.origin import Origin, open_origin
from foldpress.provenance import digests
from foldpress.providers import check_provider
from foldpress.recipe import Recipe
from foldpress.refit import open_refit
from foldpress.schemes import GROUPED, Scheme
from foldpress.sources import read_data
from foldpress.taught import Training

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Job:
    """A recipe with the network, the samples and the task that it names; `digests` are of model and data.

    `training` has what is trained on, where the recipe asks for that.
    """

    recipe: Recipe
    origin: Origin
    task: Task
    folds: Folds
    digests: dict[str, str]
    training: Training | None = None

    def identity(self, samples: Dataset) -> Identity:
        """Which of these samples are independent of each other, as the folds take them."""
        return identify(samples, grouped=self.recipe.folds.scheme in GROUPED)

    def plan(self) -> list[dict[str, str]]:
        """Say now which limits the samples are too few for. Only identities and labels of the test split are looked at."""
        if not self.task.has_labels:
            return []
        targets, identity = self.folds.test.census(grouped=self.recipe.folds.scheme in GROUPED)
        plans = plan_samples(self.recipe.gate.limits(), self.recipe.gate.confidence, identity, targets)
        for plan in plans:
            _logger.log(logging.INFO if plan.enough else logging.WARNING, "%s", plan.detail)
        return [plan.as_json() for plan in plans]


def open_job(recipe: Recipe) -> Job:
    """Open all that a recipe names.

    Raises:
        RequestError: a provider, the data, the task, the metric, the training or the model is not there or is wrong, or
            the samples cannot be divided as asked.
    """
    for plan in recipe.benchmark.plans(recipe.folds.seed):
        check_provider(plan.provider, plan.provider_options)
    dataset = read_data(recipe.data.source, recipe.folder)
    train = read_data(recipe.data.train, recipe.folder) if recipe.data.train else None
    unlabelled = {
        one.unlabelled: read_data(one.unlabelled, recipe.folder)
        for one in recipe.trainings
        if one.unlabelled is not None
    }
    task = make_task(recipe.data.task, recipe.folder, dataset.y)
    if recipe.data.metric is not None:
        make_metric(recipe.data.metric, recipe.folder)
    if recipe.folds.refit is not None:
        open_refit(recipe)  # what is not there is said now, not after all else
    learned = ({} if train is None else {"train": train}) | unlabelled
    found = digests(recipe, dataset, learned)
    origin = open_origin(recipe.model.source, recipe.model.weights, recipe.folder, dataset)
    task = replace(task, output=output_position(recipe.data.output, origin.names))
    check_targets(origin.dataset, task, task.of(origin.outputs))
    folds = _folds(recipe, origin.dataset, task)
    for name, samples in learned.items():
        _check_training(name, samples, origin.dataset)
    training = None
    if train is not None and recipe.trainings:
        train = _named_like(train, origin.dataset)
        training = Training(recipe, origin.model, one_fold(train, folds.test), task, unlabelled)
        training.check()
    return Job(recipe, origin, task, folds, found, training)


def _folds(recipe: Recipe, dataset: Dataset, task: Task) -> Folds:
    """Folds and test split, proven disjoint from each other."""
    table = recipe.folds
    one_class_each = task.has_labels and dataset.y.ndim == 1
    scheme: Scheme = table.scheme or ("stratified" if one_class_each else "kfold")
    if dataset.group is not None and scheme not in GROUPED:
        _logger.warning("the data have groups, and scheme = %r takes their samples for independent", scheme)
    return make_folds(
        dataset, splits=table.splits, scheme=scheme, repeats=table.repeats, test=table.test, seed=table.seed
    )


def _check_training(name: str, samples: Dataset, dataset: Dataset) -> None:
    """Prove that nothing is judged that the network was trained on."""
    check_disjoint({name: _named_like(samples, dataset), "data": dataset})


def _named_like(samples: Dataset, dataset: Dataset) -> Dataset:
    """The one array may go by any name on either side."""
    if len(samples.inputs) != 1 or len(dataset.inputs) != 1:
        return samples
    return samples.renamed({next(iter(samples.inputs)): next(iter(dataset.inputs))})
