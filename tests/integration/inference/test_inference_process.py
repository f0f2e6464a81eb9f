"""The inference process on a real nats-server: loads, predicts, is killed, and predicts on with the same model."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import yaml

from libs.common.bus.nats import NatsBus
from libs.common.bus.server import EmbeddedServer
from libs.common.messages.features import Prediction
from libs.common.messages.models import ModelLoaded, ModelRejected
from libs.common.storage.keys import ensure_keys
from tests.unit.inference.inference_world import promoted
from tests.unit.models.small_models import SIGNER, archive, feature_row, sha_of

ROOT = Path(__file__).resolve().parents[3]
PATIENCE_S = 30


class Inference:
    """The service as a process of its own."""

    def __init__(self, folder: Path, server: EmbeddedServer) -> None:
        self.folder, self.server = folder, server
        (folder / "config.yaml").write_text(yaml.safe_dump({"system": {"data_dir": str(folder / "state")}}))
        self.launch()

    def launch(self) -> None:
        environment = {
            **os.environ, "PYTHONPATH": str(ROOT), "TICKWIRE_BUS__URL": self.server.url,
            "TICKWIRE_NATS_PASSWORD": self.server.passwords["inference"],
        }
        with (self.folder / "inference.out").open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "services.inference", "--config", str(self.folder / "config.yaml")],
                env=environment, stdout=out, stderr=out, cwd=self.folder,
            )

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


async def heard(reader, kind: type, wanted: int) -> list:
    """Return the first ``wanted`` messages of a kind."""
    found: list = []
    async with asyncio.timeout(PATIENCE_S):
        while len(found) < wanted:
            found += [item.message for item in await reader.batch() if isinstance(item.message, kind)]
    return found


async def test_a_killed_inference_predicts_on_with_the_model_it_had(tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    ensure_keys(state)
    (state / "keys" / "trainer.pub").write_bytes(SIGNER.public_bytes)
    server = EmbeddedServer(state)
    await server.start()
    inference = Inference(tmp_path, server)
    buses: list[NatsBus] = []
    try:
        for user in ("trainer", "features", "observer"):
            buses.append(await NatsBus.connect(server.url, user=user, password=server.passwords[user]))
        trainer, features, observer = buses
        predictions = await observer.reader(["predictions.*"])
        events = await observer.reader(["models.*.loaded", "models.*.rejected"])
        name = f"direction-EURUSD-1-{sha_of(1)[:16]}"
        await trainer.put_object(name, archive(1))
        await trainer.publish(msgspec.structs.replace(promoted(1), seq=1))
        (loaded,) = await heard(events, ModelLoaded, 1)
        assert loaded.bundle_sha256 == sha_of(1)
        for i in range(10):
            await features.publish(feature_row(i))
        first = await heard(predictions, Prediction, 10)
        inference.kill()
        # Promoted while nobody hears it, with a bundle that is broken: a reason, and the old model goes on.
        await trainer.put_object(f"direction-EURUSD-2-{sha_of(2, seed=1)[:16]}", archive(2, seed=1)[:-1])
        await trainer.publish(msgspec.structs.replace(promoted(2, seed=1, at=10), seq=2))
        for i in range(10, 20):
            await features.publish(feature_row(i))
        inference.launch()
        (rejected,) = await heard(events, ModelRejected, 1)
        assert rejected.version == 2
        second = await heard(predictions, Prediction, 10)
        assert [item.ts_event_ns for item in first + second] == [feature_row(i).ts_event_ns for i in range(20)]
        assert [item.seq for item in first + second] == list(range(1, 21))
        assert {item.version for item in first + second} == {1}
    except TimeoutError:
        raise AssertionError((tmp_path / "inference.out").read_text(errors="replace")[-4_000:]) from None
    finally:
        inference.kill()
        for bus in buses:
            await bus.close()
        await server.stop()
