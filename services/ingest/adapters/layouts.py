"""Which table a text file holds: MetaTrader's exports, HistData, TrueFX, or plain named columns."""

import re
from pathlib import Path

import msgspec

from libs.common.errors import DataError
from services.ingest.adapters.columns import ASK_BAR, BID_BAR, EXPECTED, kind_of, known_columns, named_twice
from services.ingest.adapters.text import first_lines
from services.ingest.adapters.time_text import ACCEPTED, TimeText, guess_time

_SEPARATORS = ("\t", ";", ",")


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """How to read one text file.

    Parameters
    ----------
    name : what people call the format
    kind : ``ticks`` or ``bars``
    separator : between cells
    header_lines : lines before the data
    names : what the file calls its columns, in order
    columns : our name -> index
    numbers : indices of the columns that hold numbers
    blanks : indices of those that may be empty
    quoted : cells stand in double quotes
    pair : index of the column that names the symbol, which must be the same in every line; ``None`` without one
    pair_name : what it says in the first line
    time : how the time is written
    zone : clock of the times unless the text or the caller says otherwise
    """

    name: str
    kind: str
    separator: str
    header_lines: int
    names: tuple[str, ...]
    columns: dict[str, int]
    numbers: tuple[int, ...]
    blanks: tuple[int, ...]
    quoted: bool
    pair: int | None
    pair_name: str
    time: TimeText
    zone: str


class _Headerless(msgspec.Struct, frozen=True, kw_only=True):
    """A format that is known by the look of its first line."""

    name: str
    pattern: re.Pattern[str]
    separator: str
    names: tuple[str, ...]
    zone: str


_HEADERLESS = (
    _Headerless(
        name="HistData ticks", pattern=re.compile(r"\d{8} \d{9},"), separator=",",
        names=("time", "bid", "ask", "volume"), zone="America/New_York",
    ),
    _Headerless(
        name="HistData bars", pattern=re.compile(r"\d{8} \d{6};"), separator=";",
        names=("time", "open", "high", "low", "close", "volume"), zone="America/New_York",
    ),
    _Headerless(
        name="TrueFX ticks", pattern=re.compile(r"[A-Z]{3}/[A-Z]{3},\d{8} "), separator=",",
        names=("pair", "time", "bid", "ask"), zone="UTC",
    ),
)  # fmt: skip
_METATRADER_ZONE = "NY+7"


def find_layout(path: Path) -> Layout:
    """Look at the first lines of a text file and return its layout.

    Raises
    ------
    DataError : when it is not a table of ticks or bars
    """
    empty, lines = first_lines(path)
    for known in _HEADERLESS:
        if known.pattern.match(lines[0]):
            return _layout(
                path, known.name, known.separator, known.names, lines[0], known.zone, above=empty, has_header=False
            )
    separator = max(_SEPARATORS, key=lines[0].count)
    names = tuple(cell.strip().strip('"') for cell in lines[0].split(separator))
    if not re.search(r"[A-Za-z<]", lines[0]):
        raise DataError(
            str(path), f"no header line names the columns and the first line fits no known format: {lines[0][:80]!r}",
            line=empty + 1, remedy="Put a line such as time,bid,ask on top",
        )  # fmt: skip
    # A separator at the end of every line makes a last column without a name.
    metatrader = all(name.startswith("<") and name.endswith(">") for name in names if name)
    if kind_of(known_columns(list(names))) is None:
        raise DataError(
            str(path), f"the columns {', '.join(names)[:160]} are neither ticks nor bars; {EXPECTED}", line=empty + 1,
            remedy="Rename or add the columns",
        )  # fmt: skip
    if twice := named_twice(list(names)):
        raise DataError(
            str(path), f"column {twice} is there twice", line=empty + 1, remedy="Drop or rename one of them"
        )
    if len(lines) < 2:
        raise DataError(str(path), "the file holds a header and no data", line=empty + 1, remedy="Export it again")
    zone = _METATRADER_ZONE if metatrader else "UTC"
    return _layout(
        path, "MT5" if metatrader else "plain", separator, names, lines[1], zone, above=empty, has_header=True
    )


def _layout(
    path: Path, name: str, separator: str, names: tuple[str, ...], first: str, zone: str, *,
    above: int, has_header: bool,
) -> Layout:  # fmt: skip
    line = 1 + above + has_header
    quoted = '"' in first
    cells = (first.replace('"', "") if quoted else first).split(separator)
    if len(cells) != len(names):
        raise DataError(
            str(path), f"{len(cells)} columns, the layout ({', '.join(names)}) has {len(names)}: {cells!r}"[:300],
            line=line, remedy="Mend or delete the line",
        )  # fmt: skip
    columns = known_columns(list(names))
    kind = kind_of(columns)
    assert kind is not None
    time = guess_time(cells, columns)
    if time is None:
        raise DataError(str(path), f"the time in {cells!r} cannot be read"[:300], line=line, remedy=ACCEPTED)
    metatrader = name == "MT5"
    used = (*BID_BAR, *ASK_BAR, "spread") if kind == "bars" else ("bid", "ask", "last", "volume", "flags")
    numbers = [columns[column] for column in used if column in columns]
    if metatrader:
        # Every other cell of an export is a number too: a torn line shows there first.
        numbers = [index for index in range(len(names)) if index not in time.columns and names[index]]
    optional = ("last", "volume", "flags", "spread", *(("bid", "ask") if metatrader else ()))
    pair = columns.get("pair")
    return Layout(
        name=f"{name} {kind}" if has_header else name, kind=kind, separator=separator, header_lines=above + has_header,
        names=names, columns=columns, numbers=tuple(numbers),
        blanks=tuple(columns[column] for column in optional if column in columns), quoted=quoted,
        pair=pair, pair_name="" if pair is None else cells[pair], time=time, zone=zone,
    )  # fmt: skip
