"""Compression as a recipe asks for it: statistics, the choice of a precision, the graph that ships, one for each fold."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import onnx_ir as ir

from foldpress.benchmark.scoring import Task
from foldpress.drop_budget import loss_of
from foldpress.folds import Folds
from foldpress.graph import remove_graph, save_graph
from foldpress.optimizer.cleanup import clean_up
from foldpress.optimizer.codebook_file import CodebookFile
from foldpress.optimizer.collection import Collection
from foldpress.optimizer.factorize.request import Factorization
from foldpress.optimizer.lean import lean
from foldpress.optimizer.passes import apply
from foldpress.optimizer.press import Press
from foldpress.optimizer.pressed import Pressed
from foldpress.optimizer.prune import Prune
from foldpress.optimizer.reuse import reused_or_collected
from foldpress.optimizer.samples import calibration_rows, shortage
from foldpress.optimizer.static_int8 import refuse_quantized
from foldpress.optimizer.targets import Target, choose_target
from foldpress.precision import Precision
from foldpress.products import FACTORIZED, PRUNED, QUANTIZED, SHARED
from foldpress.pruned_time import change_blocks, time_log
from foldpress.recipe import Recipe
from foldpress.rundir import RunDir
from foldpress.settling import settle, settle_round, settled
from foldpress.tables.factorize import FactorizeTable
from foldpress.tables.prune import PruneTable
from foldpress.tables.quantize import QuantizeTable
from foldpress.weight_passes import choose_weights


class Pressing:
    """One float graph and the samples that it is pressed with.

    Args:
        recipe: what is asked for.
        baseline: the exported graph.
        folds: calibration samples are drawn from the development samples, about equally many from each fold.
        store: the file of their statistics, or None to keep them in memory only.
        task: how samples are scored, where pruning has a largest drop.

    Raises:
        RequestError: the baseline is quantized, and more is asked for.
    """

    def __init__(self, recipe: Recipe, baseline: ir.Model, folds: Folds, task: Task, store: Path | None = None) -> None:
        self.recipe, self.folds, self._store, self._loss = recipe, folds, store, loss_of(task)
        self._rounds: dict[tuple[int, int], Press] = {}  # those that are pressed otherwise than what ships
        self._plan = recipe.benchmark.plans(recipe.folds.seed)[0]
        if any(table is not None for table in (recipe.prune, recipe.factorize, recipe.share, recipe.quantize)):
            refuse_quantized(baseline)
        self.cleaned = apply(clean_up(), baseline)
        table = recipe.quantize or QuantizeTable()
        rows = calibration_rows(folds.parts, table.samples, recipe.folds.seed)
        self.press = Press(
            self.cleaned.model,
            folds.development.select(rows),
            folds.numbers[:, rows],
            prune=_prune(recipe.prune),
            factorize=_factorization(recipe.factorize),
            share=None if recipe.share is None else recipe.share.asked(),
            target=_target(recipe),
            ranges=table.calibration,
            precision=Precision(table.precision, table.bits),
            keep_float=table.keep_float,
            float_macs=table.float_macs,
            weights=choose_weights(table.weight_passes, table.precision),
            statistics=Collection.collect if store is None else partial(reused_or_collected, store),
        )
        self.shortage = shortage(folds.numbers[:, rows], table.samples) if self.press.learns else ()

    def collect(self) -> dict[str, Any]:
        """The one pass over the calibration samples. What an earlier run left is not taken for it."""
        if self._store is not None:
            self._store.unlink(missing_ok=True)
        self.press.collect()
        return {}

    def choose(self) -> dict[str, Any]:
        """What `settle` takes: all that the recipe leaves open, decided here."""
        found = settle(self.press, self.folds.development, self._plan, self._loss)
        if any(asked is not None and asked.max_drop is not None for asked in (self.press.prune, self.press.factorize)):
            left_out = [self.folds.left_out(*one) for one in self.folds.rounds()]
            rounds = [settle_round(self.press, found, self._loss, *one) for one in left_out]
            found["rounds"] = rounds
            found["log"] += [entry for one in rounds for entry in one["log"]]
        return found

    def settle(self, found: dict[str, Any]) -> None:
        """Press everything from here on as was decided."""
        asked = self.press
        self.press = settled(asked, found)
        if "rounds" in found:
            rounds = zip(self.folds.rounds(), found["rounds"], strict=True)
            self._rounds = {one: settled(asked, own) for one, own in rounds}

    def ship(self, here: RunDir) -> dict[str, Any]:
        """Write the graphs that learned from all folds."""
        pressed = self.press.ship()
        last = lean(keep_metadata=self.recipe.quantize is not None and self.recipe.quantize.keep_metadata)
        log = [*self.cleaned.log, *self.shortage, *pressed.log]
        asked = _prune(self.recipe.prune), _factorization(self.recipe.factorize)
        blocks = change_blocks(*asked, self.press, pressed, self.folds.development, self._plan)
        log += time_log(blocks)
        made = {
            PRUNED: pressed.pruned,
            FACTORIZED: pressed.factorized,
            SHARED: pressed.shared,
            QUANTIZED: pressed.quantized,
        }
        for name, graph in made.items():
            remove_graph(here / name)
            if graph is not None:
                written = apply([CodebookFile(), *last] if name == SHARED else last, graph)
                save_graph(written.model, here / name)
                log += written.log
        return {"log": [entry.as_json() for entry in log], **blocks}

    def rounds(self) -> Iterator[tuple[int, int, ir.Model]]:
        """Every repeat and fold, with the graph made without that fold."""
        for repeat, fold in self.folds.rounds():
            press = self._rounds.get((repeat, fold), self.press)
            yield repeat, fold, self._last(press.without(*self.folds.left_out(repeat, fold)))

    def shipped(self) -> ir.Model:
        """The graph that learned from all folds, written nowhere."""
        return self._last(self.press.ship())

    def _last(self, pressed: Pressed) -> ir.Model:
        return pressed.last or self.cleaned.model


def _prune(table: PruneTable | None) -> Prune | None:
    return None if table is None else Prune(table.method, **table.model_dump(exclude={"method"}))


def _factorization(table: FactorizeTable | None) -> Factorization | None:
    return None if table is None else Factorization(**table.model_dump())


def _target(recipe: Recipe) -> Target | None:
    if recipe.quantize is None:
        return None
    return choose_target(recipe.quantize.target, recipe.benchmark.providers[0])
