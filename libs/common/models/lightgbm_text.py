"""Checks a LightGBM model text so strictly that its C++ reader cannot be led astray.

LightGBM trusts the text it loads: a child index beyond the tree reads foreign memory, a cycle never ends. What
passes here is a forest of proper trees over k plain numeric features with three softmaxed classes, and nothing else.
"""

import math
import re

from libs.common.errors import ArtifactError

MAX_TEXT_BYTES = 32 * 1024 * 1024
CLASSES = 3

_HEADER = (
    "version", "num_class", "num_tree_per_iteration", "label_index", "max_feature_idx", "objective",
    "feature_names", "feature_infos", "tree_sizes",
)
_TREE = (
    "num_leaves", "num_cat", "split_feature", "split_gain", "threshold", "decision_type", "left_child", "right_child",
    "leaf_value", "leaf_weight", "leaf_count", "internal_value", "internal_weight", "internal_count", "is_linear",
    "shrinkage",
)
_FIXED = {
    "version": "v4", "num_class": "3", "num_tree_per_iteration": "3", "label_index": "0",
    "objective": "multiclass num_class:3",
}
_NUMBER = r"-?\d+(\.\d+)?(e[+-]?\d+)?"
_RANGE = re.compile(rf"none|\[{_NUMBER}:{_NUMBER}\]")
_SIZES = re.compile(r"[1-9]\d{0,8}( [1-9]\d{0,8})*")
_INTEGERS = re.compile(r"(-?\d{1,9}( -?\d{1,9})*)?")
_FLOATS = re.compile(rf"({_NUMBER}( {_NUMBER})*)?")
_COUNT = re.compile(r"[1-9]\d{0,5}")
_END = "end of trees\n"
# Even: numeric split. +2: missing goes left. +4 or +8: zero or NaN counts as missing.
_DECISIONS = frozenset((0, 2, 4, 6, 8, 10))


def checked_text(content: bytes, features: int) -> str:
    """Return the part of a model text that predicts: header and trees, without what only training reads.

    Parameters
    ----------
    content : a model as LightGBM 4 saves it
    features : number of features it must have been trained on

    Raises
    ------
    ArtifactError : naming the line or tree that is wrong
    """
    if len(content) > MAX_TEXT_BYTES:
        raise ArtifactError(f"model text too large: {len(content)} bytes, at most {MAX_TEXT_BYTES} are allowed")
    try:
        text = content.decode("ascii")
    except UnicodeDecodeError as error:
        raise ArtifactError(f"model text: {error}") from error
    header, blank, _ = text.partition("\n\n")
    if not blank:
        raise ArtifactError("model text ends within its header")
    sizes = _check_header(header, features)
    position = len(header) + 2
    for number, size in enumerate(sizes):
        _check_tree(text[position : position + size], number, features)
        position += size
    if not text.startswith(_END, position):
        raise ArtifactError(f"model text does not end its trees after the {len(sizes)} it announces")
    return text[: position + len(_END)]


def _check_header(header: str, features: int) -> list[int]:
    """Check the header and return the size of each tree's text."""
    first, *lines = header.split("\n")
    if first != "tree":
        raise ArtifactError("model text does not begin with 'tree'")
    values = _key_values(lines, _HEADER, "header")
    for key, wanted in _FIXED.items():
        if values[key] != wanted:
            raise ArtifactError(f"model text: {key} is {values[key][:40]!r}, must be {wanted!r}")
    infos = values["feature_infos"].split(" ")
    counts = (values["max_feature_idx"] == str(features - 1), len(values["feature_names"].split(" ")) == features,
              len(infos) == features)
    if not all(counts):
        raise ArtifactError(f"model text was not trained on {features} features")
    if not all(_RANGE.fullmatch(info) for info in infos):
        raise ArtifactError("model text: feature_infos hold something else than numeric ranges")
    if not _SIZES.fullmatch(values["tree_sizes"]):
        raise ArtifactError("model text: tree_sizes are malformed")
    sizes = [int(size) for size in values["tree_sizes"].split(" ")]
    if len(sizes) % CLASSES:
        raise ArtifactError(f"model text: {len(sizes)} trees are not a multiple of {CLASSES}")
    return sizes


