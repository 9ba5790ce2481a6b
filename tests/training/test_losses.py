"""The loss against the formulas of its sources, written out in numpy."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax

from foldpress.data import Array
from foldpress.errors import RequestError
from foldpress.training.losses import Loss, Soft
from foldpress.training.scores import are_probabilities, as_logits

GENERATOR = np.random.default_rng(0)
STUDENT, TEACHER, OTHER = (GENERATOR.normal(size=(6, 4)).astype(np.float32) * 3 for _ in range(3))
LABELS = np.array([0, 3, 1, 1])  # of the first four samples


def tensor(array: object) -> torch.Tensor:
    return torch.from_numpy(np.asarray(array))


def kl(teacher: Array, student: Array, temperature: float) -> Array:
    """Σ p log(p/q) of every row, softened."""
    p = softmax(teacher / temperature, 1)
    return np.asarray((p * (np.log(p) - log_softmax(student / temperature, 1))).sum(1))


def test_distillation_is_as_hinton_has_it() -> None:
    """Catches a missing T², the wrong direction of KL, or soft targets of labelled samples alone."""
    loss = Loss(gamma=0.3, temperature=2.5)(tensor(STUDENT), tensor(LABELS), [Soft(tensor(TEACHER))])
    hard = -log_softmax(STUDENT[:4], 1)[np.arange(4), LABELS].mean()
    soft = 2.5**2 * np.mean(kl(TEACHER, STUDENT, 2.5))
    assert float(loss) == pytest.approx(0.3 * soft + 0.7 * hard, rel=1e-5)


def test_teachers_are_averaged_by_weight() -> None:
    """Catches weights that are not normalized: two equal teachers would count twice."""
    soft = [Soft(tensor(TEACHER), 3.0), Soft(tensor(OTHER), 1.0)]
    found = Loss(gamma=1.0, temperature=2.0)(tensor(STUDENT), None, soft)
    wanted = 4 * np.mean((3 * kl(TEACHER, STUDENT, 2) + kl(OTHER, STUDENT, 2)) / 4)
    assert float(found) == pytest.approx(wanted, rel=1e-5)


def test_a_teacher_of_some_classes_judges_those_alone_and_samples_of_those_alone() -> None:
    """Catches classes taken for others, and advice on labelled samples that the teacher cannot know."""
    low, high = np.array([2, 0]), np.array([1, 3])  # the student's classes of two teachers with two classes each
    soft = [Soft(tensor(TEACHER[:, :2]), classes=tensor(low)), Soft(tensor(OTHER[:, :2]), classes=tensor(high))]
    found = Loss(gamma=1.0, temperature=1.0)(tensor(STUDENT), tensor(LABELS), soft)
    first, second = kl(TEACHER[:, :2], STUDENT[:, low], 1), kl(OTHER[:, :2], STUDENT[:, high], 1)
    knows = np.array([[1, 0], [0, 1], [0, 1], [0, 1], [1, 1], [1, 1]])  # labels 0, 3, 1, 1 and two that are not known
    wanted = (knows * np.stack([first, second], 1)).sum() / knows.sum()
    assert float(found) == pytest.approx(wanted, rel=1e-5)


def test_numbers_have_squared_errors() -> None:
    """Catches a softmax over regression outputs, and [N] against [N, 1] that would be broadcast."""
    targets = GENERATOR.normal(size=4).astype(np.float32)
    outputs, given = tensor(STUDENT[:, :1]), tensor(TEACHER[:, :1])
    found = Loss(gamma=0.25, classes=False)(outputs, tensor(targets), [Soft(given)])
    soft, hard = np.square(STUDENT[:, 0] - TEACHER[:, 0]).mean(), np.square(STUDENT[:4, 0] - targets).mean()
    assert float(found) == pytest.approx(0.25 * soft + 0.75 * hard, rel=1e-5)


def test_gamma_rises_as_tarvainen_has_it() -> None:
    """Catches another curve, γ that ends below its value, and a temperature or kind of loss that is lost on the way."""
    loss = Loss(gamma=0.8, temperature=2.0, classes=False, ramp_up=0.4)
    for done, wanted in ((0.0, 0.8 * np.exp(-5)), (0.1, 0.8 * np.exp(-5 * 0.75**2)), (0.3, 0.8 * np.exp(-5 * 0.25**2))):
        assert loss.at(done).gamma == pytest.approx(wanted)
        assert (loss.at(done).temperature, loss.at(done).classes) == (2.0, False)
    assert loss.at(0.4).gamma == loss.at(1.0).gamma == Loss(gamma=0.8).at(0.0).gamma == 0.8


def test_probabilities_are_told_from_logits() -> None:
    probabilities = torch.softmax(tensor(TEACHER), 1)
    assert are_probabilities(probabilities)
    assert not are_probabilities(tensor(TEACHER))
    assert torch.allclose(torch.softmax(as_logits(probabilities), 1), probabilities, atol=1e-6)


@pytest.mark.parametrize(
    ("gamma", "temperature"), [(-0.1, 1.0), (1.1, 1.0), (float("nan"), 1.0), (0.5, 0.0), (0.5, float("inf"))]
)
def test_numbers_out_of_range_are_refused(gamma: float, temperature: float) -> None:
    with pytest.raises(RequestError, match=r"gamma|temperature"):
        Loss(gamma, temperature)


@pytest.mark.parametrize("ramp_up", [-0.1, 1.1, float("nan")])
def test_a_ramp_is_a_share_of_the_training(ramp_up: float) -> None:
    with pytest.raises(RequestError, match="ramp_up"):
        Loss(ramp_up=ramp_up)
