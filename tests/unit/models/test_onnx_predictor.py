"""ONNX predictors: a block is its rows bit for bit, and a file that could hurt or waver is refused by name."""

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from libs.common.errors import ArtifactError
from libs.common.models import onnx_file
from libs.common.models.bundle import GOLDEN_FILE, ONNX_FILE, Golden, check_golden, golden_file, pack, unpack
from libs.common.models.normaliser import NORMALISER_FILE, fit_z_score
from libs.common.models.onnx_predictor import OnnxPredictor
from libs.common.models.predictor import load_predictor
from tests.unit.models.small_models import FEATURES, SIGNER, VERIFIER, files, manifest, rows_like_training
from tests.unit.models.small_onnx import K, content, network, onnx_files


def bundle_of(contents, **changes):
    return unpack(pack(manifest(backend="onnx", **changes), contents, SIGNER), VERIFIER)


def test_a_block_is_its_rows_bit_for_bit():
    rows = rows_like_training(257, 5)
    predictor = OnnxPredictor(content(), K)
    one_by_one = np.array([predictor.predict(row) for row in rows])
    assert predictor.predict_block(rows).tobytes() == one_by_one.tobytes()
    assert OnnxPredictor(content(), K).predict_block(rows[::-1])[::-1].tobytes() == one_by_one.tobytes()
    session = onnxruntime.InferenceSession(content(), providers=["CPUExecutionProvider"])
    at_once = session.run(None, {"row": rows.astype(np.float32)})[0]
    assert at_once == pytest.approx(one_by_one, abs=1e-5)


@pytest.mark.parametrize("number", [TensorProto.FLOAT, TensorProto.DOUBLE])
@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize("batch", [1, "rows", None])
def test_the_usual_ways_of_exporting_are_read(number, labels, batch):
    predictor = OnnxPredictor(content(number=number, labels=labels, batch=batch), K)
    probabilities = predictor.predict(rows_like_training(1, 5)[0])
    assert (probabilities.shape, probabilities.dtype) == ((3,), np.float64)
    assert probabilities.sum() == pytest.approx(1.0, abs=1e-6)


def test_double_models_keep_their_precision():
    row = rows_like_training(1, 5)[0]
    single = OnnxPredictor(content(number=TensorProto.FLOAT), K).predict(row)
    double = OnnxPredictor(content(number=TensorProto.DOUBLE), K).predict(row)
    assert 0.0 < np.abs(single - double).max() < 1e-5


def test_an_answer_is_not_overwritten_by_the_next_one():
    predictor, rows = OnnxPredictor(content(), K), rows_like_training(2, 5)
    first = predictor.predict(rows[0])
    kept = first.copy()
    predictor.predict(rows[1])
    assert (first == kept).all()


def test_columns_of_a_larger_array_are_read_right():
    predictor, rows = OnnxPredictor(content(), K), rows_like_training(4, 5)
    sideways = np.asfortranarray(rows)
    assert (predictor.predict(sideways[1]) == predictor.predict(rows[1])).all()
    assert (predictor.predict_block(sideways) == predictor.predict_block(rows)).all()


def test_rows_of_another_width_are_refused():
    predictor = OnnxPredictor(content(), K)
    for shape in ((K - 1,), (K + 1,), (1, K)):
        with pytest.raises(ValueError, match="6 features"):
            predictor.predict(np.zeros(shape))
    with pytest.raises(ValueError, match="6 features"):
        predictor.predict_block(np.zeros((2, K - 1)))
    assert predictor.predict_block(np.zeros((0, K))).shape == (0, 3)


def test_values_beyond_single_precision_give_no_silent_nonsense():
    row = rows_like_training(1, 5)[0]
    row[0] = 1e300
    found = OnnxPredictor(content(), K).predict(row)
    assert not np.isfinite(found).all() or found.sum() == pytest.approx(1.0)


def test_a_sound_bundle_is_loaded_and_reproduces_its_golden_rows():
    found = bundle_of(onnx_files())
    predictor = load_predictor(found)
    check_golden(found, predictor)
    assert predictor.predict(rows_like_training(1)[0]).shape == (3,)


def test_golden_rows_of_another_framework_may_differ_as_single_precision_does_and_no_more():
    whole = onnx_files()
    golden = msgspec.json.decode(whole[GOLDEN_FILE], type=Golden)
    rows, wanted = np.array(golden.rows), np.array(golden.probabilities)
    for shift, sound in ((5e-6, True), (5e-5, False), (np.nan, False)):
        moved = wanted.copy()
        moved[3] += shift
        found = bundle_of(whole | {GOLDEN_FILE: golden_file(rows, moved)})
        predictor = load_predictor(found)
        if sound:
            check_golden(found, predictor)
        else:
            with pytest.raises(ArtifactError, match=r"golden row 3|golden\.json"):
                check_golden(found, predictor)


def test_the_normaliser_of_a_bundle_applies():
    rows = rows_like_training(500, 3)
    normaliser = fit_z_score(rows, FEATURES)
    scaled = load_predictor(bundle_of(onnx_files() | {NORMALISER_FILE: normaliser.to_json()}))
    plain = load_predictor(bundle_of(onnx_files()))
    assert (scaled.predict_block(rows) == plain.predict_block(normaliser.apply(rows))).all()


def test_a_bundle_without_the_file_or_with_other_features_is_refused():
    with pytest.raises(ArtifactError, match=ONNX_FILE):
        load_predictor(bundle_of(files()))
    with pytest.raises(ArtifactError, match="1 x 7"):
        load_predictor(bundle_of(onnx_files(), feature_names=(*FEATURES, "more")))


