"""The inference shell: bundles from the store through every check to disk and library, and back after a restart."""

import asyncio
import os
from pathlib import Path

import msgspec
import pytest
import structlog

from libs.common.bus.memory import MemoryBus, MemoryServer
from libs.common.core import dispatch
from libs.common.errors import ConfigError
from libs.common.models.bundle import pack
from libs.common.runtime.metrics import Metrics
from libs.common.runtime.service import ServiceContext
from services.inference import shell as shell_module
from services.inference.config import InferenceConfig
from services.inference.effects import BundleBroken, BundleVerified, LoadBundle
from services.inference.shell import build
from tests.unit.inference.inference_world import EAGER, kinds, promoted
from tests.unit.models.small_models import SIGNER, STRANGER, archive, feature_row, files, manifest, sha_of

CONFIG = msgspec.structs.replace(EAGER, fetch_tries=3, fetch_timeout_s=0.2, fetch_pause_s=0.0, keep_bundles=4)


class FlakyBus:
    """A bus whose first calls fail, each in its own way."""

    def __init__(self, bus: MemoryBus, failures: list[Exception | None]) -> None:
        self.bus, self.failures, self.calls = bus, failures, 0

    async def get_object(self, name: str) -> bytes:
        self.calls += 1
        if self.failures:
            failure = self.failures.pop(0)
            if failure is None:
                await asyncio.sleep(60)
            else:
                raise failure
        return await self.bus.get_object(name)


class Started:
    """An inference service on a folder, prepared."""

    def __init__(self, root: Path, bus, config: InferenceConfig = CONFIG) -> None:
        data_dir = root / "inference"
        data_dir.mkdir(exist_ok=True)
        self.metrics = Metrics()
        self.service = build({"inference": config}, ServiceContext(
            name="inference", data_dir=data_dir, root_dir=root, bus=bus, log=structlog.get_logger(),
            metrics=self.metrics,
        ))
        self.core, self.effects = self.service.core, self.service.effects

    async def settle(self, message) -> tuple:
        """Hand a message to the core and perform what it asks for, as the runtime does."""
        said = []
        for item in dispatch(self.core, message, message.ts_event_ns):
            if isinstance(item, LoadBundle):
                result = await self.effects.perform(item)
                said += dispatch(self.core, result, result.ts_event_ns)
            else:
                said.append(item)
        for item in said:
            self.service.observe(item)
        return tuple(said)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "trainer.pub").write_bytes(SIGNER.public_bytes)
    return tmp_path


@pytest.fixture
async def bus() -> MemoryBus:
    found = MemoryBus(MemoryServer())
    for version in range(1, 9):
        await found.put_object(name_of(version), archive(version, seed=version - 1))
    return found


def name_of(version: int) -> str:
    return f"direction-EURUSD-{version}-{sha_of(version, seed=version - 1)[:16]}"


def promotion(version: int):
    return promoted(version, seed=version - 1, at=version)


def effect_of(number: int, **changes) -> LoadBundle:
    fields = {
        "ts_event_ns": 1, "ts_init_ns": 1, "effect_id": "e", "name": "direction-EURUSD", "version": number,
        "symbol": "EURUSD", "bundle_sha256": sha_of(number, seed=number - 1), "shadow": False,
        "object_name": name_of(number),
    }
    return LoadBundle(**fields | changes)


async def started(root: Path, bus, config: InferenceConfig = CONFIG) -> Started:
    service = Started(root, bus, config)
    await service.effects.prepare()
    return service


async def test_a_published_bundle_is_verified_kept_and_predicts(root, bus):
    service = await started(root, bus)
    assert kinds(await service.settle(promotion(1))) == ["ModelLoaded"]
    kept = root / "inference" / "bundles" / f"{sha_of(1)}.bundle"
    assert kept.read_bytes() == archive(1)
    (prediction,) = await service.settle(feature_row(0))
    assert prediction.version == 1
    await service.effects.close()


async def test_a_restart_predicts_with_the_same_models_although_the_store_is_gone(root, bus):
    first = await started(root, bus)
    await first.settle(promotion(1))
    await first.settle(promotion(2))
    snapshot = first.core.snapshot()
    wanted = await first.settle(feature_row(0))
    second = await started(root, MemoryBus(MemoryServer()))
    second.core.restore(snapshot)
    assert await second.settle(feature_row(0)) == wanted
    # The journal may hold the older promotion still to be replayed: its bundle is there too.
    assert isinstance(await second.effects.perform(effect_of(1)), BundleVerified)


async def test_performing_an_effect_twice_changes_nothing(root, bus):
    service = await started(root, bus)
    first = await service.effects.perform(effect_of(1))
    await bus.put_object(name_of(1), b"changed")
    assert await service.effects.perform(effect_of(1)) == first
    assert isinstance(first, BundleVerified)
    assert first.effect_id == "e"


BROKEN = {
    "missing": None,
    "cut": archive(2, seed=1)[:-10],
    "of a stranger": pack(manifest(version=2), files(1), STRANGER),
    "of another version": archive(3, seed=2),
    "empty": b"",
}


