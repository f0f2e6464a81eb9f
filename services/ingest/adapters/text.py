"""Text tables in whole lines: encodings, line numbers, and files that are something else altogether."""

import codecs
from collections.abc import Iterator
from pathlib import Path

from libs.common.errors import DataError

BLOCK_BYTES = 4_000_000
_SNIFF_BYTES = 65_536
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_ARCHIVES = {b"PK\x03\x04": "a zip archive", b"\x1f\x8b": "a gzip archive", b"7z\xbc\xaf": "a 7z archive"}


def first_lines(path: Path, count: int = 3) -> tuple[int, list[str]]:
    """Return how many empty lines come first, and the first lines that are not empty, without their line ends.

    Raises
    ------
    DataError : when the file is empty, or not a text table
    """
    with path.open("rb") as file:
        head = file.read(_SNIFF_BYTES)
    if not head.strip(b"\xef\xbb\xbf\xff\xfe\x00 \t\r\n"):
        raise DataError(str(path), "the file is empty", remedy="Export it again")
    _refuse_other_kinds(path, head)
    lines = _decode_head(path, head).replace("\r\n", "\n").split("\n")
    filled = [number for number, line in enumerate(lines) if line.strip()]
    return filled[0], [lines[number] for number in filled[:count]]


def _refuse_other_kinds(path: Path, head: bytes) -> None:
    for magic, name in _ARCHIVES.items():
        if head.startswith(magic):
            raise DataError(str(path), f"this is {name}, not a table", remedy="Unpack it and name the file inside")
    if head.startswith(_UTF16):
        return
    if b"\x00" in head:
        raise DataError(
            str(path), "this is a binary file of no kind we read",
            remedy="Use Parquet or CSV; from MetaTrader: Symbols, Bars or Ticks, Export",
        )  # fmt: skip
    start = head.lstrip(codecs.BOM_UTF8).lstrip()[:2_000].lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        statement = b"statement" in start or b"metaquotes" in start or b"metatrader" in start
        what = "an account statement, not ticks or bars" if statement else "a web page, not ticks or bars"
        raise DataError(
            str(path), f"this is {what}",
            remedy="Export prices instead: in MetaTrader open Symbols, choose Bars or Ticks, then Export",
        )  # fmt: skip


def _decode_head(path: Path, head: bytes) -> str:
    encoding = "utf-16" if head.startswith(_UTF16) else "utf-8-sig"
    text = codecs.getincrementaldecoder(encoding)("replace").decode(head)
    if "\n" not in text and "\r" in text:
        raise DataError(
            str(path), "its lines end in a carriage return alone, as on old Macs",
            remedy="Save it with line feeds, or with both, at the ends of its lines",
        )  # fmt: skip
    if "\n" not in text and len(head) == _SNIFF_BYTES:
        raise DataError(
            str(path), f"no line ends within the first {_SNIFF_BYTES} bytes, so this is no table of lines",
            remedy="Use Parquet or CSV with one tick or bar per line",
        )  # fmt: skip
    return text


def line_blocks(path: Path, header_lines: int) -> Iterator[tuple[int, bytes]]:
    """Yield (number of its first line, whole lines as UTF-8 with ``\\n`` ends), header left out.

    Blank lines at the end of the file are left out as well; anywhere else they are kept for the parser to refuse.

    Raises
    ------
    DataError : when a line is longer than a block
    """
    line = 1
    rest = b""
    skip = header_lines
    blanks = b""
    for piece in _pieces(path):
        whole, separator, tail = (rest + piece).rpartition(b"\n")
        if not separator:
            if len(tail) > BLOCK_BYTES:
                raise DataError(
                    str(path), f"a line is longer than {BLOCK_BYTES} bytes", line=line, remedy="Mend or delete the line"
                )
            rest = tail
            continue
        rest = tail
        block = whole + b"\n"
        if skip:
            block, skip, line = _drop_lines(block, skip, line)
        # Blank lines are held back until something follows: at the end of a file they mean nothing.
        block = blanks + block
        stripped = block.rstrip(b"\n")
        blanks = block[len(stripped) + 1 :] if stripped else block
        if stripped:
            body = stripped + b"\n"
            yield line, body
            line += body.count(b"\n")
    last = blanks + rest
    if skip:
        last, skip, line = _drop_lines(last, skip, line)
    if last.strip(b"\n"):
        yield line, last.rstrip(b"\n") + b"\n"


def _drop_lines(block: bytes, count: int, line: int) -> tuple[bytes, int, int]:
    while count and block:
        _, separator, block = block.partition(b"\n")
        count -= 1
        line += 1 if separator else 0
    return block, count, line


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        start = file.read(3)
    if start.startswith(_UTF16):
        with path.open("r", encoding="utf-16", newline="") as text:
            while part := text.read(BLOCK_BYTES // 2):
                yield part.encode().replace(b"\r\n", b"\n")
        return
    with path.open("rb") as file:
        if start.startswith(codecs.BOM_UTF8):
            file.seek(len(codecs.BOM_UTF8))
        while piece := file.read(BLOCK_BYTES):
            # A line end may be cut between two reads.
            if piece.endswith(b"\r"):
                piece += file.read(1)
            yield piece.replace(b"\r\n", b"\n")
