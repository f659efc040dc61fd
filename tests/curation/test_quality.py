"""Scores: cheap ones by hand, a model's against transformers itself, a judge's replies."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import build_tokenizer, tiny_model_folder

from belle.curation.catalogue import read_steps
from belle.curation.judge import UNSCORED, read_class, read_score
from belle.curation.quality import SCORES, first_round
from belle.curation.steps import Context
from belle.errors import BelleError
from belle.records import Conversation, Document, Message, Source


def talk(*texts: str, system: str = "", line: int = 1) -> Conversation:
    roles = ("user", "assistant")
    head = (Message("system", system),) if system else ()
    turns = tuple(Message(roles[i % 2], text) for i, text in enumerate(texts))  # type: ignore[arg-type]
    return Conversation(head + turns, source=Source("data.jsonl", line))


def score(entry: Any, records: list[Any], context: Context = Context()) -> list[Any]:  # noqa: B008
    (spec,) = read_steps([entry])
    result: list[Any] = spec.build(context)(records)
    return result


TALKS = [talk("你好", "你好，我是助手。"), talk("What is two plus two?", "Four.", "Sure?", "Yes, four."), talk("只问不答")]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("length_characters", [11.0, 44.0, 4.0, 3.0]), ("instruction_characters", [2.0, 27.0, 4.0, 3.0]),
        ("answer_characters", [8.0, 16.0, 0.0, 3.0]), ("turns", [1.0, 2.0, 1.0, 0.0]),
    ],
)  # fmt: skip
def test_cheap_scores(name: str, expected: list[float]) -> None:
    assert score(name, [*TALKS, Document("abc")]) == expected


def test_distinct_words_fall_where_an_answer_repeats_itself() -> None:
    found = score("distinct_words", [talk("a", "yes yes yes no"), talk("a", "one two"), talk("a", "……")])
    assert found[:2] == [0.5, 1.0]
    assert math.isnan(found[2])


def test_every_score_has_a_name_that_can_be_built() -> None:
    given = {"perplexity", "instruction_following_difficulty", "reward_model", "judge", "judged_class"}
    assert given < set(SCORES)
    for name in set(SCORES) - given:
        assert len(score(name, TALKS)) == 3


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model_folder(tmp_path_factory.mktemp("tiny"))


def mean_loss(folder: Path, prompt: str, answer: str) -> float:
    """The mean loss of the answer's tokens and its end token behind a prompt in ChatML, by transformers alone."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, lm = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    head = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    tail = tokenizer(answer, add_special_tokens=False)["input_ids"]
    ids = torch.tensor([head + tail])
    labels = torch.tensor([[-100] * len(head) + tail])
    with torch.inference_mode():
        return float(lm(input_ids=ids, labels=labels).loss)


def chatml(user: str) -> str:
    return f"<|im_start|>user\n{user}<|im_end|>\n<|im_start|>assistant\n"


def test_perplexity_is_that_of_transformers(model: Path) -> None:
    record = talk("你好", "你好，我是助手。")
    found = score({"perplexity": {"model": str(model), "dtype": "float32"}}, [*TALKS, record])
    expected = math.exp(mean_loss(model, chatml("你好"), "你好，我是助手。<|im_end|>"))
    assert found[0] == found[3] == pytest.approx(expected, rel=1e-4)
    assert found[1] > 1
    assert math.isnan(found[2])  # no answer


def test_perplexity_of_a_document_is_that_of_its_text(model: Path) -> None:
    text = "The capital of France is Paris."
    (found,) = score({"perplexity": {"model": str(model), "dtype": "float32"}}, [Document(text)])
    assert found == pytest.approx(math.exp(mean_loss(model, "<s>", text)), rel=1e-4)


