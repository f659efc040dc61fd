from __future__ import annotations

from pathlib import Path

import pytest
from fake_hub import FakeHub
from sound_model import change_weights, main

from belle.jsonl import read_json
from belle.release import hub


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    """In the place of Hugging Face; remembers the token it was opened with."""
    made = FakeHub()

    def connect(token: str | None, endpoint: str | None) -> FakeHub:
        made.token = token
        return made

    monkeypatch.setitem(hub.HUBS, "huggingface", connect)
    monkeypatch.setenv("HF_TOKEN", "secret-token")
    return made


def test_a_push_lists_and_sends_nothing_unless_told(sound_home: Path, fake: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hub", "push", str(sound_home / "merged"), "me/mine"]) == 0
    told = capsys.readouterr().err
    assert "nothing was sent: 6 files" in told
    assert "model.safetensors" in told
    assert "stays here: run.json" in told
    assert "there is no model card" in told
    assert (fake.repos, fake.token) == ({}, None)


def test_a_push_sends_what_was_verified(sound_home: Path, fake: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hub", "push", str(sound_home / "merged"), "me/mine", "dry_run=false"]) == 0
    told = capsys.readouterr()
    assert told.out.strip() == "fake/me/mine"
    assert "Fake has each of them with the same hash" in told.err
    assert "secret-token" not in told.out + told.err
    assert (fake.token, fake.private) == ("secret-token", True)
    sent = fake.repos["me/mine"]
    assert sorted(sent) == [
        "chat_template.jinja", "config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
        "tokenizer_config.json",
    ]  # fmt: skip
    assert sent["model.safetensors"] == (sound_home / "merged/model.safetensors").read_bytes()


def test_an_unsound_model_does_not_leave(sound: Path, fake: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    change_weights(sound / "base/model.safetensors", lambda t: t.update({"lm_head.weight": t["lm_head.weight"].roll(1, 0)}))
    assert main(["hub", "push", str(sound / "base"), "me/mine", "dry_run=false"]) == 2
    assert "does not leave; language: the model knows next to no language" in capsys.readouterr().err
    assert fake.repos == {}


def test_without_a_token_nothing_is_tried(
    sound_home: Path, fake: FakeHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    assert main(["hub", "push", str(sound_home / "merged"), "me/mine", "dry_run=false"]) == 2
    assert "the environment variable HF_TOKEN holds no token" in capsys.readouterr().err
    assert main(["hub", "push", str(sound_home / "merged"), "me/mine", "dry_run=false", "token_variable=MINE"]) == 2
    assert "the environment variable MINE holds no token" in capsys.readouterr().err


def test_what_was_pushed_can_be_pulled_and_is_the_same(
    sound_home: Path, tmp_path: Path, fake: FakeHub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["hub", "push", str(sound_home / "merged"), "me/mine", "dry_run=false"]) == 0
    words = ["hub", "pull", "me/mine", str(tmp_path / "got"), "revision=v1"]
    assert main(words) == 0
    assert (tmp_path / "got/model/model.safetensors").read_bytes() == (sound_home / "merged/model.safetensors").read_bytes()
    info = read_json(tmp_path / "got/run.json")
    assert (info["notes"]["commit"], info["notes"]["repo"], info["products"]) == ("commit-of-v1", "me/mine", {"model": "model"})
    assert {file["path"]: len(file["sha256"]) for file in info["notes"]["files"]}["model.safetensors"] == 64
    assert "secret-token" not in (tmp_path / "got/run.json").read_text(encoding="utf-8")
    fake.fetched = []
    capsys.readouterr()
    assert main(words) == 0
    assert "already finished" in capsys.readouterr().err
    assert fake.fetched == []
    assert main(["verify", str(tmp_path / "got")]) == 0


def test_a_stopped_pull_goes_on_with_the_same_commit(tmp_path: Path, fake: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    fake.repos = {"a/b": {"adapter_config.json": b"{}", "adapter_model.safetensors": b"w", "old.bin": b"p"}}
    fake.fail_on = "adapter_model.safetensors"
    words = ["hub", "pull", "a/b", str(tmp_path / "got")]
    assert main(words) == 2
    assert "no network" in capsys.readouterr().err
    fake.fail_on, fake.fetched = "", []
    assert main(words) == 0
    told = capsys.readouterr()
    assert fake.fetched == ["adapter_model.safetensors"]
    assert told.out.strip() == str(tmp_path / "got/model"), "an adapter is named by its own folder"
    assert "left there: old.bin" in told.err


@pytest.mark.parametrize(("words", "message"), [
    (["push", "x", "not-a-repository"], "'not-a-repository' is no repository"),
    (["pull", "a/b/c", "out"], "'a/b/c' is no repository"),
    (["pull", "no/such", "{out}"], "Fake refuses 'no/such'"),
    (["push", "no/such/model", "me/mine"], "no model at 'no/such/model'"),
    (["send", "x", "a/b"], "action: should be 'push' or 'pull'"),
])  # fmt: skip
def test_bad_input_is_one_error(
    words: list[str], message: str, tmp_path: Path, fake: FakeHub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["hub", *(word.format(out=tmp_path / "out") for word in words)]) == 2
    assert message in capsys.readouterr().err


def test_the_plan_says_what_would_leave(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hub", "push", "runs/x", "me/mine", "--dry-run"]) == 0
    assert "# send nothing: dry_run" in capsys.readouterr().out
