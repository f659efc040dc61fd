from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from belle.cli import main
from belle.errors import BelleError
from belle.jsonl import read_rows

ROWS = [
    {"id": "a", "messages": [{"role": "user", "content": "你好"}, {"role": "assistant", "content": "嗨"}]},
    {"instruction": "one", "input": ""},
    {"conversations": [{"from": "human", "value": "x"}, {"from": "gpt", "value": "y"}, {"from": "human", "value": "two"}]},
    {"id": "d", "messages": [{"role": "user", "content": "unknown"}]},
    {"id": "e", "messages": [
        {"role": "user", "content": "tool?"},
        {"role": "assistant", "content": "", "tool_calls": [
            {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "content": "3"},
        {"role": "assistant", "content": "It is 3."}]},
]  # fmt: skip
SCRIPT = {"你好": "你好！", "one": "1", "two": "2" * 300, "tool?": "three"}


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    (tmp_path / "script.json").write_text(json.dumps(SCRIPT), encoding="utf-8")
    places = [f"model.path={tmp_path / 'script.json'}", f"data.path={tmp_path / 'data.jsonl'}", f"output_dir={tmp_path / 'run'}"]
    return ["infer", "backend=fake", *places]


def with_backend(words: list[str], name: str) -> list[str]:
    return [f"backend={name}" if word.startswith("backend=") else word for word in words]


def answers(tmp_path: Path) -> list[dict[str, Any]]:
    return list(read_rows(tmp_path / "run" / "answers.jsonl"))


def test_every_row_in_its_order(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(words)
    rows = answers(tmp_path)
    assert rows[0] == {
        "id": "a", "source": f"{tmp_path / 'data.jsonl'}:1", "prompt": [{"role": "user", "content": "你好"}], "reference": "嗨",
        "answer": "你好！", "finish": "stop", "prompt_tokens": 2, "answer_tokens": 3,
    }  # fmt: skip
    assert [row["finish"] for row in rows] == ["stop", "stop", "length", "error", "stop"]
    assert rows[2]["prompt"][-1]["content"] == "two"
    assert len(rows[2]["prompt"]) == 3
    assert rows[2]["reference"] is None
    assert "no answer to 'unknown'" in rows[3]["error"]
    assert [m["role"] for m in rows[4]["prompt"]] == ["user", "assistant", "tool"]
    assert rows[4]["reference"] == "It is 3."
    info = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    assert info["status"] == "finished"
    assert info["products"] == {"answers": "answers.jsonl"}
    assert {key: info["metrics"][key] for key in ("rows", "stop", "length", "error", "dropped")} == {
        "rows": 5, "stop": 3, "length": 1, "error": 1, "dropped": 0,
    }  # fmt: skip
    assert [(i["role"], i["records"]) for i in info["inputs"]] == [("data", 5)]
    said = capsys.readouterr()
    assert "1 of 5 rows got no answer" in said.err
    assert said.out.strip() == str(tmp_path / "run" / "answers.jsonl")
    assert sorted(p.name for p in (tmp_path / "run").iterdir() if p.name != ".lock") == [
        "answers.jsonl",
        "recipe.yaml",
        "run.json",
    ]


def test_a_finished_run_is_left_alone(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(words)
    before = (tmp_path / "run" / "answers.jsonl").stat()
    main(words)
    assert (tmp_path / "run" / "answers.jsonl").stat() == before
    assert "finished already" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*words, "generation.seed=1"])


def test_malformed_rows_are_kept_beside_the_answers(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (tmp_path / "data.jsonl").open("a") as file:
        file.write('{"broken": \n{"messages": "no"}\n')
    with pytest.raises(SystemExit):
        main(words)
    gc.collect()  # the failed run holds its folder's lock as long as its traceback lives
    assert not (tmp_path / "run" / "answers.jsonl").exists()
    main([*words, "data.on_error=keep", "overwrite=true"])
    assert len(answers(tmp_path)) == 5
    assert [row["source"].rsplit(":", 1)[1] for row in read_rows(tmp_path / "run" / "dropped.jsonl")] == ["6", "7"]
    assert "2 malformed rows were left out" in capsys.readouterr().err


DYING = """
import os
from pathlib import Path
from belle.inference.fake_backend import FakeBackend

class Dying(FakeBackend):
    def _answer(self, request, options):
        with Path("asked.txt").open("a") as file:
            file.write(request.id + "\\n")
        if not Path("killed").exists() and len(self.requests) == 2:
            Path("killed").touch()
            os.kill(os.getpid(), 9)
        return super()._answer(request, options)
"""


def test_a_killed_run_goes_on_where_it_was(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "dying.py").write_text(DYING, encoding="utf-8")
    command = [sys.executable, "-m", "belle", *with_backend(words, "dying:Dying")]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    assert subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False).returncode == -9
    part = tmp_path / "run" / "answers.part.jsonl"
    assert len(list(read_rows(part))) == 2
    with part.open("a", encoding="utf-8") as file:
        file.write('{"position": 2, "id"')  # torn by the kill
    assert not (tmp_path / "run" / "answers.jsonl").exists()
    plan = subprocess.run([*command, "--dry-run"], cwd=tmp_path, env=environment, capture_output=True, check=True)
    assert "# keep the 2 answers that an earlier run made" in plan.stdout.decode()
    assert subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False).returncode == 0
    assert (tmp_path / "asked.txt").read_text().split("\n")[:-1] == ["a", "row 1", "row 2", "row 2", "d", "e"]
    killed = answers(tmp_path)
    main([word.replace(str(tmp_path / "run"), str(tmp_path / "again")) for word in words])
    assert killed == list(read_rows(tmp_path / "again" / "answers.jsonl"))
    assert not part.exists()


def test_a_conversation_without_a_question_is_a_failed_row(tmp_path: Path, words: list[str]) -> None:
    from belle.commands.infer import _prompt, _prompts
    from belle.records import Conversation, Message

    alone = Conversation((Message("assistant", "hello"),))
    assert _prompt(alone) == ()
    assert _prompts([alone])[0]["reference"] is None


def test_an_unknown_backend_names_the_nearest(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(with_backend(words, "fakes"))
    assert "Did you mean 'fake'" in capsys.readouterr().err


def test_the_shipped_recipe_loads(capsys: pytest.CaptureFixture[str]) -> None:
    main(["infer", "demo", "--dry-run"])
    assert "# load embedded:smollm2-135m-instruct and answer" in capsys.readouterr().out


def test_nothing_heavy_is_imported_for_help() -> None:
    code = "import sys; from belle.commands import infer, chat; print('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_plan_counts_nothing_when_overwriting(tmp_path: Path) -> None:
    from belle.commands import infer
    from belle.config import load

    part = tmp_path / "answers.part.jsonl"
    part.write_text('{"position": 0}\n')
    places = ["model.path=x", "data.path=y", f"output_dir={tmp_path}"]
    assert any("keep the 1 answers" in line for line in infer.plan(load(infer.Config, None, places)))
    assert not any("keep" in line for line in infer.plan(load(infer.Config, None, [*places, "overwrite=true"])))


BROKEN = """
from belle.inference.fake_backend import FakeBackend

class Broken(FakeBackend):
    def generate(self, *_):
        raise RuntimeError("in the middle")
"""


def test_data_that_changed_in_between_is_an_error(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from belle.cli import read_config
    from belle.commands import infer

    (tmp_path / "broken.py").write_text(BROKEN, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    config = read_config("infer", infer, with_backend(words, "broken:Broken")[1:])
    with pytest.raises(RuntimeError, match="in the middle"):
        infer.run(config)
    (tmp_path / "data.jsonl").write_text(json.dumps(ROWS[0]) + "\n", encoding="utf-8")
    with pytest.raises(BelleError, match="has changed since"):
        infer.run(config)


def test_a_mistake_leaves_earlier_answers_alone(words: list[str], tmp_path: Path) -> None:
    main(words)
    before = sorted((p.name, p.read_bytes()) for p in (tmp_path / "run").iterdir())
    for wrong in (with_backend(words, "fakes"), [word.replace("script.json", "none.json") for word in words]):
        with pytest.raises(SystemExit):
            main([*wrong, "overwrite=true"])
        gc.collect()
        assert sorted((p.name, p.read_bytes()) for p in (tmp_path / "run").iterdir()) == before
