"""LightGBM's trees as ONNX: the same branch at every threshold, the same bytes each time, or a refusal."""

import lightgbm
import numpy as np
import onnx
import pytest

from libs.common.errors import ArtifactError
from libs.common.models.onnx_predictor import OnnxPredictor
from services.trainer.onnx_export import EXPORT_TOLERANCE, exported, onnx_of
from tests.unit.models.small_models import FEATURES, model_text, rows_like_training

K = len(FEATURES)


def trained(rounds=8, **parameters):
    """Return a booster that has seen missing values, zeros and a feature that stood still."""
    rows = rows_like_training(600, 3)
    rows[::7, 1], rows[:, 2], rows[::3, 4] = np.nan, 1.0, 0.0
    label = np.digitize(rows[:, 0], (-0.5, 0.5))
    parameters = {"objective": "multiclass", "num_class": 3, "verbosity": -1, "num_threads": 1} | parameters
    return lightgbm.train(parameters, lightgbm.Dataset(rows, label, params={"verbosity": -1}), rounds)


def splits(node):
    """Return every (feature, threshold) of a tree."""
    if "threshold" not in node:
        return []
    return [(node["split_feature"], node["threshold"]), *splits(node["left_child"]), *splits(node["right_child"])]


def awkward_rows(booster):
    """Return rows that stand on every threshold and a bit beside it, and rows of all that is no ordinary number."""
    rows = list(rows_like_training(100, 5))
    trees = booster.dump_model()["tree_info"]
    for feature, threshold in {split for tree in trees for split in splits(tree["tree_structure"])}:
        for value in (threshold, np.nextafter(threshold, np.inf), np.nextafter(threshold, -np.inf)):
            row = rows_like_training(1, 5)[0]
            row[feature] = value
            rows.append(row)
    tiny = float(np.float32(1e-35))
    for value in (np.nan, np.inf, -np.inf, 0.0, -0.0, 1e300, -1e300, 5e-324, tiny, -tiny, np.nextafter(tiny, 1.0)):
        for feature in range(K):
            row = rows_like_training(1, 5)[0]
            row[feature] = value
            rows.append(row)
    return np.array(rows)


@pytest.mark.parametrize(
    "parameters",
    [
        {}, {"num_leaves": 31, "min_data_in_leaf": 1}, {"max_depth": 1}, {"use_missing": False}, {"boosting": "dart"},
        {"max_bin": 15, "extra_trees": True}, {"min_data_in_leaf": 290}, {"min_gain_to_split": 1e9},
        {"learning_rate": 1.0, "rounds": 60},
    ],
    ids=str,
)
def test_every_branch_is_lightgbms_on_and_beside_every_threshold(parameters):
    booster = trained(**parameters)
    rows = awkward_rows(booster)
    found = OnnxPredictor(onnx_of(booster.model_to_string().encode(), K), K).predict_block(rows)
    assert np.abs(found - booster.predict(rows)).max() <= EXPORT_TOLERANCE


def test_the_same_text_gives_the_same_bytes():
    assert onnx_of(model_text(), K) == onnx_of(model_text(), K)
    assert onnx_of(model_text(), K) != onnx_of(model_text(1), K)


def test_a_terminal_of_today_can_take_it():
    """Fixed shapes, plain tensors, and versions ONNX Runtime 1.14 knows."""
    model = onnx.load_model_from_string(onnx_of(model_text(), K))
    assert model.ir_version <= 8
    assert {found.domain: found.version for found in model.opset_import} == {"": 17, "ai.onnx.ml": 3}
    (row,), (probabilities,) = model.graph.input, model.graph.output
    shapes = [[dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in (row, probabilities)]
    assert shapes == [[1, K], [1, 3]]
    assert [node.op_type for node in model.graph.node] == ["TreeEnsembleRegressor", "Cast", "Softmax"]


def test_a_split_that_sends_zero_elsewhere_than_its_value_is_refused():
    booster = trained(zero_as_missing=True)
    with pytest.raises(ArtifactError, match="zero_as_missing"):
        onnx_of(booster.model_to_string().encode(), K)


def test_an_unsound_text_is_refused():
    with pytest.raises(ArtifactError, match="model text"):
        onnx_of(model_text()[:500], K)


def test_a_model_that_comes_out_otherwise_is_refused_by_row():
    rows = rows_like_training(10, 5)
    right = lightgbm.Booster(model_str=model_text().decode()).predict(rows)
    assert exported(model_text(), rows, right) == onnx_of(model_text(), K)
    for wrong in (2e-6, np.nan):
        moved = right.copy()
        moved[7, 1] += wrong
        with pytest.raises(ArtifactError, match=r"model\.onnx: row 7"):
            exported(model_text(), rows, moved)
