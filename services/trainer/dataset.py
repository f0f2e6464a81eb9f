"""What a model is fitted on: the served rows of one symbol with their labels, oldest first."""

import hashlib

import msgspec
import numpy as np

from libs.common.messages.base import Floats, Ints

DOWN, FLAT, UP = 0, 1, 2
"""Classes, in the order of the columns of predicted probabilities."""
CLASSES = 3


class Dataset(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Labelled rows as columns.

    Parameters
    ----------
    features : (n, k) values as they were served
    time_ns : (n,) time of each row, ns UTC, never falling
    end_ns : (n,) time of the last tick the row's label depends on, ns UTC
    label : (n,) class: 0 down, 1 flat, 2 up
    gross_pct : (n,) move of the mid until the class was decided, percent of price
    long_pct, short_pct : (n,) net return of buying and of selling at the row, percent of price
    """

    features: Floats
    time_ns: Ints
    end_ns: Ints
    label: Ints
    gross_pct: Floats
    long_pct: Floats
    short_pct: Floats

    def __len__(self) -> int:
        return len(self.time_ns)

    def digest(self) -> str:
        """Return a hash of every value, 32 hex digits.

        The hash depends on the shape too: equal bytes of another shape are another dataset.
        """
        state = hashlib.blake2b(repr(self.features.shape).encode(), digest_size=16)
        for name in self.__struct_fields__:
            state.update(np.ascontiguousarray(getattr(self, name)).tobytes())
        return state.hexdigest()


def columns_of(dataset: Dataset) -> dict[str, Floats | Ints]:
    """Return the columns by name."""
    return {name: getattr(dataset, name) for name in Dataset.__struct_fields__}
