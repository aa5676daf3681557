"""Is it better? Paired by object, clustered by image (or patient, slide, scene).

Objects of one image are alike; taken as if they were independent, they would make intervals too
narrow and tests too sure of themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from samtune.prompts.seeding import object_rng

NUM_RESAMPLES = 10_000
# A difference of IoU below this is a tie.
TIE = 0.001
# Error of the first kind, and the power with which the smallest difference would be found.
ALPHA, POWER = 0.05, 0.8

Values = NDArray[np.float64]
Names = NDArray[np.str_]


@dataclass(frozen=True)
class Difference:
    """A paired difference: mean over objects, and how sure it is.

    Attributes:
        mean: tuned minus base.
        ci95: its interval; `None` for a single cluster.
        p: of the Wilcoxon signed-rank test over clusters; `None` for a single cluster.
        error: standard error of the mean; `None` for a single cluster.
        num_gained, num_tied, num_lost: objects.
        is_identical: no object differs at all.
    """

    mean: float
    ci95: tuple[float, float] | None
    p: float | None
    error: float | None
    num_gained: int
    num_tied: int
    num_lost: int
    is_identical: bool


def paired_difference(deltas: Values, clusters: Names, seed: int) -> Difference:
    """Sum up the differences of objects (K,), each in the cluster named (K,)."""
    return Difference(
        float(deltas.mean()),
        bootstrap_interval(deltas, clusters, seed),
        signed_rank_p(deltas, clusters),
        standard_error(deltas, clusters),
        int((deltas > TIE).sum()),
        int((np.abs(deltas) <= TIE).sum()),
        int((deltas < -TIE).sum()),
        bool((deltas == 0).all()),
    )


def by_cluster(values: Values, clusters: Names) -> tuple[Values, Values]:
    """Sum and count of values for each cluster, in the order of names."""
    _, index = np.unique(clusters, return_inverse=True)
    counts = np.bincount(index).astype(np.float64)
    return np.bincount(index, weights=values).astype(np.float64), counts


def bootstrap_interval(values: Values, clusters: Names, seed: int) -> tuple[float, float] | None:
    """95% interval of the mean over objects, resampling whole clusters.

    Percentiles of the cluster bootstrap (Davison and Hinkley 1997, section 3.8), expanded for few
    clusters: plain percentiles are too narrow by sqrt((n - 1) / n) and know no t distribution
    (Hesterberg, The American Statistician 69, 2015, section 5.3).

    Returns:
        (low, high), or `None` when there is only one cluster.
    """
    sums, counts = by_cluster(values, clusters)
    num_clusters = len(sums)
    if num_clusters < 2:
        return None
    return resampled_interval(_resampled_means(sums, counts, seed), num_clusters)


def resampled_interval(values: Values, num_clusters: int) -> tuple[float, float]:
    """The interval of what was computed from resampled clusters, two of them at least."""
    quantile = np.sqrt(num_clusters / (num_clusters - 1)) * stats.t.ppf(
        1 - ALPHA / 2, num_clusters - 1
    )
    tail = 100 * float(stats.norm.cdf(-quantile))
    low, high = np.percentile(values, [tail, 100 - tail])
    return float(low), float(high)


def resampled(num_clusters: int, seed: int) -> Values:
    """(resamples, clusters): how often each cluster is drawn."""
    shares = np.full(num_clusters, 1 / num_clusters)
    drawn = object_rng(seed, "bootstrap").multinomial(num_clusters, shares, size=NUM_RESAMPLES)
    return np.asarray(drawn, np.float64)


def _resampled_means(sums: Values, counts: Values, seed: int) -> Values:
    rng, num_clusters = object_rng(seed, "bootstrap"), len(sums)
    means = []
    rows_at_once = max(1, 10_000_000 // num_clusters)
    for start in range(0, NUM_RESAMPLES, rows_at_once):
        size = min(rows_at_once, NUM_RESAMPLES - start)
        weights = rng.multinomial(num_clusters, np.full(num_clusters, 1 / num_clusters), size=size)
        means.append((weights @ sums) / (weights @ counts))
    return np.concatenate(means)


def signed_rank_p(deltas: Values, clusters: Names) -> float | None:
    """Two-sided p of the Wilcoxon signed-rank test on the clusters' mean differences.

    1 where nothing differs at all; `None` when there is only one cluster.
    """
    sums, counts = by_cluster(deltas, clusters)
    means = sums / counts
    if len(means) < 2:
        return None
    if not means.any():
        return 1.0
    return float(stats.wilcoxon(means, zero_method="wilcox").pvalue)


def standard_error(deltas: Values, clusters: Names) -> float | None:
    """Of the mean over objects, as a ratio of cluster sums (Cochran 1977, section 6.3)."""
    sums, counts = by_cluster(deltas, clusters)
    num_clusters = len(sums)
    if num_clusters < 2:
        return None
    residuals = sums - sums.sum() / counts.sum() * counts
    variance = num_clusters / (num_clusters - 1) * float(residuals @ residuals)
    return float(np.sqrt(variance)) / float(counts.sum())


def smallest_difference(
    error: float | None, num_clusters: int, num_questions: int = 1
) -> float | None:
    """The smallest true mean difference that such a test set shows with 80% power at 5%.

    (t[1 - 0.025 / questions] + t[0.8]) standard errors: the first question that Holm's correction
    lets through is tested so strictly. `None` where there are too few clusters for the test.
    """
    if error is None or num_clusters < fewest_clusters(num_questions):
        return None
    tail = 1 - ALPHA / 2 / num_questions
    quantiles = stats.t.ppf(tail, num_clusters - 1) + stats.t.ppf(POWER, num_clusters - 1)
    return float(quantiles) * error


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's correction for asking several questions at once; `None` stays and does not count."""
    known = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, index) in enumerate(known):
        largest = max(largest, min(1.0, p * (len(known) - rank)))
        corrected[index] = largest
    return corrected


def fewest_clusters(num_questions: int) -> int:
    """Clusters with which the corrected test can say anything at all: 2 ** (1 - n) is its least p."""
    return int(np.floor(np.log2(2 * num_questions / ALPHA))) + 1


def judge(
    is_identical: bool, ci95: Sequence[float] | None, p_corrected: float | None,
    num_clusters: int, num_questions: int,
) -> str:  # fmt: skip
    """`better`, `worse`, `identical`, `unclear`, or `unknown` where there are too few clusters.

    Better and worse are said only where the interval is clear of zero and the corrected test agrees.
    """
    if is_identical:
        return "identical"
    if ci95 is None or p_corrected is None:
        return "unknown"
    if num_clusters < fewest_clusters(num_questions):
        return "unknown"
    low, high = ci95
    if p_corrected < ALPHA and low > 0:
        return "better"
    if p_corrected < ALPHA and high < 0:
        return "worse"
    return "unclear"
