from __future__ import annotations

import json
import re
from collections.abc import Sequence

import pytest
from tiny import build_tokenizer

from belle.data.chat_template import SHIPPED, ChatTemplate
from belle.data.rendering import Renderer
from belle.errors import BelleError
from belle.records import Message
from belle.release.ollama import Pieces, find_pieces, modelfile

TALK = [
    Message("user", "你好 {{ .System }}"), Message("assistant", "您好！\n\"\"\""), Message("user", "再见"),
]  # fmt: skip


def go(template: str, messages: Sequence[Message]) -> str:
    """What Go's template engine makes of the few actions that we write: an engine of its own, for the test."""
    tokens = re.split(r"(\{\{.*?\}\})", template, flags=re.DOTALL)
    system = "\n".join(m.content for m in messages if m.role == "system")

    def run(at: int, on: bool, message: Message | None) -> tuple[str, int]:
        """Text up to the end or else that closes this block, and where that is."""
        out = ""
        while at < len(tokens):
            token = tokens[at]
            word = token[2:-2].strip() if token.startswith("{{") else None
            if word is None:
                out += token if on else ""
            elif word == "end" or word.startswith("else"):
                return out, at
            elif word.startswith('"'):
                out += json.loads(word) if on else ""
            elif word in (".System", ".Content"):
                out += (system if word == ".System" else message.content if message else "") if on else ""
            elif word == "range .Messages":
                body, end = "", at
                for one in messages:
                    text, end = run(at + 1, on, one)
                    body += text
                out, at = out + body, end
            elif word.startswith("if"):
                done = False
                while word.startswith(("if", "else")) and word != "end":
                    condition = word.removeprefix("else").strip().removeprefix("if").strip()
                    true = not done and (
                        condition == "" or (condition == ".System" and bool(system))
                        or (condition.startswith("eq .Role") and message is not None and message.role == condition.split('"')[1])
                    )  # fmt: skip
                    text, at = run(at + 1, on and true, message)
                    out, done = out + text, done or true
                    word = tokens[at][2:-2].strip()
            else:
                raise AssertionError(word)
            at += 1
        return out, at

    return run(0, True, None)[0]


@pytest.mark.parametrize("name", SHIPPED)
def test_ollama_writes_what_training_wrote(name: str) -> None:
    template = ChatTemplate.load(build_tokenizer(), name)
    pieces = find_pieces(template.text)
    for messages in (TALK, TALK[:1], [Message("system", "简短回答。"), *TALK]):
        wanted = template.text(messages, prompt=True)
        assert pieces.render(messages) == wanted
        assert go(pieces.template(""), messages) == wanted


def test_a_begin_that_llama_cpp_writes_itself_is_left_away() -> None:
    template = ChatTemplate.load(build_tokenizer(), "llama3")
    written = go(find_pieces(template.text).template("<s>"), TALK)
    assert "<s>" + written == template.text(TALK, prompt=True)
    assert not written.startswith("<s>")


def test_a_system_text_of_the_template_s_own_stays() -> None:
    jinja = (
        "{% if messages[0].role != 'system' %}<|im_start|>You are kind.<|im_end|>{% endif %}{% for m in messages %}"
        "<|im_start|>{{ m.role }}: {{ m.content }}<|im_end|>{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant: {% endif %}"
    )
    template = ChatTemplate(build_tokenizer(), "kind", jinja)
    pieces = find_pieces(template.text)
    assert pieces.no_system == "<|im_start|>You are kind.<|im_end|>"
    assert go(pieces.template(""), TALK) == template.text(TALK, prompt=True)


@pytest.mark.parametrize("jinja", [
    "{% for m in messages %}{{ loop.index }} {{ m.role }}: {{ m.content }}</s>{% endfor %}",
    "{% for m in messages %}{{ m.role }}: {{ m.content if loop.last or m.role == 'user' else '...' }}</s>{% endfor %}",
    "{{ messages[-1].content }}</s>",
])  # fmt: skip
def test_a_template_that_is_no_row_of_turns_is_refused(jinja: str) -> None:
    renderer = Renderer("odd", jinja, {}, ())
    with pytest.raises(BelleError, match="does not write turn after turn"):
        find_pieces(lambda messages, prompt: renderer.render(messages, (), prompt))


def test_the_modelfile_is_complete() -> None:
    pieces = Pieces("", ("S:", "\n"), ("U:", "\n"), ("A:", "<end>\n"))
    assert modelfile("m.gguf", pieces, "", ["<end>", '"x"'], {"num_ctx": 512}, "Apache-2.0", "说中文") == (
        'FROM ./m.gguf\nTEMPLATE """{{ if .System }}S:{{ .System }}\n{{ else }}{{ end }}{{ range .Messages }}'
        '{{ if eq .Role "user" }}U:{{ .Content }}\n{{ else if eq .Role "assistant" }}A:{{ .Content }}<end>\n{{ end }}{{ end }}'
        'A:"""\n'
        'PARAMETER stop "<end>"\nPARAMETER stop "\\"x\\""\nPARAMETER num_ctx 512\nSYSTEM """说中文"""\nLICENSE """Apache-2.0"""\n'
    )
