from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import tiny_llama
from transformers import Gemma2Config, Gemma2ForCausalLM, GPT2Config, GPT2LMHeadModel

from belle.data.chat_template import ChatTemplate
from belle.errors import BelleError
from belle.inference.backend import Answer, Request, open_backend
from belle.inference.transformers_backend import TransformersBackend
from belle.records import Conversation, Message
from belle.runs import cache_dir
from belle.sections import GenerationSection, ModelSection


@pytest.fixture(scope="module")
def model(tiny_tokenizer: Any) -> Any:
    built = tiny_llama(len(tiny_tokenizer), tied=False)
    built.config.max_position_embeddings = 256
    return built


@pytest.fixture(scope="module")
def template(tiny_tokenizer: Any) -> ChatTemplate:
    return ChatTemplate.load(tiny_tokenizer, "chatml")


@pytest.fixture
def backend(model: Any, tiny_tokenizer: Any, template: ChatTemplate) -> TransformersBackend:
    return TransformersBackend(model, tiny_tokenizer, template, batch_size=4)


QUESTIONS = [
    "你好",
    "What is the capital of France?",
    "请把下面的句子翻译成英文：我是你的助手。",
    "a",
    "two plus two",
    "世界" * 12,
    "😀",
]


def requests(texts: list[str] = QUESTIONS) -> list[Request]:
    return [Request((Message("user", text),), id=str(i)) for i, text in enumerate(texts)]


def streamed(backend: Any, request: Request, options: GenerationSection) -> tuple[list[str], Answer]:
    stream, out = backend.stream(request, options), []
    while True:
        try:
            out.append(next(stream))
        except StopIteration as end:
            return out, end.value


GREEDY = {"max_new_tokens": 24}
SAMPLED = {"max_new_tokens": 24, "temperature": 0.9, "top_p": 0.9, "top_k": 50, "repetition_penalty": 1.1, "seed": 5}


@pytest.mark.parametrize("options", [GREEDY, SAMPLED])
def test_batched_answers_equal_answers_one_by_one(backend: TransformersBackend, options: dict[str, Any]) -> None:
    section = GenerationSection(**options)
    asked = requests()
    together = backend.generate(asked, section)
    assert [backend.generate([request], section)[0] for request in asked] == together
    assert backend.generate(asked[::-1], section) == together[::-1]
    assert len({answer.text for answer in together}) > 3


@pytest.mark.parametrize("options", [GREEDY, SAMPLED])
def test_a_stream_is_the_same_text_in_whole_characters(backend: TransformersBackend, options: dict[str, Any]) -> None:
    for request in requests():
        section = GenerationSection(**options)
        deltas, answer = streamed(backend, request, section)
        assert answer == backend.generate([request], section)[0]
        assert "".join(deltas) == answer.text


def test_greedy_answers_equal_those_of_transformers(backend: TransformersBackend, model: Any, tiny_tokenizer: Any) -> None:
    for request, answer in zip(requests(), backend.generate(requests(), GenerationSection(**GREEDY)), strict=True):
        prompt = torch.tensor([backend.template.prompt(request.messages)])
        out = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=24,
            do_sample=False,
            eos_token_id=list(backend.end_token_ids),
        )
        new = out[0, prompt.shape[1] :]
        assert answer.answer_tokens == len(new)
        assert answer.text == tiny_tokenizer.decode(new, skip_special_tokens=True).rstrip("\ufffd")


def test_seed_and_id_choose_the_answer(backend: TransformersBackend) -> None:
    section = GenerationSection(max_new_tokens=16, temperature=1.0)
    request = requests(["你好"])[0]
    texts = [backend.generate([replace(request, id=name)], section)[0].text for name in "aab"]
    assert texts[0] == texts[1] != texts[2]
    assert backend.generate([replace(request, id="a")], section.model_copy(update={"seed": 1}))[0].text != texts[0]


