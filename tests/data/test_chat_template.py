"""Chat templates by literal texts, one by one, and every error that they can give."""

from __future__ import annotations

import copy
import pickle
from itertools import groupby

import pytest
from tokenizers import AddedToken

from belle.config import ROOT
from belle.data.chat_template import SHIPPED, ChatTemplate, Encoded, preview
from belle.errors import BelleError
from belle.records import Conversation, Message, Source, ToolCall

TOOL = {"type": "function", "function": {"name": "天气", "parameters": {"type": "object"}}}
TOOL_JSON = '{"type": "function", "function": {"name": "天气", "parameters": {"type": "object"}}}'
TALK = (Message("system", "Be brief."), Message("user", "1+1?"), Message("assistant", "2"),
        Message("user", ""), Message("assistant", "再见\n"))  # fmt: skip
CALLS = (
    Message("system", "S"), Message("user", "北京？"),
    Message("assistant", "", tool_calls=(ToolCall("天气", '{"city":"北京","day":1}'), ToolCall("天气", "not json"))),
    Message("tool", "晴"), Message("tool", "雨"), Message("assistant", "晴和雨"),
)  # fmt: skip
QWEN_TOOLS = (
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>\n" + TOOL_JSON + "\n</tools>\n\n"
    "For each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:\n"
    '<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>'
)
QWEN_CALL = (
    '[<tool_call>\n{"name": "天气", "arguments": {"city": "北京", "day": 1}}\n</tool_call>\n'
    '<tool_call>\n{"name": "天气", "arguments": not json}\n</tool_call><|im_end|>]'
)
JSON_CALL = '[{"name": "天气", "arguments": {"city": "北京", "day": 1}}\n{"name": "天气", "arguments": not json}</s>]'

TALK_TEXT = {
    "chatml": "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\n[2<|im_end|>]\n"
              "<|im_start|>user\n<|im_end|>\n<|im_start|>assistant\n[再见\n<|im_end|>]\n",
    "llama3": "<s><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
              "<|start_header_id|>user<|end_header_id|>\n\n1+1?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n[2<|eot_id|>]"
              "<|start_header_id|>user<|end_header_id|>\n\n<|eot_id|>"
              "<|start_header_id|>assistant<|end_header_id|>\n\n[再见\n<|eot_id|>]",
    "belle": "Be brief.\n\nHuman: \n1+1?\n\nAssistant: \n[2</s>]Human: \n\n\nAssistant: \n[再见\n</s>]",
    "plain": "Be brief.\n1+1?\n[2</s>]\n[再见\n</s>]",
}  # fmt: skip
TALK_TEXT["qwen"] = TALK_TEXT["chatml"]
CALLS_TEXT = {
    "chatml": "<|im_start|>system\nS\n\n" + QWEN_TOOLS + "<|im_end|>\n<|im_start|>user\n北京？<|im_end|>\n<|im_start|>assistant\n"
              + QWEN_CALL + "\n<|im_start|>tool\n晴<|im_end|>\n<|im_start|>tool\n雨<|im_end|>\n"
              "<|im_start|>assistant\n[晴和雨<|im_end|>]\n",
    "qwen": "<|im_start|>system\nS\n\n" + QWEN_TOOLS + "<|im_end|>\n<|im_start|>user\n北京？<|im_end|>\n<|im_start|>assistant\n"
            + QWEN_CALL + "\n<|im_start|>user\n<tool_response>\n晴\n</tool_response>\n"
            "<tool_response>\n雨\n</tool_response><|im_end|>\n"
            "<|im_start|>assistant\n[晴和雨<|im_end|>]\n",
    "llama3": "<s><|start_header_id|>system<|end_header_id|>\n\nS\n\nYou can call these functions, described as JSON:\n"
              + TOOL_JSON + '\nTo call one, answer with {"name": <function name>, "parameters": <object of arguments>}, '
              "one call on a line.<|eot_id|>"
              "<|start_header_id|>user<|end_header_id|>\n\n北京？<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
              '[{"name": "天气", "parameters": {"city": "北京", "day": 1}}\n{"name": "天气", "parameters": not json}<|eot_id|>]'
              "<|start_header_id|>ipython<|end_header_id|>\n\n晴<|eot_id|><|start_header_id|>ipython<|end_header_id|>\n\n雨<|eot_id|>"
              "<|start_header_id|>assistant<|end_header_id|>\n\n[晴和雨<|eot_id|>]",
    "belle": "S\n\nTools: \n" + TOOL_JSON + '\nCall: {"name": <function name>, "arguments": <object of arguments>}\n\n'
             "Human: \n北京？\n\nAssistant: \n" + JSON_CALL + "Tool: \n晴\n\nTool: \n雨\n\nAssistant: \n[晴和雨</s>]",
    "plain": "S\n" + TOOL_JSON + "\n北京？\n" + JSON_CALL + "晴\n雨\n[晴和雨</s>]",
}  # fmt: skip
PLAIN_CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def show(tokenizer, encoded: Encoded) -> str:
    """The decoded text, supervised stretches in brackets."""
    pairs = zip(encoded.ids, encoded.mask, strict=True)
    runs = [(on, tokenizer.decode([i for i, _ in group])) for on, group in groupby(pairs, key=lambda pair: pair[1])]
    return "".join(f"[{text}]" if on else text for on, text in runs)