def test_what_is_longer_than_the_context_is_not_scored(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = score({"perplexity": {"model": str(model)}}, [talk("x", "很长" * 400), TALKS[0]])
    assert math.isnan(found[0])
    assert found[1] > 1
    assert "1 of 2 records could not be scored" in capsys.readouterr().err


def test_difficulty_is_the_ratio_of_two_losses(model: Path) -> None:
    with_ = mean_loss(model, chatml("世界"), "你好，世界！<|im_end|>")
    without = mean_loss(model, chatml(""), "你好，世界！<|im_end|>")
    entry = {"instruction_following_difficulty": {"model": str(model), "dtype": "float32"}}
    found = score(entry, [talk("世界", "你好，世界！"), TALKS[2], Document("x")])
    assert found[0] == pytest.approx(with_ / without, rel=1e-4)
    assert all(map(math.isnan, found[1:]))


def test_the_first_round_keeps_the_system_turn() -> None:
    record = talk("问", "答", "再问", "再答", system="简短")
    assert [m.content for m in first_round(record).messages] == ["简短", "问", "答"]  # type: ignore[union-attr]
    assert first_round(talk("问", " ")) is None
    assert first_round(Document("x")) is None


def test_batches_do_not_matter(model: Path) -> None:
    records = [talk(f"问题 {i}", "yes " * (i + 1)) for i in range(7)]
    many = score({"perplexity": {"model": str(model), "batch_size": 4, "dtype": "float32"}}, records)
    one = {"perplexity": {"model": str(model), "batch_size": 1, "dtype": "float32"}}
    single = [score(one, [record])[0] for record in records]
    assert many == pytest.approx(single, rel=1e-5)


@pytest.fixture(scope="module")
def reward(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import LlamaConfig, LlamaForSequenceClassification

    from belle.data.chat_template import ChatTemplate

    folder = tmp_path_factory.mktemp("reward")
    tokenizer = build_tokenizer()
    ChatTemplate.load(tokenizer, "chatml").attach(tokenizer)
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=256, num_labels=1, pad_token_id=1, initializer_range=0.3,
    )  # fmt: skip
    LlamaForSequenceClassification(config).float().eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_rewards_are_the_models_own(reward: Path) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    records = [talk("你好", "你好！"), talk("两个字", "很长的回答，" * 6), talk("x", "字" * 400)]
    found = score({"reward_model": {"model": str(reward), "dtype": "float32"}}, [*records, Document("x")])
    lm, tokenizer = AutoModelForSequenceClassification.from_pretrained(reward), AutoTokenizer.from_pretrained(reward)
    for record, value in zip(records[:2], found, strict=False):
        text = chatml(record.messages[0].content) + record.messages[1].content + "<|im_end|>\n"
        ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            assert value == pytest.approx(float(lm(input_ids=ids).logits[0, 0]), rel=1e-4, abs=1e-5)
    assert all(map(math.isnan, found[2:]))


def test_a_language_model_is_no_reward_model(model: Path) -> None:
    with pytest.raises(BelleError, match="is no reward model: LlamaForCausalLM"):
        score({"reward_model": {"model": str(model)}}, TALKS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("理由很好。\n得分：8", 8.0), ("Score: 7.5", 7.5), ("**评分**：9分", 9.0), ("**Score:** 6/10", 6.0), ("7", 7.0),
        ("8分。", 8.0),
        ('{"score": 4}', 4.0), ("先看，得分应低。得分：3\n再看，得分：5", 5.0), ("Nothing wrong.\n10", 10.0), ("得分是 2", 2.0),
    ],
)  # fmt: skip
def test_a_judges_number(text: str, expected: float) -> None:
    assert read_score(text, 1, 10) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [("很好", "no score"), ("得分：11", "out of range: 11"), ("Score: 4/5", "another scale"), ("", "no score"),
     ("有 3 个错误", "no score"), ("得分：-1", "out of range")],
)  # fmt: skip
def test_what_is_no_score_has_a_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_score(text, 1, 10)


@given(st.text(max_size=60))
def test_any_reply_is_a_number_in_range_or_has_a_reason(text: str) -> None:
    try:
        value = read_score(text, 1, 10)
    except ValueError as error:
        value = float(bool(str(error)))
    assert 1 <= value <= 10


@pytest.mark.parametrize(
    ("text", "expected"),
    [("math", "math"), ("类别：Open QA", "open_qa"), ("`rewrite`.", "rewrite"), ("Words.\nThe class is closed_qa", "closed_qa")],
)
def test_a_judges_class(text: str, expected: str) -> None:
    assert read_class(text) == expected


@pytest.mark.parametrize(("text", "reason"), [("诗", "no class"), ("math or code", "code and math"), ("", "no class")])
def test_what_is_no_class_has_a_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_class(text)


def judge(folder: Path, replies: list[str], name: str = "judge", **options: Any) -> dict[str, Any]:
    script = folder / "script.json"
    script.write_text(json.dumps(replies), encoding="utf-8")
    return {name: {"backend": {"model": str(script), "backend": "fake"}, **options}}


def test_a_judge_is_asked_once_and_keeps_what_it_could_not_read(tmp_path: Path) -> None:
    context = Context(tmp_path / "step")
    (tmp_path / "step").mkdir()
    entry = judge(tmp_path, ["得分：8", "说不好", "Score: 3"])
    records = [talk("写诗", "春眠不觉晓", line=4), talk("算数", "7", line=5), talk("Add 1 and 1.", "3", line=6)]
    first = score(entry, records, context)
    assert (first[0], first[2]) == (8.0, 3.0)
    assert math.isnan(first[1])
    kept = [json.loads(line) for line in (tmp_path / "step" / UNSCORED).read_text("utf-8").splitlines()]
    assert [(row["source"], row["reason"], row["reply"]) for row in kept] == [("data.jsonl:5", "no score in the reply", "说不好")]
    again = score(judge(tmp_path, []), records, context)  # an empty script: nothing may be asked
    assert (again[0], again[2]) == (8.0, 3.0)
    assert len((tmp_path / "step" / UNSCORED).read_text("utf-8").splitlines()) == 1


def test_the_judges_prompt_is_in_the_language_of_the_task(tmp_path: Path) -> None:
    context = Context(tmp_path)
    score(judge(tmp_path, ["得分：8", "Score: 3"]), [talk("写诗 {{answer}}", "春眠"), talk("Add 1 and 1.", "3")], context)
    calls = [json.loads(line)["messages"][0]["content"] for line in (tmp_path / "calls.jsonl").read_text("utf-8").splitlines()]
    assert "写诗 {{answer}}" in calls[0]  # what a record says is not filled in again
    assert "得分：数字" in calls[0]
    assert "Score: number" in calls[1]
    assert "from 1 (of no use) to 10" in calls[1]


def test_a_judge_of_classes_and_a_prompt_of_ones_own(tmp_path: Path) -> None:
    prompt = tmp_path / "mine.txt"
    prompt.write_text("哪一类？{{instruction}}", encoding="utf-8")
    entry = judge(tmp_path, ["code", "no idea"], "judged_class", prompt=str(prompt))
    assert score(entry, [talk("写个函数", "好"), talk("嗯", "嗯")], Context(tmp_path)) == ["code", ""]
    prompt.write_text("哪一类？", encoding="utf-8")
    with pytest.raises(BelleError, match="has no place"):
        score(entry, [talk("写", "好")])


def test_low_is_below_high(tmp_path: Path) -> None:
    with pytest.raises(BelleError, match="low is 5 and high is 5"):
        score(judge(tmp_path, [], low=5, high=5), TALKS)
