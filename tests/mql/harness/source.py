"""Preprocessor lines of MQL5: includes are put in place, what C++ does not know is taken out."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from tests.mql.harness.tokens import Token, read_source, tokenize

_DIRECTIVE = re.compile(r"[ \t]*#[ \t]*(\w+)[ \t]*(.*)")
_STRING = re.compile(r'"(?:\\.|[^"\\\n])*"')


class SourceError(Exception):
    """The source cannot be translated; names file and line."""


@dataclass
class Source:
    """A program with everything it includes, as one run of tokens."""

    path: Path
    include_folders: tuple[Path, ...]
    tokens: list[Token] = field(default_factory=list)
    properties: dict[str, str] = field(default_factory=dict)
    defines: list[str] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def load(path: Path, include_folders: tuple[Path, ...]) -> Source:
    """Read a program and what it includes.

    Raises
    ------
    SourceError : a file is missing, or a directive has no counterpart here
    """
    source = Source(path.resolve(), include_folders)
    _load(source, source.path)
    return source


def _load(source: Source, path: Path) -> None:
    source.files.append(path)
    text = re.sub(r"/\*.*?\*/", lambda m: "\n" * m.group().count("\n") or " ", read_source(path), flags=re.DOTALL)
    lines = text.split("\n")
    _place(source, path, 1)
    pending: list[str] = []
    number = 1
    while number <= len(lines):
        match = _DIRECTIVE.match(lines[number - 1])
        if match is None:
            pending.append(lines[number - 1])
            number += 1
            continue
        if pending:
            source.tokens += tokenize("\n".join(pending) + "\n", path.name, number - len(pending))
            pending = []
        rest, first = match.group(2), number
        while rest.endswith("\\"):
            number += 1
            rest = rest[:-1] + " " + lines[number - 1]
        _directive(source, path, first, match.group(1), re.sub(r"[ \t]*//[^\"]*$", "", rest).strip())
        number += 1
        _place(source, path, number)
    source.tokens += tokenize("\n".join(pending) + "\n", path.name, number - len(pending))


def _place(source: Source, path: Path, line: int) -> None:
    source.tokens.append(Token("directive", f'\n#line {line} "{path.name}"\n', line, path.name))


def _directive(source: Source, path: Path, line: int, word: str, rest: str) -> None:
    where = f"{path.name}:{line}"
    if word == "property":
        name, _, value = rest.partition(" ")
        source.properties[name] = value.strip().strip('"')
    elif word == "include":
        _include(source, path, where, rest)
    elif word in ("import", "resource"):
        raise SourceError(f"{where}: #{word} is not known to this harness")
    elif word == "define":
        text = "#define " + _STRING.sub(lambda m: m.group() + "_ms", rest)
        if len(rest.split(None, 1)) > 1:
            source.defines.append(text)
        source.tokens.append(Token("directive", f"\n{text}\n", line, path.name))
    elif word in ("ifdef", "ifndef", "else", "endif", "undef"):
        source.tokens.append(Token("directive", f"\n#{word} {rest}\n", line, path.name))
    else:
        source.problems.append(f"{where}: MQL5 knows no #{word}")


def _include(source: Source, path: Path, where: str, rest: str) -> None:
    match = re.match(r'([<"])([^>"]+)[>"]', rest)
    if match is None:
        raise SourceError(f"{where}: #include of what?")
    name = match.group(2).replace("\\", "/")
    folders = ([path.parent] if match.group(1) == '"' else []) + list(source.include_folders)
    for folder in folders:
        # Where the disk minds upper and lower case, a wrong case shows here and not on the user's machine.
        if (folder / name).is_file():
            if (folder / name).resolve() not in source.files:
                _load(source, (folder / name).resolve())
            return
    raise SourceError(f"{where}: {name} is in none of {', '.join(str(folder) for folder in folders)}")