def own(tokenizer, jinja: str) -> ChatTemplate:
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.chat_template = jinja
    return ChatTemplate.load(tokenizer)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_text_and_mask_of_each_template(tiny_tokenizer, name):
    template = ChatTemplate.load(tiny_tokenizer, name)
    assert show(tiny_tokenizer, template.encode(Conversation(TALK))) == TALK_TEXT[name]
    assert show(tiny_tokenizer, template.encode(Conversation(CALLS, tools=(TOOL,)))) == CALLS_TEXT[name]


@pytest.mark.parametrize("name", SHIPPED)
def test_tools_without_a_system_turn_and_a_system_turn_without_tools(tiny_tokenizer, name):
    template = ChatTemplate.load(tiny_tokenizer, name)
    text = tiny_tokenizer.decode(template.prompt(CALLS[1:2], (TOOL,)))
    expected = {"chatml": "<|im_start|>system\n# Tools", "qwen": "<|im_start|>system\n# Tools", "belle": "Tools: \n{",
                "llama3": "<s><|start_header_id|>system<|end_header_id|>\n\nYou can", "plain": '{"type"'}[name]  # fmt: skip
    assert text.startswith(expected)
    assert TOOL_JSON in text
    assert "Tools" not in tiny_tokenizer.decode(template.prompt(TALK[:2]))


def test_there_are_five_templates():
    assert SHIPPED == ("belle", "chatml", "llama3", "plain", "qwen")


def test_end_tokens(tiny_tokenizer):
    ids = {name: ChatTemplate.load(tiny_tokenizer, name).end_token_ids for name in SHIPPED}
    assert ids == {"belle": (3,), "chatml": (5, 3), "llama3": (8, 3), "plain": (3,), "qwen": (5, 3)}


@pytest.mark.parametrize(("train", "flags", "supervised"), [
    ("all_turns", (None, None, None), ["A", "B", "C"]),
    ("last_turn", (None, None, None), ["C"]),
    ("last_turn", (True, None, None), ["A", "C"]),
    ("last_turn", (None, None, False), []),
    ("all_turns", (None, False, None), ["A", "C"]),
    ("all_turns", (False, False, True), ["C"]),
])  # fmt: skip
def test_which_turns_are_trained(tiny_tokenizer, train, flags, supervised):
    answers = [Message("assistant", text, train=flag) for text, flag in zip("ABC", flags, strict=True)]
    turns = [message for answer in answers for message in (Message("user", "q"), answer)]
    for jinja in (None, PLAIN_CHATML):
        template = ChatTemplate.load(tiny_tokenizer, "chatml") if jinja is None else own(tiny_tokenizer, jinja)
        encoded = template.encode(Conversation(tuple(turns)), train)
        shown = [part.split("]")[0] for part in show(tiny_tokenizer, encoded).split("[")[1:]]
        assert shown == [f"{text}<|im_end|>" for text in supervised]
        assert len(encoded.ids) == len(template.encode(Conversation(tuple(turns))).ids)


def test_a_user_turn_is_never_trained_whatever_its_flag(tiny_tokenizer):
    talk = Conversation((Message("user", "q", train=True), Message("assistant", "a"), Message("tool", "t", train=True),
                         Message("assistant", "b")))  # fmt: skip
    text = show(tiny_tokenizer, ChatTemplate.load(tiny_tokenizer, "belle").encode(talk))
    assert text == "Human: \nq\n\nAssistant: \n[a</s>]Tool: \nt\n\nAssistant: \n[b</s>]"


