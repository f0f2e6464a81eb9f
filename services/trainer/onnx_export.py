"""LightGBM's trees as ONNX, for whoever runs them without LightGBM: above all the terminal.

Rows, thresholds and sums are double, as LightGBM's own: with single precision a value a hair beside a threshold would
fall to its other side. Only the sum of the trees passes through single precision, which the operator's standard asks
for. The versions are those of ONNX Runtime 1.14, whose operators MetaTrader 5 documents.
"""

import math
from collections.abc import Iterator
from typing import Any

import lightgbm as lgb
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from libs.common.errors import ArtifactError
from libs.common.messages.base import Floats
from libs.common.models.bundle import ONNX_FILE
from libs.common.models.lightgbm_text import checked_text
from libs.common.models.onnx_predictor import OnnxPredictor
from services.trainer.dataset import CLASSES

EXPORT_TOLERANCE = 1e-6
"""Most a probability may differ from LightGBM's: the tree sums are rounded to single precision, which costs about 1e-7."""
IR_VERSION, OPSET, TREE_OPSET = 8, 17, 3
_ZERO = float(np.float32(1e-35))
"""LightGBM takes what is no further from zero than this for zero."""


def exported(model_text: bytes, rows: Floats, probabilities: Floats) -> bytes:
    """Return a model text as ONNX, proved on rows whose probabilities are known; the same text gives the same bytes.

    Parameters
    ----------
    model_text : as LightGBM saves it
    rows, probabilities : (n, k), (n, 3) what LightGBM gives for them

    Raises
    ------
    ArtifactError : when the text is unsound, cannot be said in ONNX, or ONNX Runtime gives other probabilities
    """
    content = onnx_of(model_text, rows.shape[1])
    found = OnnxPredictor(content, rows.shape[1]).predict_block(rows)
    # Written so that NaN fails too.
    wrong = ~(np.abs(found - probabilities) <= EXPORT_TOLERANCE).all(axis=1)
    if wrong.any():
        first = int(np.argmax(wrong))
        raise ArtifactError(
            f"{ONNX_FILE}: row {first} gives {found[first].tolist()} by ONNX Runtime and {probabilities[first].tolist()} by "
            "LightGBM; the installed versions of lightgbm, onnx and onnxruntime do not fit together: install those of "
            "requirements/constraints.txt"
        )
    return content


def onnx_of(model_text: bytes, features: int) -> bytes:
    """Return a model text as ONNX: a row of (1, k) doubles in, (1, 3) double probabilities down, flat, up out.

    Raises
    ------
    ArtifactError : when the text is unsound, or a split cannot be said in ONNX
    """
    booster = lgb.Booster(model_str=checked_text(model_text, features) + "\npandas_categorical:null\n")
    trees = [tree["tree_structure"] for tree in booster.dump_model()["tree_info"]]
    nodes = [
        helper.make_node("TreeEnsembleRegressor", ["row"], ["sums"], domain="ai.onnx.ml", **_forest(trees)),
        helper.make_node("Cast", ["sums"], ["margins"], to=TensorProto.DOUBLE),
        helper.make_node("Softmax", ["margins"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes, "lightgbm",
        [helper.make_tensor_value_info("row", TensorProto.DOUBLE, [1, features])],
        [helper.make_tensor_value_info("probabilities", TensorProto.DOUBLE, [1, CLASSES])],
    )
    model: onnx.ModelProto = helper.make_model(
        graph, producer_name="tickwire", ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", TREE_OPSET)],
    )
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _forest(trees: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the attributes of TreeEnsembleRegressor; tree i adds to class i modulo 3."""
    nodes = [(number, *node) for number, tree in enumerate(trees) for node in _nodes(tree, number)]
    tree, at, mode, feature, value, yes, no, missing = zip(*nodes, strict=True)
    leaves = [(t, n, v) for t, n, m, v in zip(tree, at, mode, value, strict=True) if m == "LEAF"]
    thresholds = [0.0 if m == "LEAF" else v for m, v in zip(mode, value, strict=True)]
    return {
        "n_targets": CLASSES, "aggregate_function": "SUM", "post_transform": "NONE",
        "nodes_treeids": tree, "nodes_nodeids": at, "nodes_modes": mode, "nodes_featureids": feature,
        "nodes_values_as_tensor": _doubles(thresholds, "nodes_values"),
        "nodes_truenodeids": yes, "nodes_falsenodeids": no, "nodes_missing_value_tracks_true": missing,
        "target_treeids": [t for t, _, _ in leaves], "target_nodeids": [n for _, n, _ in leaves],
        "target_ids": [t % CLASSES for t, _, _ in leaves],
        "target_weights_as_tensor": _doubles([v for _, _, v in leaves], "target_weights"),
    }


def _nodes(tree: dict[str, Any], number: int) -> Iterator[tuple[int, str, int, float, int, int, int]]:
    """Give a tree's nodes, the root first: number, mode, feature, threshold or leaf, children, where NaN goes."""
    open_nodes, given = [(0, tree)], 1
    while open_nodes:
        at, node = open_nodes.pop()
        if "split_feature" not in node:
            yield at, "LEAF", 0, float(node["leaf_value"]), 0, 0, 0
            continue
        left, right, given = given, given + 1, given + 2
        yield (
            at, "BRANCH_LEQ", int(node["split_feature"]), _threshold(node), left, right,
            int(_missing_goes_left(node, number)),
        )
        open_nodes += [(right, node["right_child"]), (left, node["left_child"])]


def _threshold(node: dict[str, Any]) -> float:
    """Return the threshold that treats all that LightGBM takes for zero as it treats zero."""
    threshold = float(node["threshold"])
    if abs(threshold) > _ZERO:
        return threshold
    return _ZERO if threshold >= 0.0 else math.nextafter(-_ZERO, -math.inf)


def _missing_goes_left(node: dict[str, Any], number: int) -> bool:
    zero_goes_left = float(node["threshold"]) >= 0.0
    if node["missing_type"] == "NaN":
        return bool(node["default_left"])
    if node["missing_type"] == "Zero" and zero_goes_left != bool(node["default_left"]):
        raise ArtifactError(
            f"{ONNX_FILE}: tree {number} sends zero to the other side of {node['threshold']!r} than its value, which ONNX "
            "cannot say: train without zero_as_missing"
        )
    # Where a model knows no missing values, LightGBM takes NaN for zero.
    return zero_goes_left


def _doubles(values: list[float], name: str) -> TensorProto:
    return numpy_helper.from_array(np.array(values, dtype=np.float64), name)
