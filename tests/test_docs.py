"""The documentation tells the truth: its commands parse, its examples run, its links lead somewhere, both languages agree."""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from belle import __version__, cli
from belle.cli import VERBS, read_config
from belle.config import keys
from belle.data.formats import load_records
from belle.inference.backend import Request, open_backend
from belle.records import Message
from belle.sections import DataSection, GenerationSection, ModelSection

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
PAIRS = [(page, chinese) for page in PAGES if (chinese := page.with_name(f"{page.stem}_zh.md")).exists()]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def commands(text: str) -> list[str]:
    """Every `belle VERB ...` of a text: lines of code blocks, and code inside sentences; not those with `...` or VERB in them."""
    lines = [
        line
        for kind, block in FENCE.findall(text)
        if kind in ("bash", "sh", "")
        for line in block.replace("\\\n", " ").splitlines()
    ]
    inline = re.findall(r"`(belle \w+ [^`\n]+)`", FENCE.sub("", text))
    parts = [part.strip() for line in lines + inline for part in re.split(r"\s\|\s|&&", line)]
    found = [part for part in parts if re.match(r"belle \w", part)]
    return [part for part in found if not re.search(r"\.\.\.|…|<|\bVERB\b|\bRUN\b|\[", part.split(" #")[0].partition("'")[0])]