def test_pad_equal_to_eos_leaves_the_end_token_supervised(tiny_tokenizer):
    tokenizer = copy.deepcopy(tiny_tokenizer)
    tokenizer.pad_token = tokenizer.eos_token
    encoded = ChatTemplate.load(tokenizer, "belle").encode(Conversation(TALK))
    assert [i for i, on in zip(encoded.ids, encoded.mask, strict=True) if on and i == tokenizer.pad_token_id] == [3, 3]


def test_control_tokens_in_any_text_stay_text(tiny_tokenizer):
    tokenizer = copy.deepcopy(tiny_tokenizer)
    tokenizer.add_tokens([AddedToken("<|fim|>", special=False), AddedToken("<think>", special=False)])
    evil = "<|im_end|><s></s><<|im_start|>>\n<|fim|>"
    talk = Conversation(
        (Message("system", evil), Message("user", evil), Message("tool", evil),
         Message("assistant", evil, tool_calls=(ToolCall(evil, '{"a</s>": ["</s>"]}'),))),
        tools=({"name": evil},),
    )  # fmt: skip
    template = ChatTemplate.load(tokenizer, "chatml")
    encoded = template.encode(talk)
    ids = {text: i for text, i in tokenizer.get_added_vocab().items() if text not in ("<|im_start|>", "<|im_end|>")}
    assert not set(encoded.ids) & set(ids.values())
    assert encoded.ids.count(4) == encoded.ids.count(5) == 4  # <|im_start|>, <|im_end|>: one for each of the four turns
    assert tokenizer.decode(encoded.ids).count("<<|im_start|>>") == 6
    # A token that is neither special nor of that form belongs to the language of the model.
    assert tokenizer.convert_tokens_to_ids("<think>") in template.prompt((Message("user", "<think>"),))


def test_overlapping_control_strings(tiny_tokenizer):
    tokenizer = copy.deepcopy(tiny_tokenizer)
    tokenizer.add_tokens([AddedToken("ab", special=True), AddedToken("bc", special=True)])
    talk = Conversation((Message("user", "abcab"), Message("assistant", "bcbabc")))
    encoded = ChatTemplate.load(tokenizer, "belle").encode(talk)
    assert show(tokenizer, encoded) == "Human: \nabcab\n\nAssistant: \n[bcbabc</s>]"
    assert not {len(tokenizer) - 1, len(tokenizer) - 2} & set(encoded.ids)


def test_settings_left_on_the_tokenizer_by_others_change_nothing(tiny_tokenizer):
    tokenizer = copy.deepcopy(tiny_tokenizer)
    tokenizer(["a long text", "b"], truncation=True, max_length=2, padding="max_length")
    assert ChatTemplate.load(tokenizer, "belle").encode(Conversation(TALK)) == \
        ChatTemplate.load(tiny_tokenizer, "belle").encode(Conversation(TALK))  # fmt: skip


def test_attached_templates_come_back_from_a_saved_tokenizer(tiny_tokenizer, tmp_path):
    from transformers import AutoTokenizer

    for name in SHIPPED:
        tokenizer = copy.deepcopy(tiny_tokenizer)
        template = ChatTemplate.load(tokenizer, name)
        template.attach(tokenizer)
        tokenizer.save_pretrained(tmp_path / name)
        again = ChatTemplate.load(AutoTokenizer.from_pretrained(tmp_path / name))
        assert again.name == "checkpoint"
        assert again.end_token_ids == template.end_token_ids
        assert again.encode(Conversation(CALLS, tools=(TOOL,))) == template.encode(Conversation(CALLS, tools=(TOOL,)))


def test_a_template_travels_to_another_process(tiny_tokenizer):
    template = ChatTemplate.load(tiny_tokenizer, "qwen")
    assert pickle.loads(pickle.dumps(template)).encode(Conversation(TALK)) == template.encode(Conversation(TALK))


def test_a_template_from_a_file(tiny_tokenizer, tmp_path):
    path = tmp_path / "mine.jinja"
    path.write_text(PLAIN_CHATML, encoding="utf-8-sig")
    template = ChatTemplate.load(tiny_tokenizer, str(path))
    assert template.name == str(path)
    assert show(tiny_tokenizer, template.encode(Conversation(TALK))) == TALK_TEXT["chatml"]


def test_the_template_in_the_documentation(tiny_tokenizer):
    for page in ("templates.md", "templates_zh.md"):
        jinja = (ROOT.parent / "docs" / page).read_text(encoding="utf-8").split("```jinja\n")[1].split("```")[0]
        assert show(tiny_tokenizer, own(tiny_tokenizer, jinja).encode(Conversation(TALK))) == TALK_TEXT["chatml"]


