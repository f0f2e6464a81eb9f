"""What the documents say exists: links, commands, options, make targets, settings; and that diagrams are well-formed."""

import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer

from libs.common.bus.streams import READS, SERVICES, STREAMS, WRITES
from services.executor.order_state import TRANSITIONS
from tickwire.main import COMMANDS, app
from tickwire.sections import read_all

ROOT = Path(__file__).parents[3]
NOT_OURS = frozenset({"runs", "build", "dist", "node_modules"})
GENERATED = frozenset({"docs/messages.md", "docs/config.md"})
DIAGRAMS = ("flowchart", "sequenceDiagram", "stateDiagram-v2")
BLOCK_OPENERS = {"flowchart": ("subgraph",), "sequenceDiagram": ("alt", "loop", "opt", "par"), "stateDiagram-v2": ()}
CODE_SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")


def documents() -> list[str]:
    """Return every markdown file of the repository, relative to its root."""
    found = (path.relative_to(ROOT) for path in ROOT.rglob("*.md"))
    return sorted(
        str(path) for path in found
        if not NOT_OURS & set(path.parts) and not any(part.startswith(".") for part in path.parts)
    )


def written() -> list[str]:
    return [path for path in documents() if path not in GENERATED]


@cache
def text_of(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


class Fence(NamedTuple):
    """A fenced block of a document."""

    line: int
    language: str
    text: str
    closed: bool


@cache
def fences(document: str) -> tuple[Fence, ...]:
    found: list[Fence] = []
    opened: tuple[int, str] | None = None
    inside: list[str] = []
    for number, line in enumerate(text_of(document).splitlines(), start=1):
        if line.startswith("```") and opened is None:
            opened, inside = (number, line[3:].strip()), []
        elif line.strip() == "```" and opened is not None:
            found.append(Fence(*opened, "\n".join(inside), True))
            opened = None
        else:
            inside.append(line)
    if opened is not None:
        found.append(Fence(*opened, "\n".join(inside), False))
    return tuple(found)


@cache
def prose_of(document: str) -> str:
    """Return a document without its fenced blocks."""
    return re.sub(r"^```.*?^```\s*$", "", text_of(document), flags=re.M | re.S)


def anchors_of(document: str) -> set[str]:
    """Return the anchors GitHub gives a document's headings."""
    headings = re.findall(r"^#{1,6} (.+)$", prose_of(document), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def shell_lines(document: str) -> list[str]:
    """Return everything a document tells people to type: code spans, and the lines of shell blocks."""
    blocks = [fence.text for fence in fences(document) if fence.language in ("sh", "bash", "console", "")]
    return CODE_SPAN.findall(prose_of(document)) + [line for block in blocks for line in block.splitlines()]


def typed_commands(document: str) -> list[list[str]]:
    """Return the arguments of every ``tickwire ...`` a document mentions."""
    found = []
    for line in shell_lines(document):
        for part in re.split(r"&&|\||;", line):
            words = shlex.split(part, comments=True) if part.count("'") % 2 == 0 and part.count('"') % 2 == 0 else []
            if len(words) > 1 and words[0].removeprefix(".venv/bin/") == "tickwire":
                found.append(words[1:])
    return found


@cache
def command_tree() -> Any:
    return typer.main.get_command(app)


def resolved(words: list[str]) -> tuple[Any, list[str]]:
    """Return the command words lead to, and what is left of them; ``None`` when there is no such command."""
    command: Any = command_tree()
    rest = list(words)
    while hasattr(command, "get_command") and rest and not rest[0].startswith("-"):
        command = command.get_command(None, rest[0].rstrip(",.:"))
        rest = rest[1:]
        if command is None:
            break
    return command, rest


def test_there_are_documents() -> None:
    assert {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/architecture.md", "docs/adr/README.md"} <= set(documents())


@pytest.mark.parametrize("service", ["ingest", "features", "inference", "risk", "executor", "trainer"])
def test_every_service_has_a_readme(service: str) -> None:
    assert (ROOT / "services" / service / "README.md").is_file()


@pytest.mark.parametrize("document", documents())
def test_links_lead_somewhere(document: str) -> None:
    broken = []
    for target in LINK.findall(prose_of(document)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / document).parent / path if path else ROOT / document
        inside = file.resolve().is_relative_to(ROOT)
        there = inside and file.exists()
        if not there or (anchor and anchor not in anchors_of(str(file.resolve().relative_to(ROOT)))):
            broken.append(target)
    assert not broken


@pytest.mark.parametrize("document", documents())
def test_every_fence_is_closed(document: str) -> None:
    assert [fence.line for fence in fences(document) if not fence.closed] == []


def mermaid_blocks() -> list[tuple[str, Fence]]:
    return [(document, fence) for document in documents() for fence in fences(document) if fence.language == "mermaid"]


def problems_of(diagram: str) -> list[str]:
    """Return what is wrong with a diagram, as far as one can tell without drawing it."""
    lines = diagram.splitlines()
    kind = lines[0].split()[0] if lines and lines[0].split() else ""
    if kind not in DIAGRAMS:
        return [f"begins with {lines[:1]}, not one of {DIAGRAMS}"]
    problems = []
    openers = closers = 0
    for line in lines[1:]:
        words = line.split()
        openers += bool(words) and words[0] in BLOCK_OPENERS[kind]
        closers += words == ["end"]
        if ";" in line:
            problems.append(f"a semicolon ends a statement: {line}")
        if kind != "flowchart":
            continue
        if line.count('"') % 2:
            problems.append(f"an open quote: {line}")
        bare = re.sub(r'"[^"]*"', "", line)
        problems += [
            f"{left}{right} not balanced: {line}"
            for left, right in ("[]", "()", "{}") if bare.count(left) != bare.count(right)
        ]
        if re.search(r"[^\x00-\x7f]|<", re.sub(r"<-|-->|<br/>", "", bare)):
            problems.append(f"needs quotes: {line}")
    if openers != closers:
        problems.append(f"{openers} blocks are opened, {closers} closed")
    if kind == "sequenceDiagram":
        problems += undeclared(lines)
    return problems


def undeclared(lines: list[str]) -> list[str]:
    """Return the messages of a sequence diagram whose ends nobody declared."""
    declared = {line.split()[1] for line in lines if line.split()[:1] == ["participant"]}
    arrow = re.compile(r"\s*(\w+)\s*--?>>\s*(\w+)\s*:\s*\S")
    bad = []
    for line in lines[1:]:
        if ">>" not in line:
            continue
        found = arrow.match(line)
        if found is None or not {found[1], found[2]} <= declared:
            bad.append(f"no such participant, or no text: {line}")
    return bad


@pytest.mark.parametrize(("document", "fence"), mermaid_blocks(), ids=lambda value: getattr(value, "line", value))
def test_mermaid_diagrams_are_well_formed(document: str, fence: Fence) -> None:
    assert problems_of(fence.text) == []


def test_the_architecture_is_drawn() -> None:
    kinds = {fence.text.split()[0] for document, fence in mermaid_blocks() if document == "docs/architecture.md"}
    assert kinds == set(DIAGRAMS)


@pytest.mark.parametrize(
    ("diagram", "problem"),
    [
        ("graf LR\n a --> b", "begins with"),
        ('flowchart LR\n a["x] --> b', "open quote"),
        ("flowchart LR\n a[x --> b", "not balanced"),
        ("flowchart LR\n subgraph one\n a --> b", "1 blocks are opened, 0 closed"),
        ("sequenceDiagram\n participant A\n A->>B: hello", "no such participant"),
        ("sequenceDiagram\n participant A\n A->>A: hello; bye", "semicolon"),
    ],
)
def test_a_broken_diagram_is_noticed(diagram: str, problem: str) -> None:
    assert any(problem in found for found in problems_of(diagram))


def test_the_drawn_life_of_an_order_is_the_transition_table() -> None:
    (drawn,) = [fence.text for _, fence in mermaid_blocks() if fence.text.startswith("stateDiagram")]
    arrows = set(re.findall(r"^\s*(\w+) --> (\w+): (\w+)$", drawn, re.M))
    assert arrows == {(was.value, then.value, what.value) for (was, what), then in TRANSITIONS.items()}


def test_the_table_of_streams_is_the_one_in_the_code() -> None:
    rows = re.findall(r"^\| ([A-Z]+) \| (.+?) \| (yes|no)\b[^|]*\| (.+?) \|$", text_of("docs/architecture.md"), re.M)
    told = {name: (set(CODE_SPAN.findall(subjects)), fsync == "yes", kept) for name, subjects, fsync, kept in rows}
    assert told == {
        spec.name: (
            set(spec.subjects), spec.fsync, f"{spec.max_age_s // 86_400} days" if spec.max_age_s else "for ever"
        )
        for spec in STREAMS
    }


@pytest.mark.parametrize("user", SERVICES)
def test_the_table_of_users_tells_what_the_server_permits(user: str) -> None:
    (row,) = re.findall(rf"^\| {user} \| (.+?) \| (.+?) \|$", text_of("docs/architecture.md").split("## Security")[1], re.M)
    writes, reads = (set(CODE_SPAN.findall(cell)) for cell in row)
    assert writes == set(WRITES[user])
    roots = {pattern.split(".")[0] for pattern in (*reads, *writes)}
    assert roots == {pattern.split(".")[0] for pattern in READS[user]} | {pattern.split(".")[0] for pattern in WRITES[user]}
    assert reads <= set(READS[user])


@pytest.mark.parametrize("document", written())
def test_every_command_that_is_mentioned_exists_with_its_options(document: str) -> None:
    wrong = []
    for words in typed_commands(document):
        if words[0] == "...":
            continue
        command, rest = resolved(words)
        if command is None:
            wrong.append(" ".join(words))
            continue
        options = (name for option in command.params for name in (*option.opts, *option.secondary_opts))
        known = {"-h", "--help", *options}
        given = [word.split("=")[0] for word in rest if re.match(r"--?[a-z]", word)]
        wrong += [f"{' '.join(words)}: {option}" for option in given if option not in known]
    assert not wrong


def test_a_command_that_does_not_exist_would_be_noticed() -> None:
    assert resolved(["guess"])[0] is None
    assert resolved(["models", "burn"])[0] is None
    assert resolved(["models", "list"])[0] is not None


def test_the_changelog_names_every_command() -> None:
    assert set(COMMANDS) <= set(CODE_SPAN.findall(prose_of("CHANGELOG.md")))


@pytest.mark.parametrize("document", written())
def test_every_make_target_that_is_mentioned_exists(document: str) -> None:
    targets = set(re.findall(r"^([a-z]+):", text_of("Makefile"), re.M))
    mentioned = set()
    for line in shell_lines(document):
        found = re.match(r"\s*make((?: [a-z]+)+)(?=$|[\s'`])", line.split("#")[0])
        if found:
            mentioned |= set(found[1].split())
    assert mentioned <= targets


@pytest.mark.parametrize("document", written())
def test_files_named_in_code_spans_exist(document: str) -> None:
    named = re.compile(r"(?:libs|services|tests|tickwire|docs|requirements)/[\w./-]*\w\.(?:py|md|txt|yaml)")
    missing = [
        span for span in CODE_SPAN.findall(prose_of(document))
        if named.fullmatch(span) and not (ROOT / span).exists()
    ]
    assert not missing


def test_the_config_for_ones_own_file_passes_the_check(tmp_path: Path) -> None:
    (config,) = [fence.text for fence in fences("docs/five-minutes.md") if fence.language == "yaml"]
    file = tmp_path / "mine.yaml"
    file.write_text(config, encoding="utf-8")
    sections = read_all(file)
    assert sections["system"].symbols == ("EURUSD",)
    assert sections["ingest"].files[0].zone == "NY+7"


@pytest.mark.parametrize("document", [path for path in written() if path.startswith("docs/adr/0")])
def test_a_decision_record_has_its_parts_and_is_in_the_list(document: str) -> None:
    record = text_of(document)
    number = Path(document).name[:4]
    assert record.startswith(f"# {number}: ")
    for part in ("Status:", "## Context", "## Decision", "## Consequences", "## Departs from the design"):
        assert part in record
    assert f"[{number}]({Path(document).name})" in text_of("docs/adr/README.md")
