"""LightGBM predictors: one row fast and bit for bit, and no text that could hurt the process."""

import random
import subprocess
import sys

import lightgbm
import numpy as np
import pytest

from libs.common.errors import ArtifactError
from libs.common.models.bundle import MODEL_FILE, pack, unpack
from libs.common.models.lightgbm_predictor import LightGbmPredictor
from libs.common.models.lightgbm_text import checked_text
from libs.common.models.predictor import load_predictor
from tests.unit.models.small_models import (
    FEATURES,
    SIGNER,
    VERIFIER,
    archive,
    files,
    manifest,
    model_text,
    rows_like_training,
)

K = len(FEATURES)


def predictor_of(text: bytes, features: int = K) -> LightGbmPredictor:
    return LightGbmPredictor(checked_text(text, features), features)


def train(rows, label, rounds=5, **parameters):
    parameters = {"objective": "multiclass", "num_class": 3, "verbosity": -1, "num_threads": 1} | parameters
    return lightgbm.train(parameters, lightgbm.Dataset(rows, label, params={"verbosity": -1}), rounds)


def test_one_row_a_block_and_the_booster_agree_bit_for_bit():
    rows = rows_like_training(300, 5)
    wanted = lightgbm.Booster(model_str=model_text().decode()).predict(rows, num_threads=1)
    predictor = predictor_of(model_text())
    assert np.array([predictor.predict(row) for row in rows]).tobytes() == wanted.tobytes()
    assert predictor.predict_block(rows).tobytes() == wanted.tobytes()


def test_extreme_values_agree_with_the_booster_too():
    rows = rows_like_training(8, 5)
    rows[0], rows[1], rows[2] = 0.0, 1e300, -1e300
    rows[3], rows[4], rows[5] = 1e-320, np.inf, np.nan
    wanted = lightgbm.Booster(model_str=model_text().decode()).predict(rows, num_threads=1)
    predictor = predictor_of(model_text())
    assert np.array([predictor.predict(row) for row in rows]).tobytes() == wanted.tobytes()


def test_an_answer_is_not_overwritten_by_the_next_one():
    predictor = predictor_of(model_text())
    rows = rows_like_training(2, 5)
    first = predictor.predict(rows[0])
    kept = first.copy()
    predictor.predict(rows[1])
    assert (first == kept).all()


def test_columns_of_a_larger_array_are_read_right():
    predictor = predictor_of(model_text())
    rows = rows_like_training(4, 5)
    sideways = np.asfortranarray(rows)
    assert (predictor.predict(sideways[1]) == predictor.predict(rows[1])).all()
    assert (predictor.predict_block(sideways) == predictor.predict_block(rows)).all()


@pytest.mark.parametrize("shape", [(K - 1,), (K + 1,), (0,), (1, K)])
def test_a_row_of_another_width_is_refused_before_it_reaches_the_library(shape):
    with pytest.raises(ValueError, match="6 features"):
        predictor_of(model_text()).predict(np.zeros(shape))


def test_a_block_of_another_width_is_refused():
    predictor = predictor_of(model_text())
    assert predictor.predict_block(np.zeros((0, K))).shape == (0, 3)
    with pytest.raises(ValueError, match="6 features"):
        predictor.predict_block(np.zeros((2, K - 1)))


@pytest.mark.parametrize(
    "parameters",
    [
        {"num_leaves": 31, "min_data_in_leaf": 1}, {"max_depth": 1}, {"boosting": "dart"}, {"boosting": "goss"},
        {"bagging_fraction": 0.5, "bagging_freq": 1, "feature_fraction": 0.5}, {"zero_as_missing": True},
        {"use_missing": False}, {"class_weight": "balanced", "lambda_l1": 5.0}, {"min_data_in_leaf": 290},
        {"max_bin": 15, "extra_trees": True}, {"min_gain_to_split": 1e9},
    ],
    ids=str,
)
def test_texts_lightgbm_really_writes_pass(parameters):
    rows = rows_like_training(600, 3)
    rows[::7, 1], rows[:, 2], rows[::3, 4] = np.nan, 1.0, 0.0
    label = np.digitize(rows[:, 0], (-0.5, 0.5))
    booster = train(rows, label, **parameters)
    predictor = predictor_of(booster.model_to_string().encode())
    assert (predictor.predict_block(rows) == booster.predict(rows)).all()
    assert (predictor.predict(rows[0]) == booster.predict(rows[:1])[0]).all()


