"""Puts a page together: values as JSON, the style, the script that draws them."""

import html
import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
"""A browser that keeps to it loads nothing from outside, whatever the page says."""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}</title>
<style>
{style}
</style>
</head>
<body>
<main id="page"><noscript>This page draws itself: allow its own script to run.</noscript></main>
<script type="application/json" id="payload">{payload}</script>
<script>
{script}
</script>
</body>
</html>
"""


def report_html(page: dict[str, Any]) -> str:
    """Return the page of one run (``backtest.report.page_of``)."""
    facts = page["facts"]
    return _html(f"{facts['title']} on {', '.join(facts['symbols'])}", page)


def compare_html(page: dict[str, Any]) -> str:
    """Return the page of two runs side by side (``backtest.compare.comparison``)."""
    return _html(f"{page['a']['name']} and {page['b']['name']}", page)


def embedded(page: dict[str, Any]) -> str:
    """Return values as JSON that no HTML parser takes for anything but text.

    >>> embedded({"name": "</script>"})
    '{"name":"\\\\u003c/script\\\\u003e"}'
    """
    plain = json.dumps(page, separators=(",", ":"), allow_nan=False)
    return plain.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _html(title: str, page: dict[str, Any]) -> str:
    return _PAGE.format(
        policy=html.escape(POLICY), title=html.escape(title), payload=embedded(page),
        style=(FOLDER / "report.css").read_text(encoding="utf-8"),
        script="\n".join(
            (FOLDER / name).read_text(encoding="utf-8") for name in ("paint.js", "report.js", "compare.js", "start.js")
        ),
    )  # fmt: skip
