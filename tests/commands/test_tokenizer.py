from __future__ import annotations

from pathlib import Path

import pytest
from sound_model import main
from tiny import tiny_model_folder

from belle.jsonl import read_json, write_rows

LINES = [
    "北京今天的天气非常好，适合出门散步。",
    "今天北京的天气不好，不适合出门。",
    "The weather is fine.",
    "天气预报说今天北京有雨。",
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model_folder(tmp_path_factory.mktemp("tokenizer") / "tiny", template="belle")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    write_rows(tmp_path / "corpus.jsonl", [{"text": f"{LINES[n % 4]}{n}"} for n in range(200)])
    return tmp_path / "corpus.jsonl"


def test_a_model_with_more_tokens_that_talks_as_before(
    model: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from belle.data.chat_template import ChatTemplate
    from belle.models.load import load_model, load_tokenizer
    from belle.records import Message
    from belle.sections import ModelSection

    words = [
        "tokenizer",
        "extend_zh",
        str(corpus),
        f"model.path={model}",
        "count=60",
        "held_out=0.2",
        f"output_dir={tmp_path / 'o'}",
    ]
    assert main(words) == 0
    captured = capsys.readouterr()
    assert captured.out.strip() == str(tmp_path / "o/model")
    metrics = read_json(tmp_path / "o/run.json")["metrics"]
    assert metrics["languages"]["zh"]["fewer"] > 0.5
    assert metrics["languages"]["en"]["fewer"] == 0
    assert metrics["new"] == metrics["characters"] + metrics["words"] <= 60
    assert metrics["rows"] % 64 == 0
    sections = ModelSection(path=str(tmp_path / "o")), ModelSection(path=str(model))
    new, old = (load_tokenizer(section) for section in sections)
    grown = load_model(sections[0])
    assert grown.get_input_embeddings().weight.shape[0] == grown.config.vocab_size == metrics["rows"] >= len(new)
    assert len(new) == len(old) + metrics["new"]
    assert new.encode("Human: fine</s>") == old.encode("Human: fine</s>")
    talk = [Message("user", "今天北京的天气好吗？")]
    said = ChatTemplate.load(new).prompt(talk)
    assert new.decode(said) == old.decode(ChatTemplate.load(old).prompt(talk))
    assert len(said) < len(ChatTemplate.load(old).prompt(talk))
    assert main(words) == 0
    assert "already finished" in capsys.readouterr().err


@pytest.mark.parametrize(("words", "message"), [
    (["script=han", "data.path=latin.jsonl"], "no character of the kind"),
    (["data.path=nowhere.jsonl"], "no file 'nowhere.jsonl'"),
    (["count=0"], "count: should be greater than 0"),
])  # fmt: skip
def test_what_cannot_be_is_one_error(
    words: list[str], message: str, model: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "latin.jsonl", [{"text": "only Latin letters"}])
    assert main(["tokenizer", "extend_zh", str(corpus), f"model.path={model}", "output_dir=o", *words]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "o/model").exists()


def test_fewer_tokens_than_asked_for_are_said(
    model: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tokenizer", "extend_zh", str(corpus), f"model.path={model}", f"output_dir={tmp_path / 'o'}"]) == 0
    assert "new tokens, not 8000: give more text" in capsys.readouterr().err
