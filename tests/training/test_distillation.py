"""Training beside teachers: a few seconds on small tables, where what was learned can be told."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import nn

from foldpress.data import Dataset
from foldpress.errors import DivergedError, MissingExtraError, RequestError
from foldpress.exporter.export import export_model
from foldpress.progress import listening
from foldpress.training.checkpoints import Checkpoint
from foldpress.training.distillation import distill
from foldpress.training.losses import Loss
from foldpress.training.masking import Growing, Held
from foldpress.training.plan import Plan
from foldpress.training.samples import Pool, hold_back
from foldpress.training.teachers import Teacher

PLAN = Plan(epochs=6, batch=32, learning_rate=0.02)


pytestmark = pytest.mark.usefixtures("one_torch_thread")


def network(width: int = 8, seed: int = 0, outputs: int = 3) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, width), nn.ReLU(), nn.Dropout(0.1), nn.Linear(width, outputs))


def samples(count: int = 200, seed: int = 0) -> Dataset:
    """Three classes by the sign of sums, [N, 5]."""
    x = np.random.default_rng(seed).normal(size=(count, 5)).astype(np.float32)
    return Dataset({"input": x}, (x[:, 0] + x[:, 1] > 0).astype(np.int64) + (x[:, 2] > 0.5))


def unlabelled(data: Dataset) -> Dataset:
    return Dataset(data.inputs)


@pytest.fixture(scope="module")
def teacher() -> nn.Module:
    return distill(network(32), Pool(samples(600)), [], Loss(), Plan(epochs=20, learning_rate=0.02)).module


def accuracy(module: nn.Module) -> float:
    data = samples(2000, seed=9)
    with torch.no_grad():
        return float((module(torch.from_numpy(data.inputs["input"])).argmax(1).numpy() == data.y).mean())


def weights(module: nn.Module) -> np.ndarray[Any, Any]:
    return np.concatenate([one.detach().numpy().ravel() for one in module.state_dict().values()])


def test_the_same_seed_gives_the_same_bits(teacher: nn.Module) -> None:
    """Catches randomness from elsewhere: dropout, order, what was drawn before."""
    made = []
    for noise in (1, 2):
        student = network()
        torch.manual_seed(noise)
        made.append(distill(student, Pool(samples()), [Teacher(teacher)], Loss(), PLAN))
        assert torch.initial_seed() == noise  # the generator is left alone
    assert (weights(made[0].module) == weights(made[1].module)).all()
    other = distill(network(), Pool(samples()), [Teacher(teacher)], Loss(), Plan(**{**PLAN.__dict__, "seed": 1}))
    assert (weights(other.module) != weights(made[0].module)).any()


def test_a_graph_teaches_as_its_module_does(teacher: nn.Module) -> None:
    graph = export_model(teacher, samples()).graph
    assert isinstance(graph, ir.Model)
    found = [distill(network(), Pool(samples()), [Teacher(one)], Loss(), PLAN) for one in (teacher, graph)]
    np.testing.assert_allclose(weights(found[0].module), weights(found[1].module), atol=1e-4)


def test_unlabelled_samples_teach_through_the_teacher(teacher: nn.Module) -> None:
    """Catches unlabelled samples that are left out: 12 labels alone do not make three classes."""
    few, plan = samples(12, seed=3), Plan(epochs=30, batch=32, learning_rate=0.02, held_back=0.0)
    alone = distill(network(), Pool(few), [], Loss(), plan)
    helped = distill(network(), Pool(few, unlabelled(samples(400, seed=4))), [Teacher(teacher)], Loss(0.9), plan)
    assert accuracy(helped.module) > accuracy(alone.module) + 0.05


def test_teachers_of_different_classes_make_one_student() -> None:
    """Catches class maps that are not applied: each teacher knows two of three classes, the student no label."""
    data, plan = samples(600), Plan(epochs=15, learning_rate=0.02)
    teachers = []
    for classes in ((0, 1), (2, 1)):
        rows = np.flatnonzero(np.isin(data.y, classes))
        part = Dataset(
            {"input": data.inputs["input"][rows]}, np.array([classes.index(label) for label in data.y[rows]])
        )
        teachers.append(Teacher(distill(network(16, outputs=2), Pool(part), [], Loss(), plan).module, classes=classes))
    student = distill(network(16), Pool(unlabelled(data)), teachers, Loss(1.0, 2.0), plan)
    assert accuracy(student.module) > 0.85


def test_the_moving_average_teaches_and_is_what_is_kept() -> None:
    """Catches an average that stays where it began."""
    student = network(16)
    trained = distill(student, Pool(samples(400)), [Teacher(None)], Loss(0.3, 1.0), Plan(epochs=15, learning_rate=0.02))
    assert trained.module is not student
    assert accuracy(trained.module) > 0.75  # as it began: a third


def test_float16_where_it_is_safe(teacher: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a loss in float16, masks or an average that do not survive it; on the CPU, where a GPU's code runs as well."""
    seen: set[torch.dtype] = set()
    found: list[float] = []
    for devices in (("cuda",), ("cpu",)):
        monkeypatch.setattr("foldpress.training.loop._MIXED_ON", devices)
        student, plan = network(16), Plan(epochs=15, learning_rate=0.02)
        student[0].register_forward_hook(lambda module, _args, out: seen.add(out.dtype) if module.training else None)
        weight = student.get_parameter("0.weight")
        mask = torch.arange(80).reshape(16, 5) % 4 != 0
        teachers, held = [Teacher(teacher), Teacher(None)], (Held(student, {"0.weight": mask}),)
        trained = distill(student, Pool(samples(400)), teachers, Loss(), plan, constraints=held, decay=0.9)
        assert {one.dtype for one in trained.module.parameters()} == {torch.float32}
        assert (weight[~mask] == 0).all()
        found.append(accuracy(trained.module))
    assert seen == {torch.float32, torch.float16}
    assert found[0] > 0.8
    assert found[1] == pytest.approx(found[0], abs=0.03)


