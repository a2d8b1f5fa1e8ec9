"""What the READMEs promise is there, and what is there they name. Everything is read from the sources."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from django.core.management import get_commands, load_command_class

from compute.cli import main as liutong
from compute.demo.story import STEPS
from compute.node.__main__ import main as node
from market.supervisor.layout import DEFAULT_PORTS

ROOT = Path(__file__).resolve().parent.parent
READMES = ("README.md", "README.zh.md")
# Plumbing that Django or Python asks for; what they are about is told in the README of the folder above.
PLUMBING = {"market/management", "compute/protocols/pir", "compute/protocols/psi", "compute/protocols/stats"}


def text(name: str) -> str:
    return (ROOT / name).read_text()


def sources(*folders: str) -> Iterator[ast.Module]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield ast.parse(path.read_text(), str(path))


# ---- variables


def portal_settings() -> dict[str, object]:
    """Names and defaults of every `env.…("NAME", default)` in the portal's settings; `...` if computed."""
    found: dict[str, object] = {}
    for call in ast.walk(ast.parse(text("market/settings.py"))):
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)):
            continue
        if not (isinstance(call.func.value, ast.Name) and call.func.value.id == "env" and call.args):
            continue
        if call.func.attr == "database":
            continue
        name = ast.literal_eval(call.args[0])
        default: object = ""
        if len(call.args) > 1:
            default = call.args[1].value if isinstance(call.args[1], ast.Constant) else ...
        if call.func.attr == "secret_from_file":
            name, default = f"{name}_FILE", ...
        found[name] = default
    return found


def other_variables() -> set[str]:
    """What command line and supervisor read: click's `envvar=…` and `os.environ.get("…")`."""
    found = set()
    for module in sources("compute", "market", "contracts", "accel"):
        constants = {
            target.id: statement.value.value
            for statement in module.body
            if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant)
            for target in statement.targets
            if isinstance(target, ast.Name)
        }
        for item in ast.walk(module):
            if not isinstance(item, ast.Call):
                continue
            for keyword in item.keywords:
                if keyword.arg == "envvar":
                    found.add(ast.literal_eval(keyword.value))
            reads = ast.unparse(item.func) in {"os.environ.get", "os.getenv", "environ.get"}
            if reads and isinstance(item.args[0], ast.Constant):
                found.add(item.args[0].value)
            elif reads and isinstance(item.args[0], ast.Name) and item.args[0].id in constants:
                found.add(constants[item.args[0].id])
    return found


def documented_defaults(readme: str) -> dict[str, str]:
    return dict(re.findall(r"^\| `([A-Z_]+)` \| (.*?) \|", text(readme), re.MULTILINE))


def test_settings_are_found_at_all():
    assert {"CHAIN_RPC_URL", "SECRET_KEY_FILE", "DEBUG", "DATABASE_URL"} <= set(portal_settings())
    assert {"LIUTONG_URL", "LIUTONG_HOME"} <= other_variables()


@pytest.mark.parametrize("readme", READMES)
def test_every_setting_of_the_portal_has_its_row_and_every_row_is_a_setting(readme):
    assert set(documented_defaults(readme)) == set(portal_settings())


@pytest.mark.parametrize("readme", READMES)
def test_documented_defaults_are_those_of_the_code(readme):
    documented = documented_defaults(readme)
    for name, default in portal_settings().items():
        if default is ...:
            continue
        shown = documented[name].strip("`")
        if default == "":
            # Empty means: not set. What then happens is words or a dash, never a value.
            assert not documented[name].startswith("`"), name
        elif isinstance(default, bool):
            assert shown == str(int(default)), name
        else:
            assert shown == str(default), name


@pytest.mark.parametrize("readme", [*READMES, "market/README.md"])
def test_portal_settings_are_named_wherever_settings_are_listed(readme):
    assert not {name for name in portal_settings() if f"`{name}`" not in text(readme)}


@pytest.mark.parametrize("readme", READMES)
def test_variables_of_command_line_and_supervisor_are_documented(readme):
    assert not {name for name in other_variables() if f"`{name}`" not in text(readme)}


@pytest.mark.parametrize("readme", READMES)
def test_no_variable_is_documented_that_nothing_reads(readme):
    known = set(portal_settings()) | other_variables() | {"LIUTONG_NODE__SECTION__KEY"}
    named = set(re.findall(r"`([A-Z][A-Z_]*_[A-Z_]+)`", text(readme)))
    assert not named - known


# ---- commands


