"""``/metrics``, ``/healthz`` and ``/readyz`` of a service, on loopback unless told otherwise."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
from aiohttp import web

from libs.common.runtime.metrics import Metrics


class HealthServer:
    """A small HTTP server beside the service.

    Parameters
    ----------
    metrics : what ``/metrics`` renders
    alive, ready : asked by ``/healthz`` and ``/readyz``; an empty text means yes, else it says why not
    """

    def __init__(self, metrics: Metrics, alive: Callable[[], str], ready: Callable[[], str]) -> None:
        self._metrics, self._alive, self._ready = metrics, alive, ready
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self, host: str, port: int, note: Path) -> None:
        """Listen, and write the port to ``note`` for those who look for it."""
        app = web.Application()
        app.router.add_get("/metrics", self._answer_metrics)
        app.router.add_get("/healthz", self._probe(self._alive))
        app.router.add_get("/readyz", self._probe(self._ready))
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        _write(note, msgspec.json.encode({"host": host, "port": self.port}))

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer_metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=self._metrics.render(), content_type="text/plain", charset="utf-8")

    def _probe(self, why_not: Callable[[], str]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def answer(_: web.Request) -> web.StreamResponse:
            problem = why_not()
            return web.Response(text=problem or "ok", status=503 if problem else 200)

        return answer


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
