"""From MQL5 to C++: what the shim's types and macros cannot do is done here on the tokens.

Member access is the heart of it. MQL5 writes ``a.b`` for objects and pointers alike. Every ``.`` becomes ``->``, and
every class and structure is given an ``operator->`` that returns itself: no types need to be known.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

from tests.mql.harness.lint import lint
from tests.mql.harness.source import Source, SourceError, load
from tests.mql.harness.tokens import BLANK, Token

_BUILTIN = frozenset(
    [
        "bool",
        "char",
        "uchar",
        "short",
        "ushort",
        "int",
        "uint",
        "long",
        "ulong",
        "float",
        "double",
        "string",
        "datetime",
        "color",
        "void",
    ]
)
_STATEMENT_WORDS = frozenset(["static", "const"])
_EVENTS = {
    "OnInit": "init",
    "OnDeinit": "deinit",
    "OnTick": "tick",
    "OnTimer": "timer",
    "OnTrade": "trade",
    "OnTradeTransaction": "transaction",
    "OnBookEvent": "book",
    "OnChartEvent": "chart",
    "OnStart": "start",
}
_PROTOTYPE = re.compile(r"^[A-Za-z_][\w ]*?[ *&]+([A-Za-z_]\w*)\s*\(")


@dataclass
class Program:
    """A translated program."""

    code: str
    problems: list[str]
    properties: dict[str, str]
    inputs: list[tuple[str, str]]
    files: list[Path] = field(default_factory=list)


def translate(path: Path, include_folders: tuple[Path, ...]) -> Program:
    """Translate a program and everything it includes into one C++ text.

    Raises
    ------
    SourceError : with file and line
    """
    source = load(path, include_folders)
    return _Translator(source).program()


class _Translator:
    def __init__(self, source: Source) -> None:
        self._source = source
        self._tokens = source.tokens
        self._inputs: list[tuple[str, str]] = []
        self._prototypes: list[str] = []
        self._forward: list[str] = []
        self._enums: list[str] = []
        self._handlers: dict[str, bool] = {}
        self._structures, self._types = self._collect_types()

    def program(self) -> Program:
        problems = self._source.problems + lint(self._tokens, self._structures)
        body = self._emit(0, len(self._tokens), 0)
        head = ['#include "mql.hpp"', *self._source.defines, "namespace program {", *self._enums, *self._forward]
        code = "\n".join([*head, *self._prototypes, body, "}", '#line 1 "harness"', self._main(), ""])
        return Program(code, problems, self._source.properties, self._inputs, self._source.files)

    def _main(self) -> str:
        calls = {
            "init": "[](){ return (int)program::OnInit(); }"
            if self._handlers.get("OnInit")
            else "[](){ program::OnInit(); return 0; }",
            "deinit": "[](int r){ program::OnDeinit(r); }",
            "transaction": "[](const MqlTradeTransaction& t, const MqlTradeRequest& q, const MqlTradeResult& r)"
            "{ program::OnTradeTransaction(t, q, r); }",
            "book": "[](const string& s){ program::OnBookEvent(s); }",
            "chart": "[](int i, const long& l, const double& d, const string& s){ program::OnChartEvent(i, l, d, s); }",
        }
        lines = [
            f"  on.{event} = {calls.get(event, f'[](){{ program::{name}(); }}')};"
            for name, event in _EVENTS.items()
            if name in self._handlers
        ]
        return "\n".join(["int main()", "{", "  mql::Handlers on;", *lines, "  return mql::run(on);", "}"])

    # ---- looking around

    def _next(self, index: int) -> int:
        index += 1
        while index < len(self._tokens) and self._tokens[index].kind in BLANK:
            index += 1
        return index

    def _previous(self, index: int) -> str:
        index -= 1
        while index >= 0 and self._tokens[index].kind in BLANK:
            index -= 1
        return self._tokens[index].text if index >= 0 else ";"

    def _text(self, index: int) -> str:
        return self._tokens[index].text if index < len(self._tokens) else ""

    def _closing(self, index: int) -> int:
        opening = self._text(index)
        closing, depth = {"(": ")", "[": "]", "{": "}"}[opening], 0
        for position in range(index, len(self._tokens)):
            text = self._tokens[position].text if self._tokens[position].kind == "op" else ""
            depth += (text == opening) - (text == closing)
            if text == closing and depth == 0:
                return position
        token = self._tokens[index]
        raise SourceError(f"{token.file}:{token.line}: {opening} is not closed")

    def _collect_types(self) -> tuple[set[str], set[str]]:
        structures, types = set(), set(_BUILTIN)
        for index, token in enumerate(self._tokens):
            if token.kind == "name" and token.text in ("struct", "class", "enum", "typename"):
                following = self._next(index)
                if following < len(self._tokens) and self._tokens[following].kind == "name":
                    types.add(self._text(following))
                    if token.text in ("struct", "class") and self._text(self._next(following)) in ("{", ":"):
                        structures.add(self._text(following))
        return structures, types

    def _is_type(self, name: str) -> bool:
        return name in self._types or name.startswith("ENUM_") or re.match(r"Mql[A-Z]", name) is not None

    # ---- writing

    def _emit(self, start: int, end: int, depth: int) -> str:
        """Return the C++ of the tokens [start, end); depth: of braces, 0 outside everything."""
        out: list[str] = []
        index = start
        while index < end:
            token = self._tokens[index]
            step = self._special(index, depth, out)
            if step is not None:
                index = step
                continue
            if token.kind == "op":
                depth += (token.text == "{") - (token.text == "}")
                out.append("->" if token.text == "." else token.text)
            elif token.kind in ("text", "char", "literal"):
                out.append(_literal(token))
            else:
                out.append(token.text)
            index += 1
        return "".join(out)

    def _special(self, index: int, depth: int, out: list[str]) -> int | None:
        """Write what needs more than its own token; return the index after it, or None."""
        token = self._tokens[index]
        if token.text == "{" and token.kind == "op" and self._previous(index) == "=" and self._is_zero(index):
            out.append("{}")
            return self._closing(index) + 1
        if token.kind != "name":
            return None
        if token.text in ("input", "sinput") and depth == 0:
            return self._input(index, out)
        if token.text == "enum":
            return self._enum(index)
        if token.text in ("struct", "class"):
            return self._structure(index, depth, out)
        if token.text == "delete":
            return self._delete(index, depth, out)
        if token.text == "new":
            return self._new(index, depth, out)
        if depth == 0:
            self._function(index)
        if self._is_type(token.text) and self._previous(index) not in ("::", "new", "struct", "class", "enum", "."):
            return self._declaration(index, depth, out)
        return None

    def _is_zero(self, index: int) -> bool:
        inside = [token.text for token in self._tokens[index + 1 : self._closing(index)] if token.kind not in BLANK]
        return inside in (["0"], [])

    def _input(self, index: int, out: list[str]) -> int:
        kind = self._next(index)
        if self._text(kind) == "group":
            last = self._next(kind)
            after = self._next(last)
            return after + 1 if self._text(after) == ";" else last + 1
        name = self._next(kind)
        equals, end = self._next(name), name
        while self._text(end) != ";":
            end += 1
        value = (
            self._emit(self._next(equals), end, 1).strip() if self._text(equals) == "=" else f"{self._text(kind)}()"
        )
        self._inputs.append((self._text(kind), self._text(name)))
        spelled = (
            f'{self._text(kind)} {self._text(name)} = mql::input<{self._text(kind)}>("{self._text(name)}", {value});'
        )
        out.append("const " + spelled)
        return end + 1

    def _enum(self, index: int) -> int | None:
        """Move an enumeration to the top: its constants may be defaults of prototypes there."""
        name = self._next(index)
        opening = self._next(name)
        if self._text(opening) != "{":
            return None
        closing = self._closing(opening)
        inside = self._emit(opening + 1, closing, 1)
        members = [part.split("=")[0].strip() for part in re.sub(r"#line.*", "", inside).split(",")]
        names = " ".join(f'if(x == {member}) return "{member}";' for member in members if member)
        self._enums.append(f"enum {self._text(name)} : int {{ {inside} }};")
        self._enums.append(f'inline const char* mql_name({self._text(name)} x) {{ {names} return "?"; }}')
        end = self._next(closing)
        return end + 1

    def _structure(self, index: int, depth: int, out: list[str]) -> int | None:
        """Give a class or structure its ``operator->``."""
        word, name = self._text(index), self._next(index)
        after = self._next(name)
        if self._tokens[name].kind != "name" or self._text(after) not in ("{", ":"):
            return None
        called = self._text(name)
        if depth == 0 and self._previous(index) != ">":
            self._forward.append(f"{word} {called};")
        opening = after
        while self._text(opening) != "{":
            opening += 1
        itself = (
            f"public: {called} *operator->(void) {{ return(this); }} "
            f"const {called} *operator->(void) const {{ return(this); }}"
        )
        base = self._emit(after, opening, depth)
        closing = self._closing(opening)
        restored = "private:" if word == "class" else ""
        inside = self._emit(opening + 1, closing, depth + 1)
        out.append(f"{word} {called} {base}{{ {itself} {restored}{inside}}}")
        return closing + 1

    def _delete(self, index: int, depth: int, out: list[str]) -> int:
        end = index
        while self._text(end) != ";":
            end += 1
        out.append(f"mql::destroy({self._emit(index + 1, end, depth)})")
        return end

    def _new(self, index: int, depth: int, out: list[str]) -> int:
        name = self._next(index)
        after = self._next(name)
        arguments, end = "()", name + 1
        if self._text(after) == "(":
            end = self._closing(after) + 1
            arguments = self._emit(after, end, depth)
        out.append(f"mql::keep(new {self._text(name)}{arguments})")
        return end

    def _function(self, index: int) -> None:
        """Note the prototype of a free function that begins here: MQL5 may call it before."""
        if self._previous(index) not in (";", "}", ")") or not (
            self._is_type(self._text(index)) or self._text(index) in _STATEMENT_WORDS
        ):
            return
        opening = index
        while opening < len(self._tokens) and self._text(opening) not in ("(", ";", "=", "{", "::"):
            opening += 1
        if self._text(opening) != "(":
            return
        closing = self._closing(opening)
        if self._text(self._next(closing)) != "{":
            return
        head = re.sub(r"\s+", " ", re.sub(r"#line.*", "", self._emit_plain(index, closing + 1)))
        match = _PROTOTYPE.match(head)
        if match is None:
            return
        self._prototypes.append(head + ";")
        self._strip_defaults(opening, closing)
        if match.group(1) in _EVENTS:
            self._handlers[match.group(1)] = not head.startswith("void")

    def _emit_plain(self, start: int, end: int) -> str:
        """Write a function's head; its own first tokens must not be taken for a function again."""
        return self._emit(start, end, 1)

    def _strip_defaults(self, opening: int, closing: int) -> None:
        """Take the defaults out of a definition: the prototype has them."""
        depth, skipping = 0, False
        for position in range(opening, closing):
            token = self._tokens[position]
            depth += (token.text in "([{" and token.kind == "op") - (token.text in ")]}" and token.kind == "op")
            if depth == 1 and token.text == "=":
                skipping = True
            if depth == 1 and token.text == ",":
                skipping = False
            if skipping:
                self._tokens[position] = Token("space", " ", token.line, token.file)

    # ---- arrays

    def _declaration(self, index: int, depth: int, out: list[str]) -> int | None:
        """Write a declaration in which somebody is an array; None when nobody is."""
        after = self._next(index)
        marks = ""
        while self._text(after) in ("*", "&"):
            marks += self._text(after)
            after = self._next(after)
        if after >= len(self._tokens) or self._tokens[after].kind != "name":
            return None
        following = self._next(after)
        if self._in_parameters(index):
            if self._text(following) != "[":
                return None
            sizes, end = self._sizes(following, depth)
            pointer = "*" if "*" in marks else ""
            out.append(f"{_array(self._text(index) + pointer, sizes)} &{self._text(after)}")
            return end
        return self._statement(index, depth, out)

    def _in_parameters(self, index: int) -> bool:
        """Tell whether a token stands inside round brackets."""
        level = 0
        for back in range(index - 1, -1, -1):
            token = self._tokens[back]
            if token.kind != "op":
                continue
            if token.text == ")":
                level += 1
            elif token.text == "(":
                level -= 1
                if level < 0:
                    return True
            elif token.text in ";{}" and level == 0:
                return False
        return False

    def _statement(self, index: int, depth: int, out: list[str]) -> int | None:
        parts, end = self._declarators(index)
        if end < 0 or not any(self._text(self._after_name(start)) == "[" for start, _ in parts):
            return None
        words = ""
        while out and (not out[-1].strip() or out[-1] in _STATEMENT_WORDS):
            piece = out.pop()
            if "\n" in piece:
                out.append(piece)
                break
            words = piece + words
        out.append(" ".join(self._declarator(self._text(index), words, part, depth) for part in parts))
        return end + 1

    def _declarators(self, index: int) -> tuple[list[tuple[int, int]], int]:
        """Return where each declarator of a statement begins and ends, and the semicolon (-1: not a declaration)."""
        parts, begin, level = [], self._next(index), 0
        for position in range(begin, len(self._tokens)):
            token = self._tokens[position]
            if token.kind != "op":
                continue
            if token.text in "([{":
                if token.text == "(" and level == 0 and self._text(self._after_name(begin)) == "(":
                    return [], -1
                level += 1
            elif token.text in ")]}":
                level -= 1
                if level < 0:
                    return [], -1
            elif token.text in ",;" and level == 0:
                parts.append((begin, position))
                begin = self._next(position)
                if token.text == ";":
                    return parts, position
        return [], -1

    def _after_name(self, index: int) -> int:
        while self._text(index) in ("*", "&"):
            index = self._next(index)
        return self._next(index)

    def _declarator(self, kind: str, words: str, part: tuple[int, int], depth: int) -> str:
        index, end = part
        while self._text(index) == "*":
            kind += "*"
            index = self._next(index)
        name, after = self._text(index), self._next(index)
        if self._text(after) != "[":
            rest = self._emit(after, end, depth) if after < end else ""
            return f"{words}{kind} {name}{rest};"
        sizes, after = self._sizes(after, depth)
        while after < end and self._tokens[after].kind in BLANK:
            after += 1
        value = self._emit(self._next(after), end, depth) if self._text(after) == "=" and after < end else ""
        array = _array(kind, sizes)
        if sizes[0]:
            return f"{words}{array} {name} = {array}::fixed({sizes[0]}{', ' + value if value else ''});"
        return f"{words}{array} {name}{' = ' + value if value else ''};"

    def _sizes(self, index: int, depth: int) -> tuple[list[str], int]:
        """Return the sizes of all dimensions (empty text: dynamic) and the index after them."""
        sizes = []
        while self._text(index) == "[":
            closing = self._closing(index)
            sizes.append(self._emit(index + 1, closing, depth).strip())
            index = self._next(closing)
        # What stands between the last bracket and the next token was skipped: nothing but blanks.
        return sizes, index


def _array(kind: str, sizes: list[str]) -> str:
    for size in reversed(sizes[1:]):
        kind = f"mql::Row<{kind}, {size}>"
    return f"mql::Array<{kind}>"


def _literal(token: Token) -> str:
    if token.kind == "text":
        return token.text + "_ms"
    inside = token.text[1:-1] if token.kind == "char" else token.text[2:-1]
    if token.kind == "char":
        return token.text if inside.isascii() else f"((ushort){ord(inside)})"
    if token.text[0] == "D":
        return f'mql::date_literal("{inside}")'
    if token.text[0] == "C":
        return f"mql::color_literal({inside})"
    return str(int(inside, 2))