def commands(readme: str) -> list[list[str]]:
    """Words of every `$ …` line in console blocks, continuation lines joined, comments left out."""
    found = []
    for block in re.findall(r"^```console\n(.*?)^```", text(readme), re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("$ "):
                found.append(shlex.split(line.removeprefix("$ "), comments=True))
    return found


def make_verbs() -> set[str]:
    phony = re.search(r"^\.PHONY: (help .*)$", text("Makefile"), re.MULTILINE)
    assert phony is not None
    return set(phony[1].split())


@pytest.mark.parametrize("readme", READMES)
def test_make_verbs_exist_and_are_all_named(readme):
    # Words in code only: prose may "make" anything.
    code = re.findall(r"`([^`\n]+)`", text(readme)) + [" ".join(words) for words in commands(readme)]
    named = {match for piece in code for match in re.findall(r"^make ([a-z-]+)", piece)}
    assert named == make_verbs() - {"help"}


def click_misfits(command: click.Command, words: list[str]) -> list[str]:
    """Subcommands and options among ``words`` that the command does not have."""
    options = {option for parameter in command.params for option in parameter.opts + parameter.secondary_opts}
    while words and isinstance(command, click.Group):
        if words[0].startswith("-"):
            break
        found = command.commands.get(words[0])
        if found is None:
            return [words[0]]
        command, words = found, words[1:]
        options |= {option for item in command.params for option in item.opts + item.secondary_opts}
    return [word for word in words if word.startswith("--") and word.split("=")[0] not in options]


def liutong_misfits(words: list[str]) -> list[str]:
    if words[:1] == ["node"]:
        return click_misfits(node, words[1:])
    return click_misfits(liutong, words)


def test_a_command_that_is_not_there_is_noticed():
    assert liutong_misfits(["grants", "borrow"]) == ["borrow"]
    assert liutong_misfits(["datasets", "--all"]) == ["--all"]
    assert liutong_misfits(["node", "erase"]) == ["erase"]


@pytest.mark.parametrize("readme", READMES)
def test_liutong_commands_and_their_options_exist(readme):
    found = [words for words in commands(readme) if words[0] == "liutong"]
    found += [shlex.split(piece) for piece in re.findall(r"`(liutong [^`\n]+)`", text(readme))]
    assert len(found) > 10
    assert not [words for words in found if liutong_misfits(words[1:])]


@pytest.mark.parametrize("readme", READMES)
def test_management_commands_and_their_options_exist(readme):
    found = [words[2:] for words in commands(readme) if words[:2] == ["python", "manage.py"]]
    found += [shlex.split(piece)[1:] for piece in re.findall(r"`(manage\.py [^`\n]+)`", text(readme))]
    assert len(found) > 5
    known = get_commands()
    for name, *rest in found:
        assert name in known, name
        application = known[name]
        assert isinstance(application, str)
        parser = load_command_class(application, name).create_parser("manage.py", name)
        options = set(parser._option_string_actions)
        assert not [word for word in rest if word.startswith("--") and word not in options], name


@pytest.mark.parametrize("readme", READMES)
def test_modules_that_are_run_exist(readme):
    modules = [words[2] for words in commands(readme) if words[:2] == ["python", "-m"]]
    assert modules
    for module in modules:
        folder = ROOT / module.replace(".", "/")
        assert (folder / "__main__.py").exists() or folder.with_suffix(".py").exists(), module


def test_both_languages_show_the_same_commands():
    assert commands("README.md") == commands("README.zh.md")


# ---- what else is promised


def test_the_demo_table_is_the_story():
    rows = re.findall(r"^\| (\d+) \| (.*?) \|", text("README.md"), re.MULTILINE)
    assert [name for _, name in rows] == [name for name, _ in STEPS]
    chinese = re.findall(r"^\| (\d+) \| ", text("README.zh.md"), re.MULTILINE)
    assert chinese == [number for number, _ in rows] == [str(n) for n in range(1, len(STEPS) + 1)]


@pytest.mark.parametrize("readme", READMES)
def test_ports_are_the_supervisors(readme):
    (line,) = [line for line in text(readme).split("\n\n") if line.startswith(("**Ports**", "**端口**"))]
    assert set(map(int, re.findall(r"\b8\d{3}\b", line))) == set(DEFAULT_PORTS.values())


def readmes() -> list[Path]:
    hidden = {".venv", "node_modules", "var", ".git", ".bench-envs"}
    return [
        path
        for path in sorted(ROOT.rglob("*.md"))
        if not hidden & set(path.relative_to(ROOT).parts)
        and not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
    ]


@pytest.mark.parametrize("path", readmes(), ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path):
    prose = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", prose):
        if not re.match(r"[a-z]+:", target):
            assert (path.parent / target).exists(), target


def packages() -> list[str]:
    """Rooms that explain themselves: the top folders, what stands in compute and market, each protocol."""
    found = {"accel", "contracts", "compute", "market", "frontend", "bench"}
    found |= {str(path.parent.relative_to(ROOT)) for path in (ROOT / "compute").glob("*/__init__.py")}
    found |= {str(path.parent.relative_to(ROOT)) for path in (ROOT / "market").glob("*/__init__.py")}
    found |= {
        str(path.parent.relative_to(ROOT)) for path in (ROOT / "compute/protocols").rglob("schema.json")
    }
    return sorted(found - PLUMBING)


@pytest.mark.parametrize("package", packages())
def test_every_package_says_what_it_decided_or_what_it_leaks(package):
    readme = ROOT / package / "README.md"
    assert readme.exists(), f"{package} has no README.md"
    # An app of the portal tells who moves its rows; decisions they share are in market/README.md.
    told = r"\bleak|\bdecision|\bdecided" + (
        r"|\bstates?\b|\bderived\b" if package.startswith("market/") else ""
    )
    assert re.search(told, readme.read_text(), re.IGNORECASE), package


def test_every_protocol_begins_with_what_it_leaks():
    protocols = [name for name in packages() if (ROOT / name / "schema.json").exists()]
    assert len(protocols) >= 4
    for name in protocols:
        head = text(f"{name}/README.md")[:1200]
        assert re.search(r"\bleaks?\b|\blearns?\b", head, re.IGNORECASE), name


@pytest.mark.parametrize("picture", ["architecture.svg", "architecture.zh.svg"])
def test_pictures_have_words_for_those_who_do_not_see_them(picture):
    drawing = text(f"frontend/static/images/{picture}")
    assert re.search(r"<title id=\"title\">.+</title>", drawing)
    assert re.search(r"<desc id=\"desc\">.{80,}</desc>", drawing)
    # The same picture on light and dark pages, and nothing fetched from elsewhere.
    assert "prefers-color-scheme: dark" in drawing
    assert not re.search(r"<script|<image|href=\"http|@import", drawing)