def _key_values(lines: list[str], keys: tuple[str, ...], place: str) -> dict[str, str]:
    """Return the values of lines that must be exactly ``key=value`` for the keys in order."""
    pairs = [line.partition("=") for line in lines]
    found = tuple(key for key, _, _ in pairs)
    if found != keys or not all(separator for _, separator, _ in pairs):
        wrong = next((key for key, wanted in zip(found, keys, strict=False) if key != wanted), "their number")
        raise ArtifactError(f"model text: {place} holds other lines than it must ({wrong[:40]!r})")
    return {key: value for key, _, value in pairs}


def _check_tree(block: str, number: int, features: int) -> None:
    place = f"tree {number}"
    begin, end = f"Tree={number}\n", "\n\n\n"
    if not block.startswith(begin) or not block.endswith(end):
        raise ArtifactError(f"model text: {place} is not where tree_sizes says")
    values = _key_values(block[len(begin) : -len(end)].split("\n"), _TREE, place)
    if not _COUNT.fullmatch(values["num_leaves"]) or values["num_cat"] != "0" or values["is_linear"] != "0":
        raise ArtifactError(f"model text: {place} is not a plain numeric tree")
    leaves = int(values["num_leaves"])
    splits = leaves - 1
    feature = _integers(values, "split_feature", splits, place)
    decisions = _integers(values, "decision_type", splits, place)
    if splits and not (min(feature) >= 0 and max(feature) < features and _DECISIONS.issuperset(decisions)):
        raise ArtifactError(f"model text: {place} splits on something else than its {features} numeric features")
    left, right = _integers(values, "left_child", splits, place), _integers(values, "right_child", splits, place)
    if not _is_tree(left, right, leaves):
        raise ArtifactError(f"model text: {place} is not a tree")
    for key in ("threshold", "split_gain", "internal_value", "internal_weight"):
        _check_floats(values, key, splits, place)
    _integers(values, "internal_count", splits, place)
    _check_floats(values, "leaf_value", leaves, place)
    _check_floats(values, "shrinkage", 1, place)
    # A tree that never split has one leaf, and LightGBM may leave out what training knew of it.
    _check_floats(values, "leaf_weight", leaves if splits or values["leaf_weight"] else 0, place)
    _integers(values, "leaf_count", leaves if splits or values["leaf_count"] else 0, place)


def _integers(values: dict[str, str], key: str, wanted: int, place: str) -> list[int]:
    return [int(part) for part in _parts(values, key, _INTEGERS, wanted, place)]


def _check_floats(values: dict[str, str], key: str, wanted: int, place: str) -> None:
    if not all(map(math.isfinite, map(float, _parts(values, key, _FLOATS, wanted, place)))):
        raise ArtifactError(f"model text: {place}, {key} is not finite")


def _parts(values: dict[str, str], key: str, shape: re.Pattern[str], wanted: int, place: str) -> list[str]:
    text = values[key]
    parts = text.split(" ") if text else []
    if len(parts) != wanted or not shape.fullmatch(text):
        raise ArtifactError(f"model text: {place}, {key} does not hold {wanted} numbers")
    return parts


def _is_tree(left: list[int], right: list[int], leaves: int) -> bool:
    """Tell whether every node but the root has one parent, and that one comes before it: no cycles, no strays.

    Leaf i is written as ~i, so the children are -leaves..-1 and 1..splits-1, once each.
    """
    rising = all(child < 0 or child > parent for side in (left, right) for parent, child in enumerate(side))
    return rising and (leaves == 1 or sorted(left + right) == [*range(-leaves, 0), *range(1, leaves - 1)])