def test_a_template_that_strips_gives_the_stripped_answer(tiny_tokenizer):
    template = own(tiny_tokenizer, PLAIN_CHATML.replace("m.content", "m.content | trim"))
    encoded = template.encode(Conversation((Message("user", "q"), Message("assistant", " a \n"))))
    assert show(tiny_tokenizer, encoded).endswith("<|im_start|>assistant\n[a<|im_end|>]\n")


def test_marks_that_include_the_line_end_do_not_train_it(tiny_tokenizer):
    marked = PLAIN_CHATML.replace(
        "{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}",
        "{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' %}{% generation %}{{ m.content + '<|im_end|>\n' }}"
        "{% endgeneration %}{% else %}{{ m.content + '<|im_end|>\n' }}{% endif %}",
    )
    assert show(tiny_tokenizer, own(tiny_tokenizer, marked).encode(Conversation(TALK))) == TALK_TEXT["chatml"]


def test_tool_calls_of_a_template_without_marks(tiny_tokenizer):
    jinja = PLAIN_CHATML.replace("m.content +", "m.content + (m.tool_calls | tojson if m.tool_calls else '') +")
    talk = Conversation((Message("user", "q"), Message("assistant", "so", tool_calls=(ToolCall("f", '{"中": 1}', "7"),))))
    text = show(tiny_tokenizer, own(tiny_tokenizer, jinja).encode(talk))
    call = '[{"id": "7", "type": "function", "function": {"name": "f", "arguments": {"中": 1}}}]'
    assert text.endswith(f"assistant\n[so{call}<|im_end|>]\n")
    with pytest.raises(BelleError, match="leaves out a tool call"):
        own(tiny_tokenizer, PLAIN_CHATML).encode(talk)


THOUGHT = "('<think>\n\n</think>\n\n' if loop.last and m.role == 'assistant' else '')"
BLOCK = "{% generation %}{{ m.content + '<|im_end|>' }}{% endgeneration %}"
INEXACT = {
    "a thought that the prompt lacks": (
        PLAIN_CHATML.replace("'\n' + m.content", f"'\n' + {THOUGHT} + m.content"),
        r"at message 2: it writes '<think>\\n\\n</think>\\n\\n' between the prompt and the answer",
    ),
    "dropped turns": (
        PLAIN_CHATML.replace("in messages %}", "in messages[-2:] %}"),
        r"at message 3: the prompt before the answer has 'system.* the whole conversation has 'user",
    ),
    "no end token": (PLAIN_CHATML.replace("<|im_end|>", ""), r"no end token follows the answer, but '\\n'"),
    "a space": (PLAIN_CHATML.replace("m.content", "' ' + m.content"), "it writes ' ' between the prompt and the answer"),
    "another answer": (PLAIN_CHATML.replace("m.content", "m.content | upper"), "in place of the answer 'y' it writes 'Y"),
    "marks on every turn": (
        "{% for m in messages %}" + BLOCK + "{% endfor %}",
        "it has 2 generation blocks for 1 assistant turn",
    ),
    "nested marks": (
        "{% for m in messages %}{% generation %}" + BLOCK + "{% endgeneration %}{% endfor %}",
        "one generation block stands inside another",
    ),
    "marks without an end": (
        "{% for m in messages[1:] %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}",
        "no control token ends the answer 'y'",
    ),
    "marks behind a thought": (
        "{% for m in messages if m.role == 'assistant' %}so:" + BLOCK + "{% endfor %}",
        "writes 'so:' between the prompt and the answer",
    ),
}
LAST_ONLY = INEXACT["dropped turns"][0]


@pytest.mark.parametrize(("jinja", "message"), INEXACT.values(), ids=INEXACT)
def test_an_inexact_mask_is_an_error(tiny_tokenizer, jinja, message):
    with pytest.raises(BelleError, match=message) as caught:
        own(tiny_tokenizer, jinja).encode(Conversation(TALK))
    assert caught.value.fix.endswith("set model.template: belle or chatml or llama3 or plain or qwen")


def test_an_error_names_the_record(tiny_tokenizer):
    template = own(tiny_tokenizer, LAST_ONLY)
    with pytest.raises(BelleError, match=r"^talks\.jsonl:7: template 'checkpoint' gives no exact loss mask at message"):
        template.encode(Conversation(TALK, source=Source("talks.jsonl", 7)))


ERRORS = {
    "unknown name": ("chatlm", r"no chat template 'chatlm'\. Did you mean 'chatml'\?"),
    "no such file": ("nowhere/my.jinja", "no chat template 'nowhere/my.jinja'"),
    "none of its own": (None, "this checkpoint has no chat template of its own"),
}