def test_a_text_cut_at_its_best_iteration_passes():
    rows = rows_like_training(300, 3)
    booster = train(rows, np.digitize(rows[:, 0], (-0.5, 0.5)))
    predictor = predictor_of(booster.model_to_string(num_iteration=2).encode())
    assert (predictor.predict_block(rows) == booster.predict(rows, num_iteration=2)).all()


def test_other_kinds_of_models_are_refused():
    rows = rows_like_training(300, 3)
    label = np.digitize(rows[:, 0], (-0.5, 0.5))
    rows[:, 4] = np.round(rows[:, 4] * 3).clip(0, 9)
    others = [
        train(rows, label > 0, objective="binary", num_class=1), train(rows, label, num_class=4),
        train(rows, label, objective="multiclassova"), train(rows, rows[:, 0], objective="regression", num_class=1),
        train(rows, label, boosting="rf", bagging_freq=1, bagging_fraction=0.5),
        lightgbm.train(
            {"objective": "multiclass", "num_class": 3, "verbosity": -1, "min_data_per_group": 1},
            lightgbm.Dataset(rows, label, categorical_feature=[4], params={"verbosity": -1}), 5,
        ),
        train(rows, label, linear_tree=True),
    ]
    for booster in others:
        with pytest.raises(ArtifactError, match="model text"):
            checked_text(booster.model_to_string().encode(), K)
    with pytest.raises(ArtifactError, match="7 features"):
        checked_text(model_text(), 7)


def with_line(key: str, change, text: bytes = b"") -> bytes:
    """Return the model with one tree's line changed and the sizes made right again."""
    whole = (text or model_text()).decode()
    begin = whole.index("Tree=3\n")
    start = whole.index(f"\n{key}=", begin) + len(key) + 2
    end = whole.index("\n", start)
    old = whole[start:end]
    new = change(old)
    sizes_at = whole.index("tree_sizes=") + len("tree_sizes=")
    sizes_end = whole.index("\n", sizes_at)
    sizes = [int(size) for size in whole[sizes_at:sizes_end].split(" ")]
    sizes[3] += len(new) - len(old)
    return (whole[:sizes_at] + " ".join(map(str, sizes)) + whole[sizes_end:start] + new + whole[end:]).encode()


def replaced(position: int, value: str):
    def change(line: str) -> str:
        parts = line.split(" ")
        parts[position] = value
        return " ".join(parts)

    return change


DANGEROUS = {
    "child beyond the tree": ("left_child", replaced(0, "1000000")),
    "leaf beyond the tree": ("right_child", replaced(0, "-1000000")),
    "a node that is its own child": ("left_child", replaced(0, "0")),
    "a cycle": ("left_child", replaced(-1, "1")),
    "one leaf twice": ("right_child", replaced(-1, "-1")),
    "feature beyond the row": ("split_feature", replaced(0, "6")),
    "negative feature": ("split_feature", replaced(0, "-1")),
    "categorical decision": ("decision_type", replaced(0, "1")),
    "unknown decision": ("decision_type", replaced(0, "64")),
    "too few leaf values": ("leaf_value", lambda line: line.rpartition(" ")[0]),
    "too many thresholds": ("threshold", lambda line: line + " 1"),
    "leaf value is not a number": ("leaf_value", replaced(0, "nan")),
    "leaf value is infinite": ("leaf_value", replaced(0, "1e999")),
    "threshold is text": ("threshold", replaced(0, "x")),
    "more leaves than said": ("num_leaves", lambda line: "6"),
    "absurdly many leaves": ("num_leaves", lambda line: "2000000000"),
    "negative leaves": ("num_leaves", lambda line: "-7"),
    "linear leaves": ("is_linear", lambda line: "1"),
    "categories": ("num_cat", lambda line: "1"),
    "no shrinkage": ("shrinkage", lambda line: ""),
    "double space": ("left_child", lambda line: line.replace(" ", "  ", 1)),
    "other digits": ("num_leaves", lambda line: "\N{ARABIC-INDIC DIGIT SEVEN}"),
}


