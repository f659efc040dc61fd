"""The command line: verbs, words, help, exit codes, and how soon it answers."""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path

import pytest

from belle import __version__, cli
from belle.cli import VERBS, main, overview, read_config, verb_help
from belle.config import ROOT, Section
from belle.errors import BelleError

VERB = "sft"


class Inner(Section):
    path: str = ""
    """What to read."""


class Config(Section):
    model: Inner = Inner()
    names: str | tuple[str, ...] = ()
    count: int = 0


def module(positional: str | tuple[str, ...] | None = None) -> types.ModuleType:
    made = types.ModuleType("made", "Does nothing at all.")
    made.Config = Config  # type: ignore[attr-defined]
    if positional:
        made.POSITIONAL = positional  # type: ignore[attr-defined]
    return made


def read(words: list[str], positional: str | tuple[str, ...] | None = None) -> Section:
    return read_config("verb", module(positional), words)


def run(*words: str, code: str = "") -> subprocess.CompletedProcess[str]:
    program = ["-c", code] if code else ["-m", "belle"]
    return subprocess.run([sys.executable, *program, *words], capture_output=True, text=True, check=False)


def test_bare_words_are_the_positional_key() -> None:
    assert read(["a b", "count=2"], "model.path") == Config(model=Inner(path="a b"), count=2)
    assert read(["it's: [x] #1"], "model.path") == Config(model=Inner(path="it's: [x] #1"))
    assert read(["a", "b,c", "2"], "names[]") == Config(names=("a", "b,c", "2"))
    assert read(["count=2"], "names[]") == Config(count=2)
    assert read(["2", "a"], ("count", "model.path")) == Config(model=Inner(path="a"), count=2)
    assert read(["2"], ("count", "model.path")) == Config(count=2)
    with pytest.raises(BelleError, match=r"takes 2 words \(count, model.path\), not 3: 2 a b"):
        read(["2", "a", "b"], ("count", "model.path"))


def test_a_word_that_ends_in_yaml_is_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("count: 3\nmodel: {path: a}\n", encoding="utf-8")
    assert read([str(tmp_path / "r.yaml"), "b"], "model.path") == Config(model=Inner(path="b"), count=3)
    assert read([str(tmp_path / "r.yaml"), "count=4"]) == Config(model=Inner(path="a"), count=4)


@pytest.mark.parametrize(
    ("words", "positional", "message"),
    [
        (["a", "b"], "model.path", "verb takes one model.path, not 2: a b"),
        (["--resume"], None, "unknown option '--resume'"),
        (["-x"], "names[]", "unknown option '-x'"),
        (["a.yaml"], None, "no recipe 'a.yaml'"),
        (["word"], None, "no recipe 'word'"),
    ],
)
def test_words_that_fit_nowhere_are_named(words: list[str], positional: str | None, message: str) -> None:
    with pytest.raises(BelleError) as caught:
        read(words, positional)
    assert message in caught.value.message


def test_two_recipes_are_one_too_many(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yml"):
        (tmp_path / name).write_text("count: 1\n", encoding="utf-8")
    with pytest.raises(BelleError, match=r"two recipes: '.*a\.yaml' and '.*b\.yml'"):
        read([str(tmp_path / "a.yaml"), str(tmp_path / "b.yml")])


def outcome(monkeypatch: pytest.MonkeyPatch, error: BaseException | None) -> int:
    """The exit code when a verb ends like this."""

    def raise_it(words: list[str]) -> None:
        if error:
            raise error

    monkeypatch.setattr(cli, "_dispatch", raise_it)
    try:
        main([])
    except SystemExit as left:
        return int(left.code or 0)
    return 0


def test_exit_codes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(monkeypatch, None) == 0
    assert outcome(monkeypatch, BelleError("no [x] :smile: file", "make one")) == 2
    assert capsys.readouterr().err == "error: no [x] :smile: file\n  fix: make one\n"
    assert outcome(monkeypatch, BelleError("no file")) == 2
    assert capsys.readouterr().err == "error: no file\n"
    assert outcome(monkeypatch, KeyboardInterrupt()) == 130
    assert "the same command again goes on" in capsys.readouterr().err
    with pytest.raises(ZeroDivisionError):  # a fault of ours keeps its traceback
        outcome(monkeypatch, ZeroDivisionError())


def test_a_closed_pipe_is_no_traceback() -> None:
    code = "import sys, belle.cli as c; c.VERBS = {'sft': c.VERBS['sft']}; c.overview = lambda: 'x' * 300000; c.main(['--help'])"
    shell = f'"{sys.executable}" -c "{code}" | head -c 1'
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False)
    assert done.stdout == "x"
    assert "Traceback" not in done.stderr