@pytest.mark.parametrize("case", BROKEN)
async def test_a_broken_bundle_leaves_nothing_behind_and_the_champion_goes_on(root, bus, case):
    service = await started(root, bus)
    await service.settle(promotion(1))
    if BROKEN[case] is None:
        del bus.server.objects[name_of(2)]
    else:
        bus.server.objects[name_of(2)] = BROKEN[case]
    rejected, alert = await service.settle(promotion(2))
    assert (rejected.version, alert.name) == (2, "model_rejected")
    assert [file.stem for file in (root / "inference" / "bundles").iterdir()] == [sha_of(1)]
    assert (await service.settle(feature_row(0)))[0].version == 1
    assert b"tickwire_inference_bundles_rejected_total 1.0" in service.metrics.render()
    assert b'tickwire_inference_model_version{symbol="EURUSD"} 1.0' in service.metrics.render()


@pytest.mark.parametrize("changes", [{"symbol": "GBPUSD"}, {"name": "other"}, {"version": 9}])
async def test_a_sound_bundle_under_another_name_is_refused(root, bus, changes):
    service = await started(root, bus)
    result = await service.effects.perform(effect_of(1, **changes))
    assert isinstance(result, BundleBroken)
    assert "direction-EURUSD v1 for EURUSD" in result.reason


async def test_a_bus_that_fails_is_asked_again_but_not_forever(root, bus):
    flaky = FlakyBus(bus, [ConnectionResetError("gone"), None])
    service = await started(root, flaky)
    assert isinstance(await service.effects.perform(effect_of(1)), BundleVerified)
    assert flaky.calls == 3
    flaky.failures = [ConnectionResetError("gone")] * 5
    result = await service.effects.perform(effect_of(2))
    assert isinstance(result, BundleBroken)
    assert "3 tries: gone" in result.reason
    assert flaky.calls == 6


async def test_a_missing_object_is_not_asked_for_again(root, bus):
    flaky = FlakyBus(MemoryBus(MemoryServer()), [])
    service = await started(root, flaky)
    assert isinstance(await service.effects.perform(effect_of(1)), BundleBroken)
    assert flaky.calls == 1


async def test_a_damaged_copy_is_thrown_away_and_fetched_anew(root, bus):
    first = await started(root, bus)
    await first.settle(promotion(1))
    kept = root / "inference" / "bundles" / f"{sha_of(1)}.bundle"
    content = bytearray(kept.read_bytes())
    content[1_000] ^= 1
    kept.write_bytes(content)
    (kept.parent / "half.tmp").write_bytes(b"half")
    second = await started(root, bus)
    second.core.restore(first.core.snapshot())
    assert list(kept.parent.iterdir()) == []
    assert kinds(await second.settle(feature_row(0))) == ["Alert", "ModelLoaded"]
    assert kinds(await second.settle(feature_row(1))) == ["Prediction"]
    assert kept.read_bytes() == archive(1)


async def test_a_full_disk_rejects_the_model_and_leaves_nothing_half_written(root, bus, monkeypatch):
    service = await started(root, bus)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shell_module.os, "fsync", full)
    rejected, _ = await service.settle(promotion(1))
    assert "No space left" in rejected.reason
    assert "Make room" in rejected.reason
    assert list((root / "inference" / "bundles").iterdir()) == []
    monkeypatch.undo()
    assert kinds(await service.settle(promotion(1))) == ["ModelLoaded"]


async def test_old_bundles_go_but_never_one_in_use(root, bus):
    service = await started(root, bus)
    folder = root / "inference" / "bundles"
    for version in range(1, 9):
        await service.settle(promotion(version))
        for age, file in enumerate(sorted(folder.iterdir(), key=lambda found: found.stat().st_mtime_ns)):
            os.utime(file, ns=(age, age))  # as if a day had passed, in the same order
    kept = {file.stem for file in folder.iterdir()}
    assert {sha_of(8, seed=7), sha_of(7, seed=6)} <= kept
    assert len(kept) <= 2 + CONFIG.keep_bundles
    assert sha_of(1) not in kept


@pytest.mark.parametrize("content", [None, b"short"])
async def test_without_the_trainers_key_nothing_starts(root, bus, content):
    key = root / "keys" / "trainer.pub"
    key.unlink()
    if content is not None:
        key.write_bytes(content)
    with pytest.raises(ConfigError, match=r"trainer\.pub"):
        await started(root, bus)


async def test_the_loop_keeps_turning_while_a_bundle_is_verified(root, bus, monkeypatch):
    """The checks run in a thread: the loop hears of time passing meanwhile."""
    service = await started(root, bus)
    turning = asyncio.Event()
    loop = asyncio.get_running_loop()
    real = shell_module.verified_model

    def slow(*arguments):
        # Waits, in the thread, for the loop to turn; on the loop it would wait in vain.
        assert asyncio.run_coroutine_threadsafe(turning.wait(), loop).result(timeout=5)
        return real(*arguments)

    monkeypatch.setattr(shell_module, "verified_model", slow)
    loop.call_later(0.05, turning.set)
    assert isinstance(await service.effects.perform(effect_of(1)), BundleVerified)


async def test_predictions_are_counted_by_symbol_and_side(root, bus):
    service = await started(root, bus)
    await service.settle(promotion(1))
    for i in range(5):
        await service.settle(feature_row(i))
    lines = [line for line in service.metrics.render().decode().splitlines() if "predictions_total{" in line]
    assert sum(float(line.rpartition(" ")[2]) for line in lines) == 5.0
    assert all('symbol="EURUSD"' in line for line in lines)
