from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from planted import added, template, tokenizer
from sound_model import change_json
from tiny import build_tokenizer, tiny_llama, tiny_model_folder

from belle.data.chat_template import ChatTemplate
from belle.errors import Finding
from belle.release import check_tokens
from belle.release.check_tokens import PROBES, from_difference
from belle.release.subject import Subject
from belle.release.verify import run_checks
from belle.sections import ModelSection


def opened(path: Path, **keys: Any) -> Subject:
    return Subject.open(ModelSection(path=str(path), **keys))


def levels(found: list[Finding]) -> list[str]:
    return [finding.level for finding in found]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that goes on with texts: no chat template."""
    return tiny_model_folder(tmp_path_factory.mktemp("plain") / "m", template=None)


def test_rows_without_a_token_are_padding(tmp_path: Path) -> None:
    folder = tiny_model_folder(tmp_path / "m", padded=12)
    (finding,) = check_tokens.vocabulary(opened(folder))
    assert (finding.level, finding.found) == ("ok", "396 tokens, 408 rows, 12 rows are padding")


def test_special_ids_are_named(sound_home: Path) -> None:
    (finding,) = check_tokens.special_ids(opened(sound_home / "merged"))
    assert finding.found == "bos '<s>', eos '<|im_end|>', pad '<pad>'"


def test_a_padding_of_minus_one_is_none(sound: Path) -> None:
    change_json(sound / "merged/config.json", pad_token_id=-1)
    assert levels(list(check_tokens.special_ids(opened(sound / "merged")))) == ["ok"]
    change_json(sound / "merged/config.json", eos_token_id=[5, -1], bos_token_id=900)
    found = [finding.found for finding in check_tokens.special_ids(opened(sound / "merged"))]
    assert found == ["config.json: bos_token_id 900 is no token", "config.json: eos_token_id -1 is no token"]


@pytest.mark.parametrize(("token", "fault"), [
    (("<|im_end|>", 395), "'<|im_end|>' stands 2 times among the added tokens"),
    (("<|other|>", 5), "id 5 belongs to 2 added tokens"),
    (("A", 20), "'A' is token"),
    (("<|other|>", 300), "id 300 is"),
])  # fmt: skip
def test_each_way_of_standing_twice_is_told(token: tuple[str, int], fault: str, sound: Path) -> None:
    tokenizer(lambda t: t["added_tokens"].append(added(*token)))(sound)
    found = list(check_tokens.special_tokens(opened(sound / "merged")))
    assert any(fault in finding.found for finding in found), found
    assert set(levels(found)) == {"error"}


def test_a_model_without_template_is_good_for_texts(plain: Path) -> None:
    subject = opened(plain)
    assert not subject.talks
    assert levels(list(check_tokens.template(subject))) == ["warning"]
    assert list(check_tokens.ends(subject)) == []
    assert opened(plain, template="chatml").talks, "the recipe may give it one"


def test_a_model_that_ends_nowhere_is_a_doubt(plain: Path, tmp_path: Path) -> None:
    folder = copied_plain(plain, tmp_path)
    for name in ("config.json", "generation_config.json", "tokenizer_config.json"):
        change_json(folder / name, eos_token_id=None, eos_token=None)
    assert levels(list(check_tokens.ends(opened(folder)))) == ["warning"]


def without_run(home: Path) -> None:
    (home / "merged/run.json").unlink()


def copied_plain(plain: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(plain, tmp_path / "copy"))


def test_a_recipe_may_give_a_template_that_is_not_that_of_training(sound_home: Path) -> None:
    assert levels(list(check_tokens.template(opened(sound_home / "merged")))) == ["ok"]
    found = list(check_tokens.template(opened(sound_home / "merged", template="llama3")))
    assert found[0].level == "error"
    assert "training wrote" in found[0].found


def test_a_tokenizer_that_cuts_otherwise_is_told_apart_from_another_template(sound: Path) -> None:
    def forget(value: dict[str, Any]) -> None:
        value["model"]["merges"] = value["model"]["merges"][:3]

    tokenizer(forget)(sound)
    found = [finding for finding in check_tokens.template(opened(sound / "merged")) if finding.level == "error"]
    assert "cuts" in found[0].found


def test_headers_that_melt_into_answers_are_a_doubt_and_no_error(tmp_path: Path) -> None:
    """BELLE's own template: behind `Assistant: \\n` other programs cut a text with earlier answers otherwise."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    talk = ["Assistant: \nTo learn. Human: \nHi \n\n"] * 20
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r"\s+|\S+"), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])  # fmt: skip
    backend.decoder = decoders.ByteLevel()
    specials = ["<unk>", "<pad>", "<s>", "</s>"]
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=specials, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                  show_progress=False)  # fmt: skip
    backend.train_from_iterator(talk, trainer)
    own = build_tokenizer()
    made = type(own)(tokenizer_object=backend, eos_token="</s>", pad_token="<pad>", clean_up_tokenization_spaces=False)
    ChatTemplate.load(made, "belle").attach(made)
    tiny_llama(len(made)).save_pretrained(tmp_path)
    made.save_pretrained(tmp_path)
    found = list(check_tokens.template(opened(tmp_path)))
    assert "error" not in levels(found), found


def test_a_template_that_ollama_cannot_say_is_a_doubt(sound: Path) -> None:
    mark = "{%- for message in messages %}"
    template(lambda t: t.replace(mark, mark + "{%- if loop.index == 3 %}{{ '!' }}{% endif %}", 1))(sound)
    without_run(sound)
    found = list(check_tokens.template(opened(sound / "merged")))
    assert any("does not write turn after turn" in finding.found for finding in found), found


def test_a_template_that_refuses_system_texts_is_a_doubt(sound: Path) -> None:
    start = '{%- if messages[0].role == "system" %}{{ raise_exception("no system text") }}{% endif %}'
    template(lambda t: start + t)(sound)
    without_run(sound)
    found = list(check_tokens.template(opened(sound / "merged")))
    assert "error" not in levels(found)
    assert any("2 of 5 conversations cannot be written" in f.found and "no system text" in f.found for f in found), found
    template(lambda t: t.replace(start, '{{ raise_exception("nothing") }}'))(sound)
    assert levels(list(run_checks(opened(sound / "merged"), {"template": check_tokens.template}, {}))).count("error") == 1


def test_the_difference_of_two_texts_is_quoted() -> None:
    assert from_difference("0123456789abcdef", "0123456789abcXef") == "'3456789abcdef'"
    assert from_difference("ab", "abc") == "'ab'"


def test_probes_hold_what_templates_stumble_over() -> None:
    text = json.dumps([[message.content for message in probe] for probe in PROBES], ensure_ascii=False)
    assert all(mark in text for mark in ("你好", "\\n\\n", "\\t", "\u3000", "😀", '" 谢谢 "'))
    assert {len(probe) for probe in PROBES} == {1, 2, 3, 4}
