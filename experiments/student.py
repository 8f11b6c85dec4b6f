"""Student's t distribution, for whole numbers of degrees of freedom.

Reference: M. Abramowitz, I. A. Stegun, "Handbook of Mathematical Functions",
26.7.3 and 26.7.4.
"""
import math
import statistics


def probability_outside(t, df):
    """Returns ``P(|T| > |t|)``, a two-sided p-value.

    Args:
        t (float): The value.
        df (int): Degrees of freedom, 1 or more.

    """
    theta = math.atan(abs(t) / math.sqrt(df))
    cosine = math.cos(theta)
    # 1 + 1/2 cos^2 + 1/2 3/4 cos^4 ..., or cos + 2/3 cos^3 + 2/3 4/5 cos^5 ...
    term = total = cosine if df % 2 else 1.
    for k in range(2 + df % 2, df, 2):
        term *= (k - 1) / k * cosine ** 2
        total += term
    if df == 1:
        total = 0.
    inside = math.sin(theta) * total
    if df % 2:
        inside = 2 / math.pi * (theta + inside)
    return max(0., 1 - inside)


def limit(p, df):
    """Returns the t beyond which, on both sides, lies the probability p."""
    low, high = 0., 1.
    while probability_outside(high, df) > p:
        high *= 2
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        if probability_outside(middle, df) > p:
            low = middle
        else:
            high = middle
    return high


def of_one_more(value, sample):
    """Returns how far a value is from a sample, as one more run would be.

    ``t = (value - mean) / (s sqrt(1 + 1/n))`` has Student's distribution with
    n - 1 degrees of freedom if value is drawn as the sample was: the
    prediction interval for one more value is that of \\|t\\| up to a limit.

    Args:
        value (float): The value.
        sample (list of float): n values, 2 or more.

    """
    n = len(sample)
    return (value - statistics.mean(sample)) / (
        statistics.stdev(sample) * math.sqrt(1 + 1 / n))


def interval(sample, p=.05):
    """Returns the mean of a sample and half the width of its interval.

    Args:
        sample (list of float): n values, 2 or more.
        p (float): Probability that the interval misses the mean of what the
            sample is drawn from.

    """
    n = len(sample)
    half = limit(p, n - 1) * statistics.stdev(sample) / math.sqrt(n)
    return statistics.mean(sample), half


def interval_of_two(one, other, p=.05):
    """Returns the difference of two samples' means and half its interval.

    Args:
        one, other (list of float): Samples of one variance.
        p (float): See :func:`interval`.

    """
    difference, deviation, df = _of_two(one, other)
    return difference, limit(p, df) * deviation


def of_two_samples(one, other):
    """Returns t of the means of two samples of one variance, and its df."""
    difference, deviation, df = _of_two(one, other)
    return difference / deviation, df


def _of_two(one, other):
    """Returns difference, its standard deviation and degrees of freedom."""
    n, m = len(one), len(other)
    df = n + m - 2
    variance = ((n - 1) * statistics.variance(one)
                + (m - 1) * statistics.variance(other)) / df
    return (statistics.mean(one) - statistics.mean(other),
            math.sqrt(variance * (1 / n + 1 / m)), df)