def test_gamma_rises_with_the_steps(teacher: nn.Module) -> None:
    """Catches a ramp that counts epochs, or steps of one epoch."""
    asked: list[float] = []

    class Watched(Loss):
        def at(self, done: float) -> Loss:
            asked.append(done)
            return super().at(done)

    distill(network(), Pool(samples()), [Teacher(teacher)], Watched(ramp_up=0.5), Plan(epochs=2, batch=30))
    assert asked == pytest.approx(np.arange(1, 13) / 12)


def test_features_are_learned_through_a_map(teacher: nn.Module) -> None:
    """Catches features that are not trained for: their error has to fall, and the map must not stay in the student."""
    plan = Plan(epochs=10, learning_rate=0.02)
    trained = distill(
        network(), Pool(samples()), [Teacher(teacher)], Loss(), plan, features={"1": "1"}, feature_weight=50.0
    )
    assert trained.losses[-1][0] < trained.losses[0][0] / 2
    assert set(trained.module.state_dict()) == set(network().state_dict())
    with pytest.raises(RequestError, match="no module 7"):
        distill(network(), Pool(samples()), [Teacher(teacher)], Loss(), PLAN, features={"7": "1"})


def test_a_module_inside_may_give_more_than_tensors() -> None:
    """Catches features that ask for everything a module gives, where the first tensor is what counts."""

    class Talking(nn.Linear):
        def forward(self, x: torch.Tensor) -> Any:
            return super().forward(x), 7

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = Talking(5, 8), nn.Linear(8, 3)

        def forward(self, input: torch.Tensor) -> Any:  # noqa: A002  # the name that the samples have
            return self.last(torch.relu(self.first(input)[0]))

    distill(Network(), Pool(samples()), [Teacher(Network())], Loss(), Plan(epochs=1), features={"first": "first"})