def check(command: str) -> None:
    """Read the words of a command as the command line would, and stop before anything runs."""
    words = shlex.split(command, comments=True)[1:]
    if words[0].startswith("-"):
        return
    assert words[0] in VERBS, command
    if "--help" not in words:
        read_config(words[0], importlib.import_module(VERBS[words[0]]), [word for word in words[1:] if word != "--dry-run"])


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_of_the_docs_parse(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for command in commands(page.read_text(encoding="utf-8")):
        check(command)


def test_commands_are_found() -> None:
    text = "Try `belle sft demo a=1`, `belle sft` or `belle <verb>`.\n"
    text += "```bash\nbelle merge a b=1   # text\nx | belle chat y\nbelle sft ...\n```\n"
    assert commands(text) == ["belle merge a b=1   # text", "belle chat y", "belle sft demo a=1"]
    assert len(commands((ROOT / "README.md").read_text(encoding="utf-8"))) > 8
    with pytest.raises(Exception, match="unknown key"):
        check("belle sft demo optim.learning_rat=1")


@pytest.mark.parametrize("verb", VERBS)
def test_examples_of_a_verb_parse(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    _, mark, examples = (importlib.import_module(VERBS[verb]).__doc__ or "").partition("\nExamples:\n")
    found = commands(f"```\n{examples}\n```")
    assert mark
    assert len(found) >= (1 if verb == "doctor" else 2), "two examples in the docstring"
    for command in found:
        check(command)


def test_help_shows_every_key_and_imports_nothing_heavy() -> None:
    code = """
import contextlib, io, json, sys
from belle import cli
pages = {}
for words in ([], ["--help"], *([verb, "--help"] for verb in cli.VERBS)):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        cli.main(words)
    pages[" ".join(words)] = out.getvalue()
heavy = [m for m in ("torch", "transformers", "numpy", "peft", "tokenizers", "rich", "jinja2") if m in sys.modules]
json.dump({"pages": pages, "heavy": heavy}, sys.stdout)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    result = json.loads(done.stdout)
    assert result["heavy"] == []
    overview = result["pages"]["--help"]
    assert result["pages"][""] == overview
    for verb, module in VERBS.items():
        assert re.search(rf"^  {verb} +\w.+\.$", overview, re.MULTILINE), verb
        page = result["pages"][f"{verb} --help"]
        assert [key for key, *_ in keys(importlib.import_module(module).Config) if f"\n  {key}  (" not in page] == []
        assert "Examples:" in page


@pytest.mark.parametrize("verb", VERBS)
def test_every_key_says_what_it_means(verb: str) -> None:
    found = keys(importlib.import_module(VERBS[verb]).Config)
    assert [key for key, kind, _, meaning in found if not meaning and kind != "section"] == []


def test_pages_of_the_verbs_are_current() -> None:
    spec = importlib.util.spec_from_file_location("write_verb_docs", ROOT / "scripts" / "write_verb_docs.py")
    assert spec is not None
    assert spec.loader is not None
    script: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    folder = ROOT / "docs" / "verbs"
    assert {path.stem for path in folder.glob("*.md")} == set(VERBS)
    stale = [verb for verb in VERBS if (folder / f"{verb}.md").read_text(encoding="utf-8") != script.page(verb)]
    assert stale == [], "run python scripts/write_verb_docs.py"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    targets = [target.split("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target]
    assert [target for target in targets if target and not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", [p for p in PAGES if p.parent.name != "verbs"], ids=name)
def test_named_files_exist(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    named = re.findall(r"`((?:belle|tests|scripts|recipes|docs|data|benchmarks)/[\w/.-]+\.(?:py|md|yaml|jsonl|jinja))`", text)
    missing = {path for path in named if not (ROOT / path).exists()}
    assert missing - {"belle/commands/NAME.py", "belle/data/chat_templates/NAME.jinja"} == set()


@pytest.mark.parametrize(("page", "chinese"), PAIRS, ids=lambda p: name(p))
def test_both_languages_have_one_shape(page: Path, chinese: Path) -> None:
    texts = [path.read_text(encoding="utf-8") for path in (page, chinese)]
    headings = [[len(marks) for marks in re.findall(r"^(#+) ", FENCE.sub("", text), re.MULTILINE)] for text in texts]
    assert headings[0] == headings[1]
    blocks = [[(kind, _code(block)) for kind, block in FENCE.findall(text)] for text in texts]
    assert [kind for kind, _ in blocks[0]] == [kind for kind, _ in blocks[1]]
    assert [code for kind, code in blocks[0] if kind] == [code for kind, code in blocks[1] if kind]
    rows = [len(re.findall(r"^\|", text, re.MULTILINE)) for text in texts]
    assert rows[0] == rows[1], "tables have as many rows"
    figures = [re.findall(r"<!-- /?figures -->", text) for text in texts]
    assert figures[0] == figures[1]
    assert page.name in texts[1], "each names the other"
    assert chinese.name in texts[0]


def _code(block: str) -> list[str]:
    """The lines of a block without their comments, which are in the page's language."""
    return [re.sub(r"\s+# .*", "", line) for line in block.replace("\\\n", " ").splitlines()]


def test_there_are_pairs() -> None:
    assert {"README.md", "CONTRIBUTING.md"} <= {name(page) for page, _ in PAIRS}
    assert {"docs/architecture.md", "docs/extending.md", "docs/faq.md"} <= {name(page) for page, _ in PAIRS}


def test_versions_agree() -> None:
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def example(first_line: str, folder: Path) -> None:
    """Write the python block of docs/extending.md that begins with `# first_line` into a folder, under that file name."""
    text = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    (block,) = [code for kind, code in FENCE.findall(text) if kind == "python" and code.startswith(f"# {first_line}\n")]
    (folder / Path(first_line).name).write_text(block, encoding="utf-8")


def test_the_format_of_the_docs_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    example("my_formats.py", tmp_path)
    good = {"stem": "2 + 2?", "choices": ["3", "4"], "right": "4"}
    (tmp_path / "quiz.jsonl").write_text(json.dumps(good) + "\n", encoding="utf-8")
    (record,) = load_records(DataSection(path=str(tmp_path / "quiz.jsonl"), format="my_formats:quiz")).records
    assert record.messages == (Message("user", "2 + 2?\n3\n4"), Message("assistant", "4"))
    (tmp_path / "quiz.jsonl").write_text(json.dumps(good | {"right": "5"}) + "\n", encoding="utf-8")
    with pytest.raises(Exception, match=r"quiz.jsonl:1: right is '5'"):
        load_records(DataSection(path=str(tmp_path / "quiz.jsonl"), format="my_formats:quiz"))


def test_the_backend_of_the_docs_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    example("my_backends.py", tmp_path)
    backend = open_backend("my_backends:Parrot", ModelSection(path="anything"))
    request = Request((Message("user", "hello"),))
    assert backend.generate([request], GenerationSection())[0].text == "HELLO"
    assert "".join(backend.stream(request, GenerationSection())) == "HELLO"


def test_the_verb_of_the_docs_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    example("belle/commands/lengths.py", tmp_path)
    monkeypatch.setitem(cli.VERBS, "lengths", "lengths")
    cli.main(["lengths", "shipped:instructions_zh.jsonl", "--dry-run"])
    assert "# read shipped:instructions_zh.jsonl and count characters" in capsys.readouterr().out
    cli.main(["lengths", "shipped:instructions_zh.jsonl"])
    assert "380" in capsys.readouterr().err


def test_the_template_of_the_docs_works(tmp_path: Path, tiny_tokenizer: object) -> None:
    from belle.data.chat_template import ChatTemplate
    from belle.records import Conversation

    text = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    (block,) = [code for kind, code in FENCE.findall(text) if kind == "jinja"]
    (tmp_path / "qa.jinja").write_text(block, encoding="utf-8")
    template = ChatTemplate.load(tiny_tokenizer, str(tmp_path / "qa.jinja"))
    encoded = template.encode(Conversation((Message("user", "hi"), Message("assistant", "yes"))))
    decode = tiny_tokenizer.decode  # type: ignore[attr-defined]
    assert decode(encoded.ids) == "user: hi\nA: yes</s>\n"
    assert decode([token for token, trained in zip(encoded.ids, encoded.mask, strict=True) if trained]) == "yes</s>"
