import chainer_compat
import chainer.functions as F
import hypothesis
import hypothesis.strategies as st
import numpy

import kernels
from prediction import packed_layers
from tests.helpers.nets import often

special = st.sampled_from(
    [0, -0., 1, -1, 1e-3, -1e-3, 1e-30, -1e-30, 1e-45, 3e7, -3e7, 1e30])
value = st.one_of(special, st.floats(-20, 20, width=32))
variance = st.one_of(
    st.sampled_from([0, 1e-45, 1e-10, 1, 1e10, 3e38]),
    st.floats(0, 100, width=32))


@often
@hypothesis.given(st.integers(1, 40), st.booleans(), st.lists(
    st.tuples(value, value, value, value, variance), min_size=1, max_size=20),
    st.sampled_from([2e-5, 1e-4, 1e-9, 1.]))
def test_thresholds_decide_as_chainer_does_on_all_integers(
        n_in, takes_pixels, units, eps):
    b, gamma, beta, mean, var = numpy.array(units, numpy.float32).T.copy()
    norm = packed_layers.BatchNorm.from_arrays({
        'l1/b': b, 'bn1/gamma': gamma, 'bn1/beta': beta, 'bn1/avg_mean': mean,
        'bn1/avg_var': var}, 1, len(b), eps)
    thresholds, falling = norm.fold(
        255 * n_in if takes_pixels else n_in,
        lambda sums: sums / 255 if takes_pixels else sums)
    bound = 255 * n_in if takes_pixels else n_in
    assert ((-bound <= thresholds) & (thresholds <= bound + 1)).all()
    sums = numpy.arange(-bound, bound + 1)[:, None]
    s = (sums / 255 if takes_pixels else sums).astype(numpy.float32)
    with numpy.errstate(over='ignore'):
        y = F.fixed_batch_normalization(
            s + b, gamma, beta, mean, var, eps=eps).array
    is_falling = kernels.unpack_signs(falling[None], len(b))[0] > 0
    numpy.testing.assert_array_equal(
        (sums >= thresholds) ^ is_falling, y >= 0)


def fold(gamma, beta, mean=0., var=1., n_in=10):
    norm = packed_layers.BatchNorm.from_arrays({
        f'bn1/{name}': numpy.array([v], numpy.float32) for name, v in (
            ('gamma', gamma), ('beta', beta), ('avg_mean', mean),
            ('avg_var', var))}, 1, 1, packed_layers.EPS)
    thresholds, falling = norm.fold(n_in, lambda sums: sums)
    return thresholds[0], falling[0]


def test_a_negative_gamma_turns_the_comparison_round():
    assert fold(1, 0, mean=2.5) == (3, 0)
    assert fold(-1, 0, mean=2.5) == (3, 1)
    # At 0 itself both give +1.
    assert fold(1, 0, mean=3) == (3, 0)
    assert fold(-1, 0, mean=3) == (4, 1)


def test_a_gamma_of_zero_is_a_constant():
    assert fold(0, 1) == (-10, 0)
    assert fold(0, 0) == (-10, 0)
    assert fold(0, -1) == (11, 0)


def test_a_unit_without_variance_is_finite():
    assert fold(1, 0, mean=4, var=0) == (4, 0)