def test_a_fixed_teacher_is_asked_once_unless_samples_change(teacher: nn.Module) -> None:
    counted: list[int] = []
    handle = teacher.register_forward_hook(lambda _m, args, _o: counted.append(len(args) or 1))
    distill(network(), Pool(samples()), [Teacher(teacher)], Loss(), PLAN)
    once = len(counted)
    distill(network(), Pool(samples()), [Teacher(teacher)], Loss(), Plan(epochs=6, batch=32, augment=lambda x: x + 0.1))
    handle.remove()
    assert once == 2  # the shapes, and all 200 samples in one batch
    assert len(counted) - once > 30


def test_masks_hold_from_the_first_step_to_the_last(teacher: nn.Module) -> None:
    """Catches an optimizer's momentum, or a best epoch, that brings masked weights back."""
    student = network()
    weight = student.get_parameter("0.weight")
    mask = torch.rand_like(weight) > 0.5
    distill(
        student, Pool(samples()), [Teacher(teacher)], Loss(), PLAN, constraints=(Held(student, {"0.weight": mask}),)
    )
    assert (weight[~mask] == 0).all()
    assert (weight[mask] != 0).all()
    with pytest.raises(RequestError, match="9.weight"):
        Held(student, {"9.weight": mask})


def test_masks_grow_along_the_cubic() -> None:
    """Catches another schedule than Zhu and Gupta's, and masks that never reach their share."""
    student = network(40)
    growing, seen = Growing(student, ("0.weight", "3.weight"), 0.8), []

    class Watch:
        def hold(self, step: int, steps: int) -> None:
            zeros = [float((student.get_parameter(name) == 0).float().mean()) for name in growing.names]
            seen.append((step / steps, np.average(zeros, weights=[200, 120])))

        def final(self, step: int, steps: int) -> bool:
            return True

    distill(
        student, Pool(samples()), [], Loss(), Plan(epochs=30, batch=8, patience=None), constraints=(growing, Watch())
    )
    for done, zeros in seen:
        assert zeros == pytest.approx(0.8 * (1 - (1 - min(1.0, done / 0.5)) ** 3), abs=0.05)
    kept = sum(int(student.get_parameter(name).count_nonzero()) for name in growing.names) / 320
    assert kept == pytest.approx(0.2, abs=0.005)


def test_a_training_that_is_taken_up_gives_the_same_bits(teacher: nn.Module, tmp_path: Path) -> None:
    """Catches state that a checkpoint forgets: optimizer, schedule, best epoch, average, random numbers."""

    def run(student: nn.Module, checkpoint: Checkpoint | None, stop: bool = False) -> Any:
        class Interrupt:
            def hold(self, step: int, steps: int) -> None:
                if stop and step > steps // 2:
                    raise KeyboardInterrupt

            def final(self, step: int, steps: int) -> bool:
                return True

        teachers = [Teacher(teacher), Teacher(None)]
        return distill(
            student, Pool(samples()), teachers, Loss(), PLAN, constraints=(Interrupt(),), checkpoint=checkpoint
        )

    whole = run(network(), None)
    checkpoint = Checkpoint(tmp_path / "training.pt", "key")
    with pytest.raises(KeyboardInterrupt):
        run(network(), checkpoint, stop=True)
    assert [file.name for file in tmp_path.iterdir()] == ["training.pt"]
    taken_up = run(network(seed=5), checkpoint)
    assert (weights(taken_up.module) == weights(whole.module)).all()
    assert taken_up.losses == whole.losses
    elsewhere = run(network(seed=5), Checkpoint(tmp_path / "training.pt", "another key"))
    assert (weights(elsewhere.module) != weights(whole.module)).any()
    (tmp_path / "training.pt").write_bytes(b"damaged")
    assert (weights(run(network(), checkpoint).module) == weights(whole.module)).all()


def test_training_ends_when_what_is_held_back_gets_no_better() -> None:
    """Random labels: nothing can be learned that holds for others. The best epoch is what is kept."""
    data = samples(120)
    random = Dataset(data.inputs, np.random.default_rng(0).integers(0, 3, 120))
    plan = Plan(epochs=60, learning_rate=0.05, patience=3, held_back=0.3)
    trained = distill(network(32), Pool(random), [], Loss(), plan)
    held = [loss for _, loss in trained.losses]
    assert trained.epoch == 1 + int(np.argmin(held)) == len(held) - 3