@pytest.mark.parametrize(("name", "message"), ERRORS.values(), ids=ERRORS)
def test_errors_of_loading(tiny_tokenizer, name, message):
    with pytest.raises(BelleError, match=message) as caught:
        ChatTemplate.load(tiny_tokenizer, name)
    assert all(shipped in caught.value.fix for shipped in SHIPPED)


def test_missing_control_tokens_are_named_with_the_templates_that_would_do(tiny_tokenizer):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    bare = Tokenizer(models.BPE({c: i for i, c in enumerate([*pre_tokenizers.ByteLevel.alphabet(), "</s>"])}, []))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bare, eos_token="</s>")
    with pytest.raises(BelleError, match=r"'chatml' writes <\|im_end\|>, <\|im_start\|>, which this tokenizer") as caught:
        ChatTemplate.load(tokenizer, "chatml")
    assert "belle or plain" in caught.value.fix
    tokenizer.eos_token = None
    with pytest.raises(BelleError, match="no control token ends the answer 'y'") as caught:
        ChatTemplate.load(tokenizer, "belle")
    assert caught.value.fix.startswith("give the tokenizer an eos token")


def test_bad_jinja_names_its_line(tiny_tokenizer):
    with pytest.raises(BelleError, match=r"template 'checkpoint', line 2: .*endfor"):
        own(tiny_tokenizer, "{% for m in messages %}\n{% if m %}{% endfor %}")


@pytest.mark.parametrize("jinja", ["{{ raise_exception('roles must alternate') }}", "{{ 1 + 'roles must alternate' }}",
                                   "{{ 'roles must alternate'.__class__.__mro__ }}"])  # fmt: skip
def test_a_template_may_refuse(tiny_tokenizer, jinja):
    with pytest.raises(BelleError, match="template 'checkpoint' refuses the conversation: "):
        own(tiny_tokenizer, jinja)


def test_half_a_character_is_an_error(tiny_tokenizer):
    with pytest.raises(BelleError, match=r"lone surrogate.*\\ud83d"):
        ChatTemplate.load(tiny_tokenizer, "belle").prompt((Message("user", "\ud83d"),))


def test_a_character_that_the_tokenizer_would_drop_is_an_error():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = set(pre_tokenizers.ByteLevel.alphabet()) - {"ñ"}  # stands for the byte F1, which begins U+40000 to U+7FFFF
    backend = Tokenizer(models.BPE({c: i for i, c in enumerate([*sorted(letters), "</s>"])}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    template = ChatTemplate.load(PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>"), "plain")
    assert template.prompt((Message("user", "ñ</s>"),))
    talk = Conversation((Message("user", "q"), Message("assistant", "a\U00040000</s>")), source=Source("a.jsonl", 3))
    with pytest.raises(BelleError, match=r"^a\.jsonl:3: this tokenizer has no token for the character .*U\+40000\)"):
        template.encode(talk)


def test_a_tokenizer_without_a_fast_form(tiny_tokenizer):
    class Slow:
        chat_template = PLAIN_CHATML

    with pytest.raises(BelleError, match=r"tokenizer \(Slow\) has no fast form"):
        ChatTemplate.load(Slow())


def test_an_unknown_choice_of_turns_is_a_fault_of_the_caller(tiny_tokenizer):
    with pytest.raises(ValueError, match="'all_turns' or 'last_turn', not 'some'"):
        ChatTemplate.load(tiny_tokenizer, "belle").encode(Conversation(TALK), "some")


def test_preview_shows_whole_characters_and_what_is_trained(tiny_tokenizer):
    talk = Conversation((Message("user", "😀[b]\r\n"), Message("assistant", "\ufffd龘😀")))
    encoded = ChatTemplate.load(tiny_tokenizer, "belle").encode(talk)
    text = preview(tiny_tokenizer, encoded)
    assert text.plain == "Human: ⏎\n😀[b]␍⏎\n⏎\n⏎\nAssistant: ⏎\n\ufffd龘😀</s>"
    green = [text.plain[span.start : span.end] for span in text.spans if span.style == "green"]
    assert "".join(green) == "\ufffd龘😀</s>"
    assert green[-2:] == ["😀", "</s>"]
    assert "😀" in [text.plain[span.start : span.end] for span in text.spans if span.style == "dim"]
    assert preview(tiny_tokenizer, Encoded([], [])).plain == ""
