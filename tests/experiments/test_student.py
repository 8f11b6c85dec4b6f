import pytest

from experiments import student


# From tables of the distribution.
@pytest.mark.parametrize(('df', 'p', 't'), [
    (1, .05, 12.706205), (2, .05, 4.302653), (3, .01, 5.840909),
    (4, .1, 2.131847), (9, .05, 2.262157), (9, .01, 3.249836),
    (18, .05, 2.100922), (30, .001, 3.645959)])
def test_limits_are_those_of_the_tables(df, p, t):
    assert student.limit(p, df) == pytest.approx(t, rel=1e-6)
    assert student.probability_outside(-t, df) == pytest.approx(p, rel=1e-5)


def test_probabilities_go_from_one_to_zero():
    for df in 1, 2, 9, 10:
        assert student.probability_outside(0, df) == 1
        assert 0 <= student.probability_outside(1e9, df) < 1e-8


def test_one_more_value_is_farther_off_than_a_mean():
    # mean 2, standard deviation 1
    assert student.of_one_more(4, [1, 2, 3]) == pytest.approx(
        2 / (1 + 1 / 3) ** .5)


def test_share_outside_of_the_prediction_interval(random):
    sample = random.standard_normal((20000, 11))
    t = [student.of_one_more(row[0], row[1:].tolist()) for row in sample]
    limit = student.limit(.05, 9)
    assert sum(abs(v) > limit for v in t) / len(t) == pytest.approx(
        .05, abs=.006)


def test_two_samples():
    t, df = student.of_two_samples([1, 2, 3], [3, 4, 5, 4])
    # pooled variance (2 + 2) / 5, difference -2
    assert df == 5
    assert t == pytest.approx(-2 / (.8 * (1 / 3 + 1 / 4)) ** .5)


def test_intervals():
    # mean 2, standard deviation 1; the limit of 2 degrees of freedom
    assert student.interval([1, 2, 3]) == (
        2, pytest.approx(4.302653 / 3 ** .5, rel=1e-6))
    middle, half = student.interval_of_two([1, 2, 3], [3, 4, 5, 4])
    assert middle == -2
    assert half == pytest.approx(
        2.570582 * (.8 * (1 / 3 + 1 / 4)) ** .5, rel=1e-6)


def test_share_of_intervals_without_the_mean(random):
    samples = random.standard_normal((2000, 2, 5)).tolist()
    for function in (lambda a, b: student.interval(a),
                     student.interval_of_two):
        misses = sum(abs(middle) > half for middle, half in (
            function(a, b) for a, b in samples))
        assert misses / len(samples) == pytest.approx(.05, abs=.016)
