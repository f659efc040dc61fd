from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from belle.cli import main
from belle.commands import chat
from belle.errors import BelleError
from belle.inference.fake_backend import FakeBackend
from belle.inference.session import Session
from belle.sections import GenerationSection


def fake(script: Any, context: int | None = None) -> Session:
    return Session(FakeBackend(script, context), GenerationSection())


def test_a_conversation_through_a_pipe(tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    script.write_text(json.dumps({"你好": "你好！😀", "再见": "再见。"}), encoding="utf-8")
    lines = "你好\r\n\n/sav x\n/undo\n再见\n/save chat.jsonl\n/exit\n再见\n".encode() + b"\xff\n"
    command = [sys.executable, "-m", "belle", "chat", str(script), "backend=fake", "system=s"]
    done = subprocess.run(command, input=lines, capture_output=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stdout.decode()) == (0, "你好！😀\n再见。\n")
    errors = done.stderr.decode()
    assert "unknown command '/sav'. Did you mean '/save'?" in errors
    assert "taken back: 你好" in errors
    saved = json.loads((tmp_path / "chat.jsonl").read_text(encoding="utf-8"))
    assert [m["content"] for m in saved["messages"]] == ["s", "再见", "再见。"]


def test_the_end_of_a_pipe_is_the_end(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "belle", "chat", "echo", "backend=fake"]
    done = subprocess.run(command, input="好".encode() + b"\xff", capture_output=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stdout.decode()) == (0, "好\ufffd\n")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("/hepl", "Did you mean '/help'"), ("/quitt", "unknown command"), ("/save", "needs the name of a file"),
        ("/reset now", "takes nothing behind it"), ("/undo", "nothing was asked"), ("/regen", "nothing was asked"),
        ("/load nothing.jsonl", "nothing.jsonl"),
    ],
)  # fmt: skip
def test_mistakes_are_one_error(line: str, message: str) -> None:
    session = fake(["one"])
    with pytest.raises(BelleError) as error:
        chat.handle(session, line)
    assert message in str(error.value)
    assert session.turns == []


def test_system_regen_reset_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    session = fake(["one", "two"])
    chat.handle(session, "/system 你是 Belle ")
    assert session.system == "你是 Belle"
    chat.handle(session, " a ")
    chat.handle(session, "/regen")
    assert [m.content for m in session.turns] == ["a", "two"]
    assert capsys.readouterr().out == "one\ntwo\n"
    chat.handle(session, "/system")
    chat.handle(session, "/reset")
    assert (session.system, session.turns) == ("", [])
    chat.handle(session, "/help")
    assert set(chat._actions(session)) | {"/exit"} == {command.split()[0] for command in chat.COMMANDS}


def test_ctrl_c_stops_the_answer_and_not_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    class Interrupted(FakeBackend):
        def stream(self, request: Any, options: Any) -> Any:
            yield "half an "
            raise KeyboardInterrupt

    session = Session(Interrupted([]), GenerationSection())
    chat.handle(session, "q")
    assert [m.content for m in session.turns] == ["q", "half an "]
    assert capsys.readouterr().out == "half an \n"


def test_a_history_that_no_longer_fits_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    session = fake(lambda request: "x" * 8, context=40)
    for _ in range(3):
        chat.handle(session, "q" * 8)
    assert "the oldest 2 messages no longer fit into 40 tokens" in capsys.readouterr().err


def test_a_failed_answer_is_an_error_line() -> None:
    with pytest.raises(BelleError, match="context is 10"):
        chat.handle(fake(["x"], context=10), "q" * 20)


def test_an_answer_cannot_steer_the_terminal() -> None:
    assert chat._harmless("a\x1b[31mb\r\x07\x9b\tc\n闫😀\u200d") == "a[31mb\tc\n闫😀\u200d"


def test_dry_run_says_what_would_happen(capsys: pytest.CaptureFixture[str]) -> None:
    main(["chat", "some/model", "--dry-run"])
    assert "# load some/model and talk" in capsys.readouterr().out
