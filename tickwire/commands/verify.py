"""``tickwire verify``: proves that a recorded session and the backtest decide the same."""

import hashlib
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.markup import escape
from rich.table import Table

from backtest.verify import Verdict
from backtest.verify import verify as compare
from backtest.wiring import build_cores
from libs.common.runtime.main import code_version
from libs.common.signing import Signer
from libs.common.storage.keys import AUDITOR, ensure_signer, read_key
from services.inference.library import ModelLibrary
from tickwire.console import out
from tickwire.recorded_session import BundleLoader, data_sha256, newest_session, read_session, sections_of

CERTIFICATE = "certificate.json"

app = typer.Typer(add_completion=False)
APPS = {"verify": app}


class Certificate(msgspec.Struct, kw_only=True):
    """What was compared with what, and how it came out.

    Parameters
    ----------
    config_sha256 : of the configuration the replay used
    data_sha256 : of the session's ticks
    public_key, signature : Ed25519 over this certificate with an empty signature, hex
    """

    session: str
    made_at: str
    code_version: str
    config_sha256: str
    data_sha256: str
    identical: bool
    verdict: Verdict
    public_key: str = ""
    signature: str = ""


@app.command()
def verify(
    run: Annotated[
        Path | None,
        typer.Argument(help="Folder of a session, as `tickwire demo --lockstep` wrote it; default: the newest in runs."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="Replay with this configuration instead of the session's own.")
    ] = None,
) -> None:
    """Replay a recorded lockstep session through the backtest and compare every message."""
    began_s = time.perf_counter()
    run = run or newest_session(Path("runs"))
    session = read_session(run)
    used = run / "config.yaml" if config is None else config
    sections = session.sections if config is None else sections_of(config)
    library = ModelLibrary()
    cores = build_cores(sections, library=library)
    loader = BundleLoader(library, session.bundles, session.verifier)
    verdict = compare(sections, cores, session.blocks, session.events, session.said, loader)
    certificate = Certificate(
        session=str(run), made_at=datetime.now(UTC).isoformat(timespec="seconds"), code_version=code_version(),
        config_sha256=hashlib.sha256(used.read_bytes()).hexdigest(), data_sha256=data_sha256(session.blocks),
        identical=verdict.identical, verdict=verdict,
    )
    write_certificate(run, certificate)
    _show(verdict, time.perf_counter() - began_s, run / CERTIFICATE)
    raise typer.Exit(0 if verdict.identical else 1)


def write_certificate(run: Path, certificate: Certificate) -> None:
    """Sign a certificate with the session's own key and write it, whole or not at all."""
    ensure_signer(run / "state", AUDITOR)
    signer = Signer(read_key(run / "state", f"{AUDITOR}.key"))
    certificate.public_key = signer.public_bytes.hex()
    certificate.signature = signer.sign(msgspec.json.encode(certificate))
    temporary = run / f"{CERTIFICATE}.tmp"
    temporary.write_bytes(msgspec.json.format(msgspec.json.encode(certificate), indent=2) + b"\n")
    temporary.replace(run / CERTIFICATE)


def _show(verdict: Verdict, taken_s: float, file: Path) -> None:
    table = Table(title=f"{verdict.ticks:,} ticks, {verdict.steps:,} steps, replayed in {taken_s:.1f} s")
    table.add_column("message")
    table.add_column("compared", justify="right")
    for kind, count in sorted(verdict.compared.items()):
        table.add_row(kind, f"{count:,}")
    out.print(table)
    found = verdict.difference
    if found is None:
        out.print("[green]identical[/green]: the session and the backtest decide the same")
    else:
        when = datetime.fromtimestamp(found.ts_event_ns / 1e9, UTC).isoformat()
        what = f"field {found.field}" if found.field else "one of them is silent"
        out.print(
            f"[red]different[/red], beginning with [bold]{found.cause}[/bold]: "
            + escape(
                f"step {found.step}, {when}, {found.subject} message {found.number}, {what}: "
                f"recorded {found.recorded}, replayed {found.replayed}"
            )
        )
    out.print(f"certificate: {file}", style="dim", markup=False)
