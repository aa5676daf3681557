"""The mean of trained weights: short at first, later over about a hundred steps."""

from types import SimpleNamespace

import pytest
import torch

from samtune.training.averaging import Averaging, find_averaged


class Module(torch.nn.Module):
    device = torch.device("cpu")

    def __init__(self):
        super().__init__()
        self.sam = torch.nn.Module()
        self.sam.trained = torch.nn.Parameter(torch.zeros(2))
        self.sam.frozen = torch.nn.Parameter(torch.ones(2), requires_grad=False)
        self.head = torch.nn.Parameter(torch.ones(2))


def step(averaging, module, number, value):
    module.sam.trained.data.fill_(value)
    trainer = SimpleNamespace(global_step=number)
    averaging.on_train_batch_end(trainer, module, None, None, 0)


def test_it_holds_what_is_trained_of_the_network_and_nothing_else():
    averaging, module = Averaging(), Module()
    step(averaging, module, 1, 3.0)
    assert list(averaging.weights) == ["sam.trained"]


def test_a_constant_is_its_own_mean_and_a_change_is_followed():
    averaging, module = Averaging(), Module()
    for number in range(1, 200):
        step(averaging, module, number, 2.0)
    torch.testing.assert_close(averaging.weights["sam.trained"], torch.full((2,), 2.0))
    for number in range(200, 300):
        step(averaging, module, number, 4.0)
    # 100 steps in which 0.95 to 0.97 of the mean stayed
    assert 3.9 < float(averaging.weights["sam.trained"][0]) <= 4.0


def test_accumulated_batches_count_once():
    averaging, module = Averaging(), Module()
    step(averaging, module, 1, 0.0)
    for _ in range(5):
        step(averaging, module, 1, 100.0)
    assert float(averaging.weights["sam.trained"][0]) == 0.0


def test_a_resumed_run_goes_on_as_an_undisturbed_one():
    whole, module = Averaging(), Module()
    for number in range(1, 21):
        step(whole, module, number, float(number))
    first, second = Averaging(), Averaging()
    for number in range(1, 11):
        step(first, module, number, float(number))
    second.load_state_dict(first.state_dict())
    second.on_train_start(None, module)
    for number in range(11, 21):
        step(second, module, number, float(number))
    torch.testing.assert_close(second.weights, whole.weights, rtol=0, atol=0)


@pytest.mark.parametrize("callbacks", [[], [Averaging()]])
def test_without_a_step_there_is_no_mean(callbacks):
    assert find_averaged(SimpleNamespace(callbacks=callbacks)) == {}