def test_what_is_held_back_keeps_groups_whole() -> None:
    data = samples(60)
    groups = np.repeat(np.arange(12), 5)
    pool = Pool(Dataset(data.inputs, data.targets, groups), unlabelled(samples(10, seed=1)))
    kept, held = hold_back(pool, 0.25, 0)
    assert len(kept) + len(held) == 70
    assert held.max() < 60
    assert not set(groups[held]) & set(groups[kept[kept < 60]])


def test_numbers_are_learned_too() -> None:
    x = samples(400).inputs["input"]
    data = Dataset({"input": x}, x[:, 0] * 2 - x[:, 1])
    trained = distill(network(16, outputs=1), Pool(data), [], Loss(classes=False), Plan(epochs=20, learning_rate=0.02))
    assert trained.losses[-1][1] < 0.5  # of a variance of 5


def test_the_users_optimizer_and_schedule_are_asked(teacher: nn.Module) -> None:
    asked: list[object] = []

    def schedule(optimizer: torch.optim.Optimizer, steps: int) -> Any:
        asked.append((type(optimizer), steps))
        return torch.optim.lr_scheduler.ConstantLR(optimizer)

    plan = Plan(epochs=2, batch=30, optimizer=lambda parameters: torch.optim.SGD(parameters, 0.1), schedule=schedule)
    distill(network(), Pool(samples()), [Teacher(teacher)], Loss(), plan)
    assert asked == [(torch.optim.SGD, 12)]
    with pytest.raises(RequestError, match="the optimizer is a str"):
        distill(network(), Pool(samples()), [], Loss(), Plan(optimizer=lambda _: "adam"))


def test_a_loss_that_is_no_number_says_where(capfd: pytest.CaptureFixture[str]) -> None:
    """Catches training that goes on with NaN; and a library that tells the exception in its own words first."""
    with pytest.raises(DivergedError, match=r"in epoch 1, in step \d of 6.*\n.*learning rate"):
        distill(
            network(),
            Pool(samples()),
            [],
            Loss(),
            Plan(epochs=3, batch=32, optimizer=lambda p: torch.optim.SGD(p, 1e30)),
        )
    assert capfd.readouterr() == ("", "")


def test_progress_counts_steps(capfd: pytest.CaptureFixture[str]) -> None:
    told: list[Any] = []

    class Listener:
        def begin(self, label: str, total: int) -> None:
            told.append([label, total, 0])

        def advance(self) -> None:
            told[-1][2] += 1

        def end(self) -> None:
            told[-1].append("ended")

    with listening(Listener()):
        distill(network(), Pool(samples()), [], Loss(), Plan(epochs=2, batch=30))
    assert told == [["training the student", 12, 11, "ended"]]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("teachers", "pool", "loss", "told"),
    [
        ([Teacher(network(outputs=4))], Pool(samples()), Loss(), "gives 4 outputs a sample, and 3 are expected"),
        ([Teacher(network(outputs=2), classes=(0, 3))], Pool(samples()), Loss(), "0 … 2"),
        ([], Pool(unlabelled(samples())), Loss(), "name a teacher"),
        ([Teacher(network())], Pool(unlabelled(samples())), Loss(0.5), "no targets"),
        ([Teacher(nn.Linear(4, 3))], Pool(samples()), Loss(), "forward"),
    ],
)
def test_what_does_not_go_together_is_refused(teachers: list[Teacher], pool: Pool, loss: Loss, told: str) -> None:
    with pytest.raises(RequestError, match=told):
        distill(network(), pool, teachers, loss, PLAN)


def test_other_inputs_without_labels_are_refused() -> None:
    with pytest.raises(RequestError, match="not like the labelled ones"):
        Pool(samples(), Dataset({"input": np.zeros((3, 4), np.float32)}))


def test_the_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ignite.engine", None)
    with pytest.raises(MissingExtraError, match=r"foldpress\[train\]"):
        distill(network(), Pool(samples()), [], Loss(), PLAN)
