"""The table of checks in the README is the table of checks in the code."""

from pathlib import Path

from services.risk.checks import CHECKS
from services.risk.config import RiskConfig

README = Path(__file__).parents[3] / "services" / "risk" / "README.md"


def rows() -> list[list[str]]:
    lines = [line for line in README.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.count("|") == 7]


def test_the_table_names_every_check_in_order_with_its_unit_and_whether_it_binds_reducing_orders() -> None:
    told = [(row[0].strip("`"), row[2], row[5]) for row in rows()]
    assert told == [(check.reason.value, check.unit, "yes" if check.for_reduce else "no") for check in CHECKS]


def test_every_limit_of_the_config_is_told_with_its_default() -> None:
    text = README.read_text(encoding="utf-8")
    for name, value in ((name, getattr(RiskConfig(), name)) for name in RiskConfig.__struct_fields__):
        assert f"`{name}" in text, name
        if isinstance(value, int | float) and not isinstance(value, bool):
            place = text.index(f"`{name}")
            assert f"{value:,g}" in text[place : place + 400], f"{name} = {value}"
