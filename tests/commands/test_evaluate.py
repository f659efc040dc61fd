from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from belle.cli import main
from belle.errors import BelleError
from belle.inference.backend import Answer, Request, Score
from belle.models.load import Located
from belle.records import Conversation
from belle.sections import GenerationSection

ROWS = [
    {"id": "q1", "category": "math", "language": "zh", "question": "一加一？", "reference": "二"},
    {"id": "q2", "category": "rewrite", "language": "en", "question": "Say hi", "reference": "Hi"},
    {"id": "q3", "category": "identity", "language": "zh", "question": "你是谁？", "reference": "我是 Belle"},
]


class Scripted:
    """Stands in for the transformers backend: no weights are loaded."""

    name = "scripted"
    opened = 0

    @classmethod
    def open(cls, section: Any, batch_size: int = 16) -> Scripted:
        cls.opened += 1
        return cls()

    def generate(
        self, requests: Sequence[Request], options: GenerationSection, on_answer: Callable[[int, Answer], None] | None = None
    ) -> list[Answer]:
        return [Answer("我是 Belle", "stop", 4, 3) for _ in requests]

    def score(self, conversations: Sequence[Conversation]) -> list[Score]:
        return [Score(3.0, 2, 1) for _ in conversations]


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The arguments of a small evaluation, with the model scripted."""
    import belle.inference.transformers_backend as backend
    import belle.models.load as load

    model = tmp_path / "model"
    model.mkdir()
    (model / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    monkeypatch.setattr(backend, "TransformersBackend", Scripted)
    monkeypatch.setattr(load, "locate", lambda path: Located(str(model)))
    Scripted.opened = 0
    places = [f"model.path={model}", f"data.path={tmp_path / 'q.jsonl'}", f"output_dir={tmp_path / 'run'}"]
    return ["evaluate", *places, "bootstrap=200"]


def test_writes_answers_metrics_and_lineage(tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(words)
    info = json.loads((tmp_path / "run/run.json").read_text(encoding="utf-8"))
    assert info["status"] == "finished"
    assert [(i["role"], Path(i["path"]).name) for i in info["inputs"]] == [("questions", "q.jsonl"), ("base", "model")]
    assert all(len(i["sha256"]) == 64 for i in info["inputs"])
    assert info["products"] == {"answers": "answers.jsonl"}
    assert info["metrics"]["loss"]["value"] == pytest.approx(1.5)
    assert info["metrics"]["says_name"]["value"] == 1.0
    assert info["metrics"]["language_match"]["value"] == pytest.approx(2 / 3)
    rows = [json.loads(line) for line in (tmp_path / "run/answers.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["id"] for row in rows] == ["q1", "q2", "q3"]
    assert [row["exact"] for row in rows] == [False, False, True]
    printed = capsys.readouterr().err
    assert "macro of 2" in printed
    assert "1.500" in printed


def test_a_finished_run_only_prints_its_table(tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(words)
    before = (tmp_path / "run/run.json").read_bytes()
    capsys.readouterr()
    main(words)
    assert Scripted.opened == 1
    assert (tmp_path / "run/run.json").read_bytes() == before
    assert "finished already" in (printed := capsys.readouterr().err)
    assert "macro of 2" in printed


def test_weights_that_changed_in_between_are_refused(tmp_path: Path, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Scripted, "generate", stop)
        with pytest.raises(SystemExit) as left:
            main(words)
    assert left.value.code == 130
    (tmp_path / "model/model.safetensors").write_bytes(b"other weights")
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 2
    assert not (tmp_path / "run/answers.jsonl").exists()


def test_dry_run_and_help_need_no_torch(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = "import sys; from belle.cli import main; main(sys.argv[1:]); assert 'torch' not in sys.modules"
    for words in (["evaluate", "--help"], ["evaluate", "demo", "--dry-run"]):
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, cwd=tmp_path, check=False)
        assert done.returncode == 0, done.stderr
    assert "embedded:smollm2-135m-instruct" in done.stdout


def test_a_bad_question_file_is_named(tmp_path: Path, words: list[str]) -> None:
    from belle.commands.evaluate import Config, run
    from belle.sections import DataSection, ModelSection

    (tmp_path / "q.jsonl").write_text('{"question": "a", "class": "math"}\n{"question": 3, "class": "math"}\n', encoding="utf-8")
    config = Config(
        model=ModelSection(path="m"), data=DataSection(path=str(tmp_path / "q.jsonl")), output_dir=str(tmp_path / "run")
    )
    with pytest.raises(BelleError, match=r"q\.jsonl:2"):
        run(config)