def test_unknown_verbs_get_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["evalute"])
    assert left.value.code == 2
    assert "unknown verb 'evalute'. Did you mean 'evaluate'?" in capsys.readouterr().err


def test_version_and_overview(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--version"])
    assert capsys.readouterr().out == f"belle {__version__}\n"
    for words in ([], ["--help"], ["-h"], ["help"]):
        main(words)
        printed = capsys.readouterr().out
        assert [line.split()[0] for line in printed.split("Verbs:\n")[1].split("\n\n")[0].splitlines()] == list(VERBS)


def test_every_verb_has_a_summary_of_one_line() -> None:
    for line in overview().split("Verbs:\n")[1].split("\n\n")[0].splitlines():
        verb, _, summary = line.strip().partition(" ")
        assert len(summary.strip()) > 20, verb
        assert summary.strip().endswith("."), verb


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb_shows_each_key_and_two_examples(verb: str) -> None:
    import importlib

    found = importlib.import_module(VERBS[verb])
    text = verb_help(verb, found)
    assert text.count(f"  belle {verb}") + text.count(f"| belle {verb}") >= 2
    for key, kind, _, meaning in cli.keys(found.Config):
        assert f"\n  {key}  (" in text
        assert meaning or kind == "section", f"{verb}: {key} has no docstring"
    assert callable(found.run)
    assert callable(found.plan)


def test_help_shows_the_docstrings_of_attributes() -> None:
    assert verb_help("verb", module()) == (
        "belle verb [recipe] [key=value ...] [--dry-run]\n\nDoes nothing at all.\n\nKeys:\n  model  (section)\n"
        '  model.path  (str = "")\n      What to read.\n  names  (str | tuple[str, ...] = [])\n  count  (int = 0)'
    )


def test_dry_run_prints_a_recipe_that_reads_back_and_the_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([VERB, "demo", "--dry-run", f"output_dir={tmp_path / 'run'}", "optim.epochs=2"])
    printed = capsys.readouterr().out
    (tmp_path / "again.yaml").write_text(printed, encoding="utf-8")
    main([VERB, str(tmp_path / "again.yaml"), "--dry-run"])
    assert capsys.readouterr().out == printed
    assert "  epochs: 2.0\n" in printed
    assert f"# write {tmp_path / 'run'}/adapter\n" in printed
    assert not (tmp_path / "run").exists()


def test_help_answers_at_once_and_imports_nothing_heavy() -> None:
    """The processor's seconds are counted: the clock on the wall depends on what else the machine does."""
    code = (
        "import sys, time; from belle.cli import main; main(sys.argv[1:]); seconds = time.process_time()\n"
        "print(seconds, *[m for m in ('torch', 'transformers', 'numpy', 'peft', 'rich') if m in sys.modules], file=sys.stderr)"
    )
    for words in (["--help"], ["sft", "--help"], ["evaluate", "--help"]):
        runs = [run(*words, code=code).stderr.split() for _ in range(3)]
        assert all(len(found) == 1 for found in runs), runs[0]
        assert min(float(found[0]) for found in runs) < 0.3


def test_every_verb_is_a_file_of_commands_and_no_command_is_without_a_verb() -> None:
    files = {path.stem for path in (ROOT / "commands").glob("*.py")} - {"__init__"}
    assert set(VERBS) == files
    assert all(VERBS[verb] == f"belle.commands.{verb}" for verb in VERBS)


def test_as_a_module() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"belle {__version__}\n")
    done = run("sft", "nothing")
    assert done.returncode == 2
    assert done.stderr.startswith("error: no recipe 'nothing'")


def test_data_in_the_place_of_a_recipe_is_called_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["sft", "my.jsonl"])
    assert stop.value.code == 2
    assert "belle sft demo data.path=my.jsonl" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_standard_output_is_one_error() -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "belle", "--help"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


def test_chat_without_standard_input_is_one_error() -> None:
    command = f'exec "{sys.executable}" -m belle chat embedded:none <&-'
    done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert "no standard input" in done.stderr
