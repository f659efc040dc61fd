from __future__ import annotations

import pytest

from belle.errors import BelleError
from belle.records import Message
from belle.release.go_template import render

TALK = [Message("system", "短"), Message("user", "你好 {{ x }}"), Message("assistant", "hi"), Message("user", "bye\n")]
# The form in which Ollama's own library writes such templates, with trims and else-if.
QWEN = """{{- if .System }}<|im_start|>system
{{ .System }}<|im_end|>
{{ end }}
{{- range .Messages }}
{{- if eq .Role "user" }}<|im_start|>user
{{ .Content }}<|im_end|>
{{ else if eq .Role "assistant" }}<|im_start|>assistant
{{ .Content }}<|im_end|>
{{ end }}
{{- end }}<|im_start|>assistant
"""


def test_a_usual_template_writes_turn_after_turn() -> None:
    assert render(QWEN, TALK) == (
        "<|im_start|>system\n短<|im_end|>\n<|im_start|>user\n你好 {{ x }}<|im_end|>\n"
        "<|im_start|>assistant\nhi<|im_end|>\n<|im_start|>user\nbye\n<|im_end|>\n<|im_start|>assistant\n"
    )
    assert render(QWEN, TALK[1:2]) == "<|im_start|>user\n你好 {{ x }}<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize(("template", "written"), [
    ('{{ "a\\n{{b" }}', "a\n{{b"),
    ("{{ `x\"y` }}", 'x"y'),
    ("a  {{- /* nothing */ -}}  b", "ab"),
    ("{{ if not .System }}no{{ else }}yes{{ end }}", "yes"),
    ('{{ if and .System (ne .System "x") }}1{{ end }}{{ if or false .System }}2{{ end }}', "12"),
    ('{{ range .Messages }}{{ if eq .Role "user" "system" }}u{{ else }}a{{ end }}{{ end }}', "uuau"),
    ("{{ if .Tools }}tools{{ end }}.", "."),
])  # fmt: skip
def test_the_language(template: str, written: str) -> None:
    assert render(template, TALK) == written


@pytest.mark.parametrize(("template", "message"), [
    ("{{ if .System }}", "without its end"),
    ("a{{ end }}", "where nothing is open"),
    ("{{ .Prompt }}", "'.Prompt' is not known here"),
    ("{{ range $i, $m := .Messages }}{{ end }}", "is not known here"),
    ("{{ slice .Messages 1 }}", "is not known here"),
    ("{{ eq .System }}", "lacks an argument"),
    ("text {{ .System", "does not end"),
    ("{{ (eq 1", "does not end"),
])  # fmt: skip
def test_what_is_not_known_is_refused(template: str, message: str) -> None:
    with pytest.raises(BelleError, match="(?s).*" + message.replace(".", r"\.").replace("$", r"\$")):
        render(template, TALK)
