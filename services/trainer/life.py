"""The life of one symbol's model as the trainer remembers it: versions, champion, when to train next."""

import msgspec

from services.trainer.config import TrainerConfig
from services.trainer.effects import BundleAdopted, Champion, ModelTrained


class StoredVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A version whose bundle lies in the object store."""

    version: int
    bundle_sha256: str
    schema_id: str
    last_ns: int
    metrics: dict[str, float]


class Rejection(msgspec.Struct, frozen=True, kw_only=True):
    """Inference's word that it cannot use a version, kept until its turn.

    Parameters
    ----------
    bundle_sha256 : the bundle it speaks of
    due_step : the first tick block that may act on it
    """

    version: int
    bundle_sha256: str
    reason: str
    due_step: int


class Life(msgspec.Struct, kw_only=True):
    """What has happened to one symbol's model.

    Parameters
    ----------
    versions : stored versions by number, oldest first
    last_version : highest number given to a bundle
    champion : number of the version that serves; 0: none
    earlier : champions before it that inference did not reject, in the order they were promoted
    rejections : what inference rejected and nobody has acted on yet
    effect_id : the training under way; empty: none
    adopting : the check of somebody else's bundle under way; empty: none
    asked : a trigger that came while a training was under way, or before there were rows enough
    tried_schema : feature list of the last training begun
    tried_rows, tried_ns : labelled rows and event time when it began
    promoted, refused, failed : how trainings ended
    """

    versions: dict[int, StoredVersion] = {}
    last_version: int = 0
    champion: int = 0
    earlier: list[int] = []
    rejections: list[Rejection] = []
    effect_id: str = ""
    adopting: str = ""
    asked: str = ""
    tried_schema: str = ""
    tried_rows: int = 0
    tried_ns: int = 0
    promoted: int = 0
    refused: int = 0
    failed: int = 0

    def due(self, config: TrainerConfig, schema_id: str, rows: int, labelled: int, event_ns: int) -> str:
        """Return the trigger that asks for a training now, or an empty text.

        Parameters
        ----------
        schema_id : feature list of the rows there are
        rows, labelled : labelled rows kept, and ever seen
        event_ns : event time, ns UTC
        """
        if self.effect_id or rows < config.min_rows:
            return ""
        if self.asked:
            return self.asked
        if self.tried_schema != schema_id:
            return "first"
        new_rows, waited_ns = labelled - self.tried_rows, event_ns - self.tried_ns
        rows_due = 0 < config.retrain_every_rows <= new_rows
        time_due = 0 < config.retrain_every_s * 1_000_000_000 <= waited_ns
        return "schedule" if rows_due or time_due else ""

    def begin(self, effect_id: str, schema_id: str, labelled: int, event_ns: int) -> None:
        """Remember that a training is under way."""
        self.effect_id, self.asked = effect_id, ""
        self.tried_schema, self.tried_rows, self.tried_ns = schema_id, labelled, event_ns

    def comparable_champion(self, schema_id: str) -> Champion | None:
        """Return the champion if it can predict rows of this feature list."""
        held = self.versions.get(self.champion)
        if held is None or held.schema_id != schema_id:
            return None
        return Champion(version=held.version, bundle_sha256=held.bundle_sha256, last_ns=held.last_ns)

    def crown(self, version: int) -> StoredVersion | None:
        """Make a version the champion; return the one before, if it is still stored."""
        old = self.versions.get(self.champion)
        self.earlier = [held for held in self.earlier if held not in (version, self.champion)]
        if old is not None:
            self.earlier.append(old.version)
        self.champion = version
        return old

    def dethrone(self) -> StoredVersion | None:
        """Take the champion's place from it; return who has it now: the last that served before, or nobody."""
        self.champion = self.earlier.pop() if self.earlier else 0
        return self.versions.get(self.champion)

    def store(self, result: ModelTrained | BundleAdopted, keep: int) -> None:
        """Remember a published version; the oldest are forgotten, never the champion or the one it would fall back to."""
        self.last_version = max(self.last_version, result.version)
        self.versions[result.version] = StoredVersion(
            version=result.version, bundle_sha256=result.bundle_sha256, schema_id=result.schema_id,
            last_ns=result.last_ns, metrics=result.metrics,
        )
        needed = (self.champion, result.version, *self.earlier[-1:])
        spare = [version for version in self.versions if version not in needed]
        for version in spare[: max(0, len(self.versions) - keep)]:
            del self.versions[version]
        self.earlier = [version for version in self.earlier if version in self.versions]
