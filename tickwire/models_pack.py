"""Makes a signed bundle of somebody's own ONNX model, after all that inference will check of it was checked."""

from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from libs.common.errors import ArtifactError, ConfigError
from libs.common.messages.base import Floats
from libs.common.models.bundle import GOLDEN_FILE, ONNX_FILE, Bundle, Manifest, pack, unpack
from libs.common.signing import Signer, Verifier
from libs.common.stats.drift import DriftReference, drift_reference
from services.inference.library import verified_model
from services.trainer.core import model_name

BACKEND = "onnx"


class About(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What only its maker can say of a model.

    Parameters
    ----------
    symbol : which symbol it predicts
    version : above every version of the symbol's model so far
    horizon_s : for how long a prediction speaks, seconds
    stop_sigma, target_sigma : distance of the lower and upper barrier, standard deviations over the horizon
    sigma_feature, sigma_unit, sigma_scale : the feature that holds the volatility; ``price`` or ``relative``; factor that
        makes it one standard deviation of the price over the horizon
    first_ns, last_ns, rows : training window, ns UTC, and its rows
    mean_return_pct : ``long`` and ``short``: mean net return of a trade to that side when its class came true, percent
    seed : of the training
    metrics : figures of the model
    extra : anything a person may want to know
    """

    symbol: str
    version: int
    horizon_s: int
    stop_sigma: float
    target_sigma: float
    sigma_feature: str
    first_ns: int
    last_ns: int
    rows: int
    mean_return_pct: dict[str, float]
    sigma_unit: Literal["price", "relative"] = "price"
    sigma_scale: float = 1.0
    seed: int = 0
    metrics: dict[str, float] = {}
    extra: dict[str, str] = {}


def read_about(file: Path) -> About:
    """Read a description, YAML or JSON.

    Raises
    ------
    ConfigError : naming the file, the field and what is wrong with it
    """
    try:
        return msgspec.yaml.decode(file.read_bytes(), type=About)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror})") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: {error}") from error


def read_rows(file: Path, features: int) -> Floats:
    """Read the rows a model was trained on: (n, features) numbers as numpy's ``.npy``, oldest first.

    Raises
    ------
    ConfigError : when they are not that, or not finite
    """
    try:
        rows: Any = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ConfigError(f"{file}: cannot be read as .npy: {error}. Write it with numpy.save.") from error
    if not isinstance(rows, np.ndarray) or rows.ndim != 2 or rows.shape[1] != features or rows.dtype.kind != "f":
        shape = getattr(rows, "shape", ())
        raise ConfigError(f"{file}: holds an array of shape {shape}, expected rows of {features} floating-point numbers")
    if not len(rows) or not np.isfinite(rows).all():
        raise ConfigError(f"{file}: is empty or holds values that are not finite")
    return rows.astype(np.float64)


def pack_onnx(
    model: bytes, golden: bytes, about: About, schema_id: str, feature_names: tuple[str, ...], signer: Signer,
    trained_on: Floats | None = None, drift_bins: int = 10,
) -> tuple[bytes, Bundle]:
    """Return a signed bundle and what it holds; inference accepts it.

    Parameters
    ----------
    model : the ONNX file; it takes (1, k) and gives (1, 3) probabilities down, flat, up
    golden : as ``golden.json`` of a bundle: rows, and the probabilities the model gave them where it was trained
    schema_id, feature_names : (k,) of the rows it may see
    trained_on : (n, k) rows the drift references are made of; without them drift is not watched
    drift_bins : bins of each reference

    Raises
    ------
    ArtifactError : naming what inference would refuse
    """
    if about.last_ns < about.first_ns:
        raise ArtifactError(f"the training window ends ({about.last_ns}) before it begins ({about.first_ns})")
    drift: dict[str, DriftReference] = {}
    if trained_on is not None:
        drift = {name: drift_reference(trained_on[:, i], drift_bins) for i, name in enumerate(feature_names)}
    manifest = Manifest(
        **msgspec.structs.asdict(about), name=model_name(about.symbol), backend=BACKEND, schema_id=schema_id,
        feature_names=feature_names, drift=drift,
    )
    archive = pack(manifest, {ONNX_FILE: model, GOLDEN_FILE: golden}, signer)
    verifier = Verifier(signer.public_bytes)
    bundle = unpack(archive, verifier)
    verified_model(archive, verifier, bundle.sha256)
    return archive, bundle