@pytest.mark.parametrize("case", DANGEROUS)
def test_a_dangerous_tree_is_refused_although_it_is_well_formed(case):
    key, change = DANGEROUS[case]
    with pytest.raises(ArtifactError, match="model text"):
        checked_text(with_line(key, change), K)


def test_the_tests_way_of_changing_a_line_keeps_a_sound_model_sound():
    same = with_line("leaf_value", replaced(0, "0.25"))
    assert predictor_of(same).predict(np.zeros(K)).sum() == pytest.approx(1.0)


def test_the_header_must_say_what_follows():
    text = model_text().decode()
    for old, new in (
        ("tree\n", "forest\n"), ("version=v4", "version=v3"), ("num_class=3", "num_class=30"),
        ("num_tree_per_iteration=3", "num_tree_per_iteration=1"), ("max_feature_idx=5", "max_feature_idx=5000000"),
        ("tree_sizes=", "tree_sizes=0 "), ("tree_sizes=", "tree_sizes=1 1 1 "), ("label_index=0", "label_index=-1"),
        ("objective=multiclass num_class:3", "objective=multiclass num_class:3 x"),
        ("feature_infos=[", "feature_infos=1:2:3 ["),
        ("feature_infos=", "average_output\nfeature_infos="), ("feature_names=ret_1 ", "feature_names="),
        ("end of trees", "end of forest"), ("Tree=4\n", "Tree=5\n"),
    ):
        assert old in text
        with pytest.raises(ArtifactError, match="model text"):
            checked_text(text.replace(old, new, 1).encode(), K)


def test_what_only_training_reads_never_reaches_the_library():
    text = checked_text(model_text(), K)
    assert "parameters:" in model_text().decode()
    assert "parameters:" not in text
    assert text.endswith("end of trees\n")


def test_damaged_texts_are_refused_or_predict_and_never_end_the_process():
    """Truncated and bit-flipped texts in a process of their own, which must live to tell."""
    program = (
        "import random, sys\n"
        "import numpy as np\n"
        "from libs.common.errors import ArtifactError\n"
        "from libs.common.models.lightgbm_predictor import LightGbmPredictor\n"
        "from libs.common.models.lightgbm_text import checked_text\n"
        "text = sys.stdin.buffer.read()\n"
        "rng = random.Random(11)\n"
        "row, refused, predicted = np.zeros(6), 0, 0\n"
        "end = text.index(b'end of trees') + 13\n"
        "for n in range(1200):\n"
        "    damaged = bytearray(text)\n"
        "    if n % 6 == 0:\n"
        "        del damaged[rng.randrange(end):]\n"
        "    for _ in range(rng.choice((1, 1, 1, 4))):\n"
        "        if damaged:\n"
        "            damaged[rng.randrange(min(end, len(damaged)))] ^= 1 << rng.randrange(8)\n"
        "    try:\n"
        "        LightGbmPredictor(checked_text(bytes(damaged), 6), 6).predict(row)\n"
        "        predicted += 1\n"
        "    except ArtifactError:\n"
        "        refused += 1\n"
        "print(refused, predicted)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], input=model_text(0, 2), capture_output=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    refused, predicted = map(int, done.stdout.split())
    assert refused > 300
    assert predicted > 50  # a flipped digit still makes a sound model; hashes and golden rows catch that


def test_an_unknown_backend_is_refused_by_name():
    found = unpack(pack(manifest(backend="pickle"), files(), SIGNER), VERIFIER)
    with pytest.raises(ArtifactError, match="unknown backend 'pickle'"):
        load_predictor(found)


def test_a_bundle_without_weights_or_with_other_features_is_refused():
    empty = unpack(pack(manifest(), {"notes.txt": b""}, SIGNER), VERIFIER)
    with pytest.raises(ArtifactError, match=MODEL_FILE):
        load_predictor(empty)
    wider = unpack(pack(manifest(feature_names=(*FEATURES, "more")), files(), SIGNER), VERIFIER)
    with pytest.raises(ArtifactError, match="not trained on 7 features"):
        load_predictor(wider)


def test_a_sound_bundle_gives_a_predictor():
    found = unpack(archive(), VERIFIER)
    probabilities = load_predictor(found).predict(rows_like_training(1, random.Random(1).randrange(99))[0])
    assert probabilities.shape == (3,)
    assert probabilities.sum() == pytest.approx(1.0)
