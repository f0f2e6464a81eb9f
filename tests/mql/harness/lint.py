"""What g++ takes and MetaEditor refuses: found in the tokens, must be empty for our sources."""

import re

from tests.mql.harness.tokens import BLANK, Token

NOT_MQL = frozenset(
    [
        "auto",
        "nullptr",
        "constexpr",
        "constinit",
        "consteval",
        "static_assert",
        "try",
        "catch",
        "throw",
        "goto",
        "unsigned",
        "signed",
        "size_t",
        "int8_t",
        "int16_t",
        "int32_t",
        "int64_t",
        "uint8_t",
        "uint16_t",
        "uint32_t",
        "uint64_t",
        "std",
        "decltype",
        "noexcept",
        "mutable",
        "friend",
        "volatile",
        "reinterpret_cast",
        "static_cast",
        "const_cast",
        "typeid",
        "wchar_t",
        "char16_t",
        "char32_t",
        "asm",
        "concept",
        "requires",
        "namespace",
        "using",
        "typename_",
        "inline",
        "alignas",
        "thread_local",
        "co_await",
        "co_return",
        "co_yield",
        "union",
    ]
)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_TYPES = frozenset(
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
    ]
)
_HANDLERS = frozenset({"OnBookEvent", "OnChartEvent"})


def lint(tokens: list[Token], structures: set[str]) -> list[str]:
    """Return what MetaEditor would not accept (see the reference's compile rules), as ``file:line: what``.

    Parameters
    ----------
    structures : names of all classes and structures of the program
    """
    solid = [token for token in tokens if token.kind not in BLANK]
    found: list[str] = []
    for index, token in enumerate(solid):
        for check in (_words, _escapes, _parameters, _references):
            problem = check(solid, index, structures)
            if problem:
                found.append(f"{token.file}:{token.line}: {problem}")
    return found + _members(solid)


def _words(solid: list[Token], index: int, _: set[str]) -> str:
    token = solid[index]
    if token.kind == "name" and token.text in NOT_MQL:
        return f"'{token.text}' is C++, not MQL5"
    if token.text == "->":
        return "'->' is C++, MQL5 writes '.'"
    if token.text == "[" and solid[index + 1].text in "&=":
        return "a lambda is C++, not MQL5"
    if token.kind == "number" and re.search(r"[uUlL]$", token.text) and not token.text.lower().startswith("0x"):
        return f"'{token.text}': number suffixes are C++, not MQL5"
    return ""


def _escapes(solid: list[Token], index: int, _: set[str]) -> str:
    token = solid[index]
    if token.kind not in ("text", "char"):
        return ""
    for escape in _ESCAPE.findall(token.text):
        if escape not in "ntr\\\"'x":
            return f"escape \\{escape} is not MQL5"
    return ""


def _parameters(solid: list[Token], index: int, structures: set[str]) -> str:
    """Parameters: objects and arrays go by reference, a literal cannot be bound to a string reference."""
    token = solid[index]
    if token.kind != "name" or index == 0 or solid[index - 1].text not in ("(", ",", "const"):
        return ""
    following = [item.text for item in solid[index + 1 : index + 4]]
    if len(following) < 3:
        return ""
    is_object = token.text in structures
    if (
        is_object
        and re.match(r"[A-Za-z_]\w*$", following[0])
        and following[1] in (",", ")", "=")
        and _is_list(solid, index)
    ):
        return f"'{following[0]}': objects are passed by reference only"
    if (
        (is_object or token.text in _TYPES)
        and re.match(r"[A-Za-z_]\w*$", following[0])
        and following[1] == "["
        and following[2] == "]"
        and _is_list(solid, index)
    ):
        return f"'{following[0]}': arrays are passed by reference only"
    if (
        token.text == "string"
        and following[0] == "&"
        and following[2] != "["
        and solid[index - 1].text == "const"
        and not _in_handler(solid, index)
    ):
        return f"'{following[1]}': a literal cannot be given to a string reference; pass strings by value"
    return ""


def _is_list(solid: list[Token], index: int) -> bool:
    """Tell whether a token stands in a parameter list and not in a call or a statement."""
    depth = 0
    for back in range(index - 1, -1, -1):
        text = solid[back].text
        if text == ")":
            depth += 1
        elif text == "(":
            depth -= 1
            if depth < 0:
                return solid[back - 1].kind == "name" and solid[back - 1].text not in ("for", "if", "while", "switch")
        elif text in ";{}":
            return False
    return False


def _in_handler(solid: list[Token], index: int) -> bool:
    for back in range(index - 1, max(index - 30, -1), -1):
        if solid[back].text == "(":
            return solid[back - 1].text in _HANDLERS
    return False


def _references(solid: list[Token], index: int, structures: set[str]) -> str:
    """A reference may be a parameter, never a variable."""
    token = solid[index]
    if token.kind != "name" or (token.text not in structures and token.text not in _TYPES) or index + 3 >= len(solid):
        return ""
    if (
        solid[index + 1].text == "&"
        and solid[index + 2].kind == "name"
        and solid[index + 3].text in ("=", ";")
        and not _is_list(solid, index)
    ):
        return f"reference variable '{solid[index + 2].text}' is C++, not MQL5"
    return ""


def _members(solid: list[Token]) -> list[str]:
    """Members have no initialisers, and a structure is not announced before it is written."""
    found: list[str] = []
    scopes: list[str] = []
    words: list[str] = []
    for index, token in enumerate(solid):
        if token.text == "{":
            scopes.append("type" if words and words[0] in ("struct", "class") and "(" not in words else "other")
            words = []
        elif token.text == "}":
            if scopes:
                scopes.pop()
            words = []
        elif token.text == ";":
            if len(words) == 2 and words[0] == "struct":
                found.append(f"{token.file}:{token.line}: forward declaration of structure '{words[1]}' is not MQL5")
            words = []
        elif token.text == ":" and words and words[-1] in ("public", "private", "protected"):
            words = []
        elif token.text == "=" and scopes and scopes[-1] == "type" and "(" not in words:
            found.append(f"{token.file}:{token.line}: member initialiser of '{solid[index - 1].text}' is not MQL5")
            words.append("=")
        else:
            words.append(token.text)
    return found