def test_answers_come_as_they_are_ready_and_rows_that_ended_leave_the_batch(
    backend: TransformersBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    from belle.inference import transformers_backend as module

    asked = requests(["a", "b"])
    free = backend.generate(asked, GenerationSection(max_new_tokens=8))
    # What the first row says third ends it there: the second row goes on alone.
    prompt = backend.template.prompt(asked[0].messages)
    script = {0: [20, 21, 3], 1: [30, 31, 32, 33, 34, 35]}
    sizes: list[int] = []

    class Scripted:
        def __init__(self, *_: Any) -> None:
            self.rows, self.made = [0, 1], 0

        def step(self) -> list[int]:
            sizes.append(len(self.rows))
            self.made += 1
            return [script[row][self.made - 1] for row in self.rows]

        def keep(self, rows: list[int]) -> None:
            self.rows = [self.rows[place] for place in rows]

    monkeypatch.setattr(module, "Decoding", Scripted)
    ready: list[int] = []
    answers = backend.generate(asked, GenerationSection(max_new_tokens=6), lambda index, _: ready.append(index))
    assert sizes == [2, 2, 2, 1, 1, 1]
    assert ready == [0, 1]
    assert [(a.finish, a.answer_tokens) for a in answers] == [("stop", 3), ("length", 6)]
    assert len(free) == 2
    assert len(prompt) == answers[0].prompt_tokens


def test_end_tokens_come_from_the_template_and_the_generation_config(model: Any, tiny_tokenizer: Any, template: Any) -> None:
    own = tiny_tokenizer.convert_tokens_to_ids("<|im_end|>")
    before = model.generation_config.eos_token_id
    try:
        for given, more in ((None, []), (7, [7]), ([7, 8], [7, 8])):
            model.generation_config.eos_token_id = given
            found = TransformersBackend(model, tiny_tokenizer, template).end_token_ids
            assert found == {*template.end_token_ids, *more}
            assert own in found
    finally:
        model.generation_config.eos_token_id = before


def test_stop_texts_cut_the_answer_wherever_tokens_end(backend: TransformersBackend) -> None:
    request = requests()[1]
    whole = backend.generate([request], GenerationSection(**GREEDY))[0]
    middle = len(whole.text) // 2
    stop = whole.text[middle : middle + 3]
    section = GenerationSection(**GREEDY, stop=(stop,))
    answer = backend.generate([request], section)[0]
    assert (answer.text, answer.finish) == (whole.text[: whole.text.index(stop)], "stop")
    assert "".join(streamed(backend, request, section)[0]) == answer.text


def test_a_prompt_longer_than_the_context_is_an_answer_with_its_reason(backend: TransformersBackend) -> None:
    answers = backend.generate(requests(["a", "好" * 300, "b"]), GenerationSection(max_new_tokens=2))
    assert [a.finish == "error" for a in answers] == [False, True, False]
    assert "context is 256" in answers[1].error
    assert answers[1].prompt_tokens > 256
    assert streamed(backend, requests(["好" * 300])[0], GenerationSection())[1].finish == "error"


def test_an_answer_ends_where_the_context_does(backend: TransformersBackend) -> None:
    request = requests(["a b " * 52])[0]
    room = 256 - backend.count(request)
    assert 0 < room < 100
    answer = backend.generate([request], GenerationSection(max_new_tokens=200, stop=()))[0]
    assert answer.answer_tokens <= room
    assert (answer.finish == "length") == (answer.answer_tokens == room)


def test_what_a_template_refuses_is_an_answer_too(backend: TransformersBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    real = backend.template.prompt

    def prompt(messages: Any, tools: Any = ()) -> list[int]:
        if messages[0].content == "a":
            raise BelleError("no tools here", "leave them out")
        return real(messages, tools)

    monkeypatch.setattr(backend, "template", type("T", (), {"prompt": staticmethod(prompt)})())
    answers = backend.generate(requests(["a", "b"]), GenerationSection(max_new_tokens=2))
    assert (answers[0].finish, answers[0].error) == ("error", "no tools here")
    assert answers[1].finish != "error"


def test_no_requests(backend: TransformersBackend) -> None:
    assert backend.generate([], GenerationSection()) == []
    assert backend.score([]) == []


CONVERSATIONS = [
    Conversation((Message("user", "你好"), Message("assistant", "你好，世界！"))),
    Conversation((Message("system", "a"), Message("user", "What?"), Message("assistant", "Paris is the capital of France."))),
    Conversation((Message("user", "a"), Message("assistant", "b"), Message("user", "c"), Message("assistant", "两个😀"))),
    Conversation(
        (Message("user", "a"), Message("assistant", "left out", train=False), Message("user", "c"), Message("assistant", "d"))
    ),
    Conversation((Message("user", "a"), Message("assistant", "no loss", train=False))),
]


def test_scores_together_equal_scores_one_by_one_and_the_textbook(backend: TransformersBackend, model: Any) -> None:
    together = backend.score(CONVERSATIONS)
    for conversation, score in zip(CONVERSATIONS, together, strict=True):
        alone = backend.score([conversation])[0]
        encoded = backend.template.encode(conversation)
        with torch.no_grad():
            logs = model(torch.tensor([encoded.ids])).logits[0].log_softmax(-1)
        sums = [-float(logs[at - 1, token]) for at, token in enumerate(encoded.ids) if encoded.mask[at]]
        assert score.tokens == alone.tokens == len(sums)
        assert math.isclose(score.loss_sum, alone.loss_sum, abs_tol=1e-4)
        assert math.isclose(score.loss_sum, sum(sums), abs_tol=1e-3)
    assert [score.characters for score in together] == [6, 31, 4, 1, 0]
    assert (together[4].loss_sum, together[4].tokens) == (0.0, 0)


def test_a_conversation_longer_than_the_context_cannot_be_scored(backend: TransformersBackend) -> None:
    long = Conversation((Message("user", "a"), Message("assistant", "好" * 300)), id="q7")
    with pytest.raises(BelleError, match=r"q7.*more than the model's context of 256"):
        backend.score([CONVERSATIONS[0], long])


def gemma(vocabulary: int) -> Any:
    """Caps its scores behind the head, and has attention with a sliding window."""
    torch.manual_seed(2)
    config = Gemma2Config(
        vocab_size=vocabulary, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=16, max_position_embeddings=256, final_logit_softcapping=2.0, sliding_window=16,
        query_pre_attn_scalar=16, eos_token_id=3, pad_token_id=1, bos_token_id=2,
    )  # fmt: skip
    return Gemma2ForCausalLM(config).eval()


def gpt2(vocabulary: int) -> Any:
    """Learned positions: what padding must not shift."""
    torch.manual_seed(2)
    config = GPT2Config(vocab_size=vocabulary, n_positions=256, n_embd=32, n_layer=2, n_head=2, eos_token_id=3, bos_token_id=2)
    return GPT2LMHeadModel(config).eval()


@pytest.mark.parametrize("build", [gemma, gpt2])
def test_other_architectures(build: Any, tiny_tokenizer: Any, template: ChatTemplate) -> None:
    model = build(len(tiny_tokenizer))
    backend = TransformersBackend(model, tiny_tokenizer, template, batch_size=4)
    section = GenerationSection(max_new_tokens=24)
    together = backend.generate(requests(), section)
    assert [backend.generate([request], section)[0] for request in requests()] == together
    test_scores_together_equal_scores_one_by_one_and_the_textbook(backend, model)


def test_an_adapter_is_answered_with(model: Any, tiny_tokenizer: Any, template: ChatTemplate) -> None:
    import copy

    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    tuned = get_peft_model(copy.deepcopy(model), LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)).eval()
    plain, with_adapter = (TransformersBackend(m, tiny_tokenizer, template) for m in (model, tuned))
    section = GenerationSection(**GREEDY)
    assert plain.generate(requests(), section) != with_adapter.generate(requests(), section)
    merged = TransformersBackend(copy.deepcopy(tuned).merge_and_unload(), tiny_tokenizer, template)
    assert [a.text for a in merged.generate(requests(), section)] == [a.text for a in with_adapter.generate(requests(), section)]
    for left, right in zip(merged.score(CONVERSATIONS), with_adapter.score(CONVERSATIONS), strict=True):
        assert math.isclose(left.loss_sum, right.loss_sum, abs_tol=1e-2)


def test_open_names_the_nearest_backend() -> None:
    with pytest.raises(BelleError, match="Did you mean 'transformers'"):
        open_backend("transformer", ModelSection(path="x"))
    with pytest.raises(BelleError, match="cannot be imported"):
        open_backend("belle.nowhere:Nothing", ModelSection(path="x"))


def test_open_loads_a_folder(model: Any, tiny_tokenizer: Any, tmp_path: Path, backend: TransformersBackend) -> None:
    model.save_pretrained(tmp_path)
    tiny_tokenizer.save_pretrained(tmp_path)
    opened = open_backend("transformers", ModelSection(path=str(tmp_path), template="chatml", dtype="float32"), 3)
    assert opened.batch_size == 3
    assert opened.generate(requests(), GenerationSection(**GREEDY)) == backend.generate(requests(), GenerationSection(**GREEDY))


@pytest.mark.slow
def test_a_real_model_answers_the_same_in_a_batch() -> None:
    if not (cache_dir() / "models" / "smollm2-135m-instruct").is_dir():
        pytest.skip("the embedded model is not in the cache")
    backend = TransformersBackend.open(ModelSection(path="embedded:smollm2-135m-instruct", dtype="float32"), 4)
    section = GenerationSection(max_new_tokens=12)
    asked = requests(["你好，你是谁？", "What is the capital of France?", "用一句话介绍北京。", "1+1=?"])
    together = backend.generate(asked, section)
    assert [backend.generate([request], section)[0] for request in asked] == together
    assert "Paris" in together[1].text
    assert together[1].finish == "stop"