# ---- files that are refused


def external():
    model = network()
    tensor = model.graph.initializer[2]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    return model


def external_within_a_branch():
    model = network()
    branch = helper.make_graph(
        [helper.make_node("Constant", [], ["out"], value=external().graph.initializer[2])], "branch", [],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
    )
    condition = helper.make_node("Constant", [], ["yes"], value=numpy_helper.from_array(np.array(True)))
    model.graph.node.extend([condition, helper.make_node("If", ["yes"], ["x"], then_branch=branch, else_branch=branch)])
    return model


def with_node(*nodes, domain=""):
    model = network()
    model.graph.node.extend(nodes)
    if domain:
        model.opset_import.append(helper.make_opsetid(domain, 1))
    return model


def endless():
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"])], "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("on", TensorProto.BOOL, [])],
    )
    return with_node(helper.make_node("Loop", ["", ""], [], body=body))


def with_function():
    model = network()
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.functions.append(helper.make_function(
        "own", "Twice", ["x"], ["y"], [helper.make_node("Add", ["x", "x"], ["y"])], [helper.make_opsetid("", 17)]
    ))
    return model


def with_second_input():
    model = network()
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))
    return model


def with_text_labels():
    model = network(labels=True)
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.STRING
    return model


def with_three_outputs():
    model = network(labels=True)
    model.graph.output.append(helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["rows", 3]))
    return model


def mixed():
    model = network()
    model.graph.node[-1].output[0] = "shares"
    model.graph.node.append(helper.make_node("Cast", ["shares"], ["probabilities"], to=TensorProto.DOUBLE))
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    return model


def of_halves():
    model = network()
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    return model


def without_an_end():
    model = network()
    model.graph.node[2].input[0] = "nothing"
    return model


def newer_than_the_runtime():
    model = network()
    model.opset_import[0].version = 999
    return model


UNSOUND = {
    "weights in another file": (external, "another file; export it as one file"),
    "weights in another file, hidden in a branch": (external_within_a_branch, "another file"),
    "operators of a library": (
        lambda: with_node(helper.make_node("Secret", ["row"], ["x"], domain="com.example"), domain="com.example"),
        r"Secret of 'com\.example'",
    ),
    "random numbers": (
        lambda: with_node(helper.make_node("RandomNormalLike", ["row"], ["x"])), "RandomNormalLike"
    ),
    "a loop without end": (endless, "Loop, which may never end"),
    "functions of its own": (with_function, "function Twice"),
    "two inputs": (with_second_input, "2 inputs"),
    "labels that are texts": (with_text_labels, "label"),
    "three outputs": (with_three_outputs, "3 outputs"),
    "two number types": (mixed, "the input's type"),
    "half precision": (of_halves, "float or double"),
    "other features": (lambda: network(features=7), "1 x 6"),
    "more rows at once": (lambda: network(batch=8), "takes 8 x 6"),
    "other classes": (lambda: network(classes=2), "gives any x 2"),
    "a value from nowhere": (without_an_end, "malformed"),
    "a newer standard": (newer_than_the_runtime, "malformed|does not run"),
}


@pytest.mark.parametrize("case", UNSOUND)
def test_what_a_bundle_must_not_hold_is_refused_with_the_remedy(case):
    make, problem = UNSOUND[case]
    with pytest.raises(ArtifactError, match=problem) as caught:
        OnnxPredictor(make().SerializeToString(), K)
    assert ONNX_FILE in str(caught.value)


def test_weights_are_never_looked_for_on_the_disk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.bin").write_bytes(np.zeros((48, 3), dtype=np.float32).tobytes() * 10)
    with pytest.raises(ArtifactError, match="another file"):
        OnnxPredictor(external().SerializeToString(), K)


@pytest.mark.parametrize("junk", [b"", b"this is no model", b"\x00" * 100, content()[:400], content() + b"\xff\xff"])
def test_what_is_no_model_is_refused(junk):
    with pytest.raises(ArtifactError, match=ONNX_FILE):
        OnnxPredictor(junk, K)


def test_a_shape_that_is_left_open_is_found_out_by_running_it():
    model = network(classes=4)
    model.graph.output[0].type.tensor_type.shape.dim[1].ClearField("dim_value")
    with pytest.raises(ArtifactError, match=r"must give \(1, 3\)|does not run"):
        OnnxPredictor(model.SerializeToString(), K)


def test_too_many_nodes_and_too_many_bytes_are_refused(monkeypatch):
    monkeypatch.setattr(onnx_file, "MAX_ONNX_NODES", 5)
    with pytest.raises(ArtifactError, match="6 nodes, at most 5"):
        OnnxPredictor(content(), K)
    monkeypatch.setattr(onnx_file, "MAX_ONNX_BYTES", 100)
    with pytest.raises(ArtifactError, match="at most 100 are allowed"):
        OnnxPredictor(content(), K)


def test_a_model_that_gives_no_numbers_fails_its_golden_rows():
    model = network()
    model.graph.node[-1].output[0] = "shares"
    model.graph.node.append(helper.make_node("Log", ["logits"], ["logs"]))
    model.graph.node.append(helper.make_node("Add", ["shares", "logs"], ["probabilities"]))
    whole = onnx_files() | {ONNX_FILE: model.SerializeToString()}
    found = bundle_of(whole)
    with pytest.raises(ArtifactError, match="golden row"):
        check_golden(found, load_predictor(found))


def test_the_file_is_sound_before_it_is_changed():
    onnx.checker.check_model(network())
