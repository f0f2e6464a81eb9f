"""Small ONNX models of six features, sound and unsound ones, for the tests of models and commands."""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from libs.common.messages.base import Floats
from libs.common.models.bundle import GOLDEN_FILE, ONNX_FILE, golden_file
from libs.common.models.onnx_predictor import OnnxPredictor
from tests.unit.models.small_models import FEATURES, rows_like_training

K = len(FEATURES)
HIDDEN = 48


def network(
    *, number: int = TensorProto.FLOAT, batch: int | str = "rows", features: int = K, classes: int = 3, seed: int = 0,
    labels: bool = False, opset: int = 17,
) -> onnx.ModelProto:
    """Return a neural net with one hidden layer that scales its own rows, as a framework would export it."""
    random = np.random.default_rng(seed)
    kind = helper.tensor_dtype_to_np_dtype(number)
    weights = {
        "middle": np.array([0, 0, 0, 50, 0.5, 0.002][:features] + [0] * (features - 6)),
        "width": np.array([1, 1, 1, 10, 1, 0.001][:features] + [1] * (features - 6)),
        "w1": random.normal(size=(features, HIDDEN)), "b1": random.normal(size=HIDDEN),
        "w2": random.normal(size=(HIDDEN, classes)) / 4, "b2": random.normal(size=classes),
    }
    nodes = [
        helper.make_node("Sub", ["row", "middle"], ["near"]), helper.make_node("Div", ["near", "width"], ["scaled"]),
        helper.make_node("Gemm", ["scaled", "w1", "b1"], ["h"]), helper.make_node("Tanh", ["h"], ["a"]),
        helper.make_node("Gemm", ["a", "w2", "b2"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    outputs = [helper.make_tensor_value_info("probabilities", number, [batch, classes])]
    if labels:
        nodes.append(helper.make_node("ArgMax", ["logits"], ["label"], axis=1, keepdims=0))
        outputs.insert(0, helper.make_tensor_value_info("label", TensorProto.INT64, [batch]))
    graph = helper.make_graph(
        nodes, "network", [helper.make_tensor_value_info("row", number, [batch, features])], outputs,
        [numpy_helper.from_array(value.astype(kind), name) for name, value in weights.items()],
    )
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return model


def content(**options: Any) -> bytes:
    whole: bytes = network(**options).SerializeToString()
    return whole


def onnx_files(rows: Floats | None = None, **options: Any) -> dict[str, bytes]:
    """Return the files of a bundle of backend ``onnx``."""
    rows = rows_like_training(16, 7) if rows is None else rows
    model = content(**options)
    return {ONNX_FILE: model, GOLDEN_FILE: golden_file(rows, OnnxPredictor(model, rows.shape[1]).predict_block(rows))}
