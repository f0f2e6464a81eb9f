"""Mean and variance of a stream, one value at a time, without cancellation."""

import math


class Moments:
    """Track the mean and variance of all values seen.

    Parameters
    ----------
    count, mean, squares : state of another tracker: values seen, their mean, their summed squared deviations

    Examples
    --------
    >>> m = Moments()
    >>> for x in (2.0, 4.0, 6.0): m.update(x)
    >>> m.mean, m.variance
    (4.0, 4.0)

    References
    ----------
    Welford (1962), Note on a method for calculating corrected sums of squares and products; Chan, Golub and LeVeque
    (1983), Algorithms for computing the sample variance (``merge``).
    """

    __slots__ = ("count", "mean", "squares")

    def __init__(self, count: int = 0, mean: float = 0.0, squares: float = 0.0) -> None:
        self.count, self.mean, self.squares = count, mean, squares

    def update(self, value: float) -> None:
        """Take in one value."""
        self.count += 1
        delta = value - self.mean
        self.mean += delta / self.count
        self.squares += delta * (value - self.mean)

    def merge(self, other: "Moments") -> None:
        """Take in all the values another tracker has seen."""
        if other.count == 0:
            return
        count = self.count + other.count
        delta = other.mean - self.mean
        self.squares += other.squares + delta * delta * self.count * other.count / count
        self.mean += delta * other.count / count
        self.count = count

    @property
    def variance(self) -> float | None:
        """Return the unbiased variance; ``None`` before the second value."""
        return self.squares / (self.count - 1) if self.count > 1 else None

    @property
    def deviation(self) -> float | None:
        """Return the standard deviation; ``None`` before the second value."""
        variance = self.variance
        return None if variance is None else math.sqrt(variance)


class EwMoments:
    """Track the exponentially weighted mean and variance of a stream.

    Parameters
    ----------
    alpha : weight of the newest value, in (0, 1]

    Examples
    --------
    >>> m = EwMoments(alpha=0.5)
    >>> for x in (1.0, 3.0, 5.0): m.update(x)
    >>> m.mean, m.variance
    (3.5, 2.75)

    References
    ----------
    Finch (2009), Incremental calculation of weighted mean and variance.
    """

    __slots__ = ("alpha", "mean", "variance")

    def __init__(self, alpha: float) -> None:
        if not 0.0 < alpha <= 1.0:
            raise ValueError(f"alpha is {alpha}, must be in (0, 1]")
        self.alpha = alpha
        self.mean: float | None = None
        self.variance = 0.0

    def update(self, value: float) -> None:
        """Take in one value; the first one becomes the mean."""
        if self.mean is None:
            self.mean = value
            return
        delta = value - self.mean
        self.mean += self.alpha * delta
        self.variance = (1.0 - self.alpha) * (self.variance + self.alpha * delta * delta)
