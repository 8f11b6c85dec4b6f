import io
import os

import pytest
import threadpoolctl

import kernels
from kernels import cores


def blas_threads():
    blas = threadpoolctl.ThreadpoolController().select(user_api='blas')
    return [info['num_threads'] for info in blas.info()]


def test_blas_has_one_thread_inside_own_cores_and_its_own_after():
    before = blas_threads()
    assert before
    with kernels.own_cores() as outer:
        assert set(blas_threads()) == {1}
        assert cores.n_parts(10 ** 9, 1) == max(before)
        assert cores.n_parts(10, 10) == 1
        outer.use((3, True))
        assert cores.n_own(10 ** 9, 1) == 3
        assert cores.products_at_once()
        with kernels.own_cores():
            assert cores.n_parts(10 ** 9, 1) == max(before)
        assert cores.n_own(10 ** 9, 1) == 3
    assert blas_threads() == before
    assert cores.n_own(10 ** 9, 1) == cores.n_parts(10 ** 9, 1) == 1
    assert not cores.products_at_once()


def test_an_error_inside_own_cores_gives_blas_its_threads_back():
    before = blas_threads()
    with pytest.raises(ZeroDivisionError), kernels.own_cores():
        raise ZeroDivisionError
    assert blas_threads() == before
    assert cores.n_own(10 ** 9, 1) == 1


class Machine:
    """Iterations that take as long as the choice of cores makes them.

    Args:
        seconds (dict): Seconds of an iteration with each choice.

    """

    def __init__(self, seconds, monkeypatch, n=2, has_kernels=True):
        self.seconds = seconds
        self.time = 0.
        monkeypatch.setattr(cores.time, 'perf_counter', lambda: self.time)
        monkeypatch.setattr(cores, '_n_own', 1)
        monkeypatch.setattr(cores, '_products_at_once', False)
        self.cores = cores.Cores(n, has_kernels)

    def run(self, n):
        """Runs n iterations and returns the choices that they had."""
        chosen = []
        for _ in range(n):
            chosen.append(self.cores.choice)
            assert self.cores.choice == (
                cores.n_own(10 ** 9, 1), cores.products_at_once())
            self.time += self.seconds[self.cores.choice]
            self.cores.adapt()
        return chosen


ALL, PRODUCTS, ONE = (2, False), (1, True), (1, False)


@pytest.mark.parametrize('quickest', [ALL, PRODUCTS, ONE])
def test_what_is_quickest_has_the_cores(quickest, monkeypatch):
    machine = Machine({choice: .5 if choice == quickest else 1
                       for choice in (ALL, PRODUCTS, ONE)}, monkeypatch)
    chosen = machine.run(20)
    assert set(chosen) == {ALL, PRODUCTS, ONE}
    assert set(machine.run(150)) == {quickest}
    # Of many iterations, few try the others.
    assert machine.run(5000).count(quickest) > 4930


def test_a_machine_that_becomes_busy_is_noticed_at_once(monkeypatch):
    machine = Machine({ALL: .6, PRODUCTS: 1, ONE: 1}, monkeypatch)
    assert set(machine.run(4000)[-100:]) == {ALL}
    machine.seconds = {ALL: 3, PRODUCTS: 3, ONE: 1}
    assert ONE in machine.run(20)
    assert machine.run(100).count(ONE) > 80
    # And that it is quiet again: after a while.
    machine.seconds = {ALL: .6, PRODUCTS: 1, ONE: 1}
    assert set(machine.run(cores._LONGEST_PAUSE + 200)[-100:]) == {ALL}


def test_one_long_iteration_such_as_an_evaluation_does_not_count(monkeypatch):
    machine = Machine({ALL: .6, PRODUCTS: 1, ONE: 1}, monkeypatch)
    for n in [*range(1, 20), *[100] * 5]:
        machine.run(n)
        machine.time += 100
        assert machine.cores.choice == ALL or n < 20
    assert machine.run(1) == [ALL]


def test_of_many_cores_half_and_a_quarter_are_tried(monkeypatch):
    choices = {(16, False): 2, (8, False): 1, (4, False): .5, (2, False): 1,
               (1, True): 2, (1, False): 2}
    machine = Machine(choices, monkeypatch, n=16)
    assert set(machine.run(40)) == set(choices)
    assert set(machine.run(100)) == {(4, False)}


@pytest.mark.parametrize(('n', 'has_kernels', 'choices'), [
    (1, True, {ONE}), (1, False, {ONE}), (2, False, {PRODUCTS, ONE})])
def test_what_is_not_there_is_not_tried(n, has_kernels, choices, monkeypatch):
    machine = Machine({ALL: 1, PRODUCTS: 1, ONE: 1}, monkeypatch, n,
                      has_kernels)
    assert set(machine.run(100)) == choices


@pytest.mark.skipif(not hasattr(os, 'sched_getaffinity'),
                    reason='needs Linux')
@pytest.mark.parametrize(('content', 'most'), [
    ('max 100000', None), ('100000 100000', 1), ('150000 100000', 2),
    ('10000 100000', 1), ('', None)])
def test_threads_are_as_many_as_the_cores_that_are_allowed(
        content, most, monkeypatch):
    monkeypatch.setattr('builtins.open', lambda _: io.StringIO(content))
    cores._quota.cache_clear()
    n = len(os.sched_getaffinity(0))
    assert cores.n_threads() == (n if most is None else min(n, most))
    monkeypatch.undo()
    cores._quota.cache_clear()
