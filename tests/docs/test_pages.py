"""What the pages tell a reader to type, open or set is there."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import click
import pytest

from app import __version__
from app.cli import main
from app.config import ENVIRONMENT_VARIABLES
from tests.docs import pages
from tests.docs.pages import PAGES, ROOT

# Names in capitals that are no settings of ours: of make, tests, compose, libraries and examples.
OTHER_VARIABLES = frozenset(
    {
        "DEMO_ARGS",
        "BENCH_ARGS",
        "DRILL_ARGS",
        "LOCK_ARGS",
        "TEST_ARGS",
        "TEST_DATABASE_URL",
        "POSTGRES_PASSWORD",
        "SCHEMA_REVISION",
        "PROMETHEUS_MULTIPROC_DIR",
        "AMPLIENCE_TOKEN",
        "SEARCH_KEY",
        "SEARCH_SIGNING_SECRET",
        # Read by OpenTelemetry's SDK itself.
        "OTEL_TRACES_SAMPLER",
        "OTEL_SERVICE_NAME",
        "OTEL_RESOURCE_ATTRIBUTES",
        # Removed; the changelog names it.
        "WEB_ONE_PROCESSOR",
    }
)
_VARIABLE = re.compile(r"(?<![\w.-])[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+(?![\w-])")


def commands(page: str) -> list[list[str]]:
    """What follows `dc-relay` wherever a page sets it as code and means to call it."""
    found = []
    for line in pages.code(page):
        for match in re.finditer(r"(?<![\w@/.-])(?:\S+/bin/)?dc-relay ([a-z-][^|&;#`]*)", line):
            found.append(match[1].split())
    return found


def misuse(words: list[str]) -> str | None:
    """Why a call of `dc-relay` cannot work as far as its names go, or None."""
    command: click.Command = main
    for word in words:
        if word.startswith("-"):
            names = {name for option in command.params for name in option.opts}
            if word.rstrip(".,:)").partition("=")[0] not in names | {"--help", "--version"}:
                return f"{command.name} has no option {word}"
        elif isinstance(command, click.Group):
            found = command.get_command(click.Context(command), word)
            if found is None:
                return f"{command.name} has no command {word}"
            command = found
    return None


@pytest.mark.parametrize("page", PAGES)
def test_commands_on_a_page_exist(page: str) -> None:
    assert {" ".join(words): why for words in commands(page) if (why := misuse(words))} == {}


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["nothing"], "main has no command nothing"),
        (["db", "downgrade"], "db has no command downgrade"),
        (["demo", "--loud"], "demo has no option --loud"),
        (["db", "upgrade"], None),
        (["demo", "--exit"], None),
    ],
)
def test_misuse_of_a_command_is_noticed(words: list[str], why: str | None) -> None:
    assert misuse(words) == why


@pytest.mark.parametrize("page", PAGES)
def test_make_targets_on_a_page_exist(page: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    meant = {
        match[1] for line in pages.code(page) for match in re.finditer(r"\bmake ([a-z]+)", line)
    }
    assert meant <= targets


@pytest.mark.parametrize("page", PAGES)
def test_links_within_the_project_resolve(page: str) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", pages.prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = ((ROOT / page).parent / path).resolve() if path else ROOT / page
        if (
            not file.is_relative_to(ROOT)
            or not file.exists()
            or (anchor and anchor not in anchors(str(file.relative_to(ROOT))))
        ):
            broken.append(target)
    assert broken == []


def anchors(page: str) -> set[str]:
    """The anchors that the headings of a page get where it is shown."""
    headings = re.findall(r"^#+ (.+)$", pages.prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_environment_variables_on_a_page_are_read(page: str) -> None:
    meant = {name for line in pages.code(page) for name in _VARIABLE.findall(line)}
    # A file takes whatever variables its operator likes.
    taken = set(re.findall(r"\$\{(\w+)\}", pages.text(page)))
    assert meant <= set(ENVIRONMENT_VARIABLES) | OTHER_VARIABLES | taken


@pytest.mark.parametrize("title", ["Try it in two minutes", "Deploy"])
def test_commands_to_type_start_with_something_that_is_there(title: str) -> None:
    ours = {"make", "cp", "set", ".venv/bin/dc-relay", "dc-relay", "python"}
    theirs = {"docker", "git", "heroku"}
    typed = re.findall(r"^\$ (.+)$", pages.section("README.md", title), re.MULTILINE)
    assert typed
    assert {shlex.split(line, comments=True)[0] for line in typed} <= ours | theirs


def test_files_that_the_readme_copies_are_there() -> None:
    copied = re.findall(r"^\$ cp (\S+)", pages.text("README.md"), re.MULTILINE)
    assert copied == [".env.example"]
    assert (ROOT / copied[0]).is_file()


def test_processes_on_the_pages_are_those_of_the_procfile() -> None:
    procfile = (ROOT / "Procfile").read_text(encoding="utf-8")
    started = dict(re.findall(r"^(\w+): python -m (.+)$", procfile, re.MULTILINE))
    for page in ("README.md", pages.RUN):
        assert started["web"] in pages.text(page)
        assert started["worker"].replace("app ", "dc-relay ") in pages.text(page)
    assert started["release"].replace("app ", "dc-relay ") in pages.text(pages.RUN)


def test_changelog_begins_with_the_version_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    sections = re.findall(r"^## \[([^]]+)\]", pages.text("CHANGELOG.md"), re.MULTILINE)
    assert sections[0] == project["version"] == __version__


def test_decisions_are_all_listed() -> None:
    folder = ROOT / "docs" / "adr"
    listed = set(re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", pages.text("docs/adr/README.md")))
    assert listed == {path.name for path in folder.glob("[0-9]*.md")}


def test_layers_on_the_page_are_those_that_are_enforced() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    enforced = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    layers: dict[int, set[str]] = {}
    table = pages.rows(pages.text(pages.ARCHITECTURE), header="layer")
    for number, package, *_ in table:
        layers.setdefault(int(number), set()).add(package.strip("`"))
    assert [layers[number] for number in sorted(layers, reverse=True)] == [
        {package.strip() for package in layer.split("|")} for layer in enforced
    ]
    assert sorted(layers, reverse=True) == list(range(len(enforced), 0, -1))


def test_every_package_is_on_the_page() -> None:
    packages = {path.stem for path in (ROOT / "app").iterdir() if is_package(path)}
    described = pages.named(pages.rows(pages.text(pages.ARCHITECTURE), header="layer"), 1)
    assert packages - described == {"__main__", "migrations"}


def is_package(path: Path) -> bool:
    return (path.is_dir() and (path / "__init__.py").exists() and path.name != "__pycache__") or (
        path.suffix == ".py" and path.stem != "__init__"
    )


def test_modules_on_the_architecture_page_are_there() -> None:
    meant = {
        name for name in pages.code(pages.ARCHITECTURE) if re.match(r"(app|tests)/[\w/.]+$", name)
    }
    assert meant
    assert {name for name in meant if not (ROOT / name).exists()} == set()
