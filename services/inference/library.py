"""Verified models at hand: the shell fills the library, the core looks models up by the hash of their bundle."""

from libs.common.errors import ArtifactError
from libs.common.models.bundle import Bundle, Manifest, check_golden, unpack
from libs.common.models.predictor import Predictor, load_predictor
from libs.common.signing import Verifier


class LoadedModel:
    """A verified bundle with the predictor made of it.

    Parameters
    ----------
    bundle : verified
    predictor : made of it; its golden rows were reproduced
    """

    __slots__ = ("bundle_sha256", "manifest", "positions", "predictor", "sigma_index")

    def __init__(self, bundle: Bundle, predictor: Predictor) -> None:
        self.manifest: Manifest = bundle.manifest
        self.bundle_sha256 = bundle.sha256
        self.predictor = predictor
        self.positions = {name: index for index, name in enumerate(self.manifest.feature_names)}
        self.sigma_index = self.positions[self.manifest.sigma_feature]


class ModelLibrary:
    """Verified models by the hash of their bundle."""

    def __init__(self) -> None:
        self._models: dict[str, LoadedModel] = {}

    def put(self, model: LoadedModel) -> None:
        self._models[model.bundle_sha256] = model

    def get(self, bundle_sha256: str) -> LoadedModel | None:
        return self._models.get(bundle_sha256)

    def drop(self, bundle_sha256: str) -> None:
        self._models.pop(bundle_sha256, None)

    def __len__(self) -> int:
        return len(self._models)


def verified_model(archive: bytes, verifier: Verifier, bundle_sha256: str) -> LoadedModel:
    """Check an archive from signature to golden rows and return its model.

    Parameters
    ----------
    archive : what lies in the object store
    verifier : the trainer's public key
    bundle_sha256 : the bundle that was asked for

    Raises
    ------
    ArtifactError : naming what is wrong
    """
    bundle = unpack(archive, verifier)
    if bundle.sha256 != bundle_sha256:
        raise ArtifactError(f"bundle is {bundle.sha256}, the event named {bundle_sha256}")
    predictor = load_predictor(bundle)
    check_golden(bundle, predictor)
    return LoadedModel(bundle, predictor)
