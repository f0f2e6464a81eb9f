"""MQL5 source text as tokens."""

import re
from dataclasses import dataclass
from pathlib import Path

_TOKEN = re.compile(
    r"""
      (?P<newline>\n)
    | (?P<space>[ \t\r\f\v\ufeff]+)
    | (?P<comment>//[^\n]*|/\*.*?\*/)
    | (?P<literal>[DCB]'[^'\n]*')
    | (?P<text>"(?:\\.|[^"\\\n])*")
    | (?P<char>'(?:\\.|[^'\\\n])*')
    | (?P<number>0[xX][0-9a-fA-F]+[uUlL]*|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?[fFuUlL]*)
    | (?P<name>[A-Za-z_]\w*)
    | (?P<op>::|->|\+\+|--|<<=|>>=|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^]=|.)
    """,
    re.VERBOSE | re.DOTALL,
)
BLANK = frozenset({"newline", "space", "directive"})


@dataclass(slots=True)
class Token:
    """One token; ``kind`` is a group of the pattern above, or ``directive`` (a whole preprocessor line)."""

    kind: str
    text: str
    line: int
    file: str


def read_source(path: Path) -> str:
    """Return a source file's text: UTF-8 with or without mark, or UTF-16 as MetaEditor writes it."""
    raw = path.read_bytes()
    encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    return raw.decode(encoding).replace("\r\n", "\n")


def tokenize(text: str, file: str, line: int = 1) -> list[Token]:
    """Split text into tokens; comments go, their line breaks stay.

    >>> [token.text for token in tokenize("a.b=1.5;", "x")]
    ['a', '.', 'b', '=', '1.5', ';']
    """
    found, position = [], 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        assert match is not None
        kind, piece = str(match.lastgroup), match.group()
        if kind == "comment":
            found += [Token("newline", "\n", line + n, file) for n in range(piece.count("\n"))]
            found.append(Token("space", " ", line + piece.count("\n"), file))
        else:
            found.append(Token(kind, piece, line, file))
        line += piece.count("\n")
        position = match.end()
    return found
