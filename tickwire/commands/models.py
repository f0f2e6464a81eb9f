"""``tickwire models``: what was trained, what serves, a person's word on it, and models of a person's own."""

import asyncio
import getpass
import time
import uuid
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from libs.common import subjects
from libs.common.errors import ArtifactError, ConfigError
from libs.common.messages.control import AdoptModel, PromoteModel, Severity
from libs.common.models.bundle import Bundle, unpack
from libs.common.signing import Signer, Verifier
from libs.common.storage.keys import read_key
from services.inference.effects import object_name_of
from tickwire.connect import DataDirOption, PasswordOption, Target, UrlOption, connected, find_target
from tickwire.console import out, print_error, print_json
from tickwire.models_history import PATTERN, ModelHistory
from tickwire.tail_format import clock

group = typer.Typer(name="models", help="List models, promote, roll back; pack and adopt your own.", add_completion=False)
group.info.no_args_is_help = True
APPS = {"models": group}
CONFIRM_WITHIN_S = 10.0

NameArgument = Annotated[str, typer.Argument(help="Model name, e.g. direction-EURUSD.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@group.command(name="list")
def list_models(
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
    url: UrlOption = "",
    password: PasswordOption = "",
) -> None:
    """List every version of every model with its state and figures."""
    history = asyncio.run(_history(find_target(data_dir, url, password)))
    rows = list(history.rows())
    if as_json:
        print_json(rows)
        return
    table = Table("model", "version", "symbol", "state", "loaded", "decided", "metrics", box=None, pad_edge=False)
    for row in rows:
        metrics = " ".join(f"{key}={value:.4g}" for key, value in sorted(row["metrics"].items()))
        state = "champion" if row["champion"] else row["state"]
        table.add_row(
            row["name"], str(row["version"]), row["symbol"],
            Text(state, style="bold green" if row["champion"] else "default"),
            "yes" if row["in_service"] else "no", clock(row["changed_ns"]),
            Text(" ".join(filter(None, (metrics, row["reason"]))), style="dim"),
        )
    out.print(table if rows else "no model was published yet")


@group.command()
def promote(
    name: NameArgument,
    version: Annotated[int, typer.Argument(min=1, help="Version to make the champion.")],
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
    url: UrlOption = "",
    password: PasswordOption = "",
) -> None:
    """Make a stored version the champion."""
    target = find_target(data_dir, url, password)
    history = asyncio.run(_history(target))
    if (name, version) not in history.versions:
        known = ", ".join(f"{held} {number}" for held, number in sorted(history.versions)) or "none"
        raise ConfigError(f"no model {name} version {version}; known: {known}")
    _promote(target, name, version, rollback=False, as_json=as_json)


@group.command()
def rollback(
    name: NameArgument,
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
    url: UrlOption = "",
    password: PasswordOption = "",
) -> None:
    """Go back to the champion before the present one."""
    target = find_target(data_dir, url, password)
    history = asyncio.run(_history(target))
    if name not in history.promotions:
        known = ", ".join(sorted(history.promotions)) or "none"
        raise ConfigError(f"no model {name} was ever promoted; promoted so far: {known}")
    previous = history.previous(name)
    if previous is None:
        raise ConfigError(f"{name}: no other version was champion before, there is nothing to go back to")
    _promote(target, name, previous, rollback=True, as_json=as_json)


@group.command(name="pack")
def pack_model(
    model: Annotated[Path, typer.Argument(help="Your model, model.onnx.")],
    about: Annotated[Path, typer.Argument(help="What it is, YAML or JSON; docs/models.md explains the fields.")],
    golden: Annotated[Path, typer.Argument(help="Rows with the probabilities it gave them where it was trained, JSON.")],
    to: Annotated[Path | None, typer.Option("--out", "-o", help="Bundle to write; default: NAME-VERSION.bundle.")] = None,
    rows: Annotated[Path | None, typer.Option("--rows", help="Its training rows, .npy, so that drift is watched.")] = None,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="Config whose features it was trained on.")] = None,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", help="Data folder with the trainer's key; default: the config's.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a signed bundle of an ONNX model of your own.

    It is checked as inference checks it: one row in, three probabilities out, nothing foreign in the file, and the golden
    rows must come out as you state them.
    """
    from services.features.feature_set import FeatureSet
    from services.features.shell import prepare
    from tickwire.models_pack import pack_onnx, read_about, read_rows
    from tickwire.sections import read_all

    sections = read_all(config)
    prepare(sections["features"])  # families of the user's own
    features = FeatureSet.from_config(sections["features"])
    signer = Signer(read_key(data_dir or Path(sections["system"].data_dir), "trainer.key"))
    described = read_about(about)
    trained_on = read_rows(rows, len(features.names)) if rows is not None else None
    try:
        archive, bundle = pack_onnx(
            model.read_bytes(), golden.read_bytes(), described, features.schema_id, features.names, signer, trained_on,
            sections["trainer"].fit.drift_bins,
        )
        target = to or Path(f"{bundle.manifest.name}-{bundle.manifest.version}.bundle")
        target.write_bytes(archive)
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}") from error
    except ArtifactError as error:
        raise ArtifactError(f"{model}: {error}") from error
    if as_json:
        print_json({"file": str(target), "bundle_sha256": bundle.sha256, "schema_id": features.schema_id})
        return
    out.print(f"{target}: {bundle.manifest.name} version {bundle.manifest.version}, bundle {bundle.sha256}")
    if trained_on is None:
        out.print("Drift will not be watched: name the training rows with --rows to have it watched.")


@group.command()
def adopt(
    bundle: Annotated[Path, typer.Argument(help="Bundle that `tickwire models pack` wrote.")],
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Take a packed model into the running stack: it predicts beside the champion until you promote it.

    Run it where the stack's data folder is: the store takes bundles from the trainer alone.
    """
    target = find_target(data_dir, "", "")
    assert target.data_dir is not None, "a stack found by its folder has one"
    try:
        archive = bundle.read_bytes()
    except OSError as error:
        raise ConfigError(f"{bundle}: {error.strerror}") from error
    try:
        found = unpack(archive, Verifier(read_key(target.data_dir, "trainer.pub")))
    except ArtifactError as error:
        raise ArtifactError(f"{bundle}: {error}; pack it with this stack's key: --data-dir {target.data_dir}") from error
    outcome, words = asyncio.run(_adopt(target, found, archive))
    name, version = found.manifest.name, found.manifest.version
    if as_json:
        print_json({"name": name, "version": version, "bundle_sha256": found.sha256, "outcome": outcome})
    if outcome == "loaded":
        if not as_json:
            out.print(f"{name} version {version} predicts on {subjects.shadow_predictions(found.manifest.symbol)}")
            out.print(f"To let it trade: tickwire models promote {name} {version}")
        return
    problems = {
        "": f"the trainer did not answer within {CONFIRM_WITHIN_S:.0f} s",
        "refused": f"the trainer refused: {words}",
        "rejected": f"inference rejected it: {words}",
    }
    slow = f"taken, but inference did not say within {CONFIRM_WITHIN_S:.0f} s that it loaded it (is max_shadows 0?)"
    print_error(f"{name} version {version}: {problems.get(outcome, slow)}. Look at `tickwire models list`.")
    raise typer.Exit(1)


async def _adopt(target: Target, bundle: Bundle, archive: bytes) -> tuple[str, str]:
    """Put the archive into the store and ask the trainer to take it."""
    manifest, now_ns = bundle.manifest, time.time_ns()
    async with connected(target, "trainer") as bus:
        await bus.put_object(object_name_of(manifest.name, manifest.version, bundle.sha256), archive)
    return await _send(target, AdoptModel(
        ts_event_ns=now_ns, ts_init_ns=now_ns, command_id=uuid.uuid4().hex, issued_by=f"{getpass.getuser()}@tickwire",
        name=manifest.name, version=manifest.version, bundle_sha256=bundle.sha256,
    ))


async def _history(target: Target) -> ModelHistory:
    history = ModelHistory()
    async with connected(target, "observer") as bus:
        await history.load(bus)
    return history


def _promote(target: Target, name: str, version: int, *, rollback: bool, as_json: bool) -> None:
    now_ns = time.time_ns()
    command = PromoteModel(
        ts_event_ns=now_ns, ts_init_ns=now_ns, command_id=uuid.uuid4().hex,
        issued_by=f"{getpass.getuser()}@tickwire", name=name, version=version, rollback=rollback,
    )
    outcome, words = asyncio.run(_send(target, command))
    if as_json:
        print_json({"name": name, "version": version, "rollback": rollback, "outcome": outcome})
    if outcome == "loaded":
        if not as_json:
            out.print(f"{name} version {version} is the champion, inference predicts with it")
        return
    problems = {
        "": f"the trainer did not answer within {CONFIRM_WITHIN_S:.0f} s",
        "promoted": f"promoted, but inference did not say within {CONFIRM_WITHIN_S:.0f} s that it loaded it",
        "rejected": "promoted, but inference rejected the bundle and keeps the old one",
        "refused": f"the trainer refused: {words}",
    }
    print_error(f"{name} version {version}: {problems.get(outcome, outcome)}. Look at `tickwire models list`.")
    raise typer.Exit(1)


async def _send(target: Target, command: PromoteModel | AdoptModel) -> tuple[str, str]:
    """Publish the command; return how far it came ("", "published", "shadowed", "promoted", "loaded", "rejected",
    "refused"), and what the trainer or inference says of it.
    """
    stage = words = ""
    finished = asyncio.Event()
    prefix = subjects.models(command.name, "")

    def heard(subject: str, payload: bytes) -> None:
        nonlocal stage, words
        probe = ModelHistory()
        probe.hear(subject, payload)
        state = probe.versions.get((command.name, command.version))
        if not subject.startswith(prefix) or state is None:
            return
        event = subject.removeprefix(prefix)
        if event in ("published", "shadowed", "promoted", "loaded", "rejected"):
            stage, words = event, state.reason
        if event in ("loaded", "rejected"):
            finished.set()

    def alarmed(_: str, payload: bytes) -> None:
        nonlocal stage, words
        told = msgspec.json.decode(payload)
        if told["name"] in ("promote_refused", "adopt_refused") and command.name in told["detail"] and not stage:
            stage, words = "refused", told["detail"]
            finished.set()

    async with connected(target, "operator") as bus:
        await bus.on_message(PATTERN, heard)
        await bus.on_message(subjects.alerts(Severity.WARNING), alarmed)
        await bus.publish(command)
        try:
            await asyncio.wait_for(finished.wait(), CONFIRM_WITHIN_S)
        except TimeoutError:
            return stage, words
    return stage, words
