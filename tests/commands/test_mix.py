from __future__ import annotations

import json
import os
import shutil
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from belle.cli import main
from belle.data.formats import load_records
from belle.records import Document
from belle.sections import DataSection


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A mixture 1:5 of 30 conversations of a field and 100 general ones."""
    monkeypatch.chdir(tmp_path)
    for name, count in (("domain", 30), ("general", 100)):
        rows = ({"id": f"{name}{n}", "instruction": f"{name}问{n}", "output": "答" * (n % 7 + 1)} for n in range(count))
        Path(f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    paths = [f"sources.{name}.path={name}.jsonl" for name in ("domain", "general")]
    return ["mix", *paths, "sources.general.weight=5", "output_dir=out"]


def mixed(folder: str = "out") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(folder, "mixed.jsonl").read_text(encoding="utf-8").splitlines()]


def metrics(folder: str = "out") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(folder, "run.json").read_text(encoding="utf-8"))["metrics"]
    return found


def names(rows: list[dict[str, Any]]) -> Counter[str]:
    return Counter(row["source"].split(" ")[0] for row in rows)


def test_one_to_five_and_back_without_complaint(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(words)
    assert names(mixed()) == {"domain": 20, "general": 100}
    assert names(mixed()[:36]) == {"domain": 6, "general": 30}
    loaded = load_records(DataSection(path="out/mixed.jsonl"))
    assert (len(loaded.records), loaded.counts, loaded.dropped) == (120, {}, [])
    printed = capsys.readouterr()
    assert printed.out == "out/mixed.jsonl\n"
    assert "16.7%" in printed.err
    assert "warning" not in printed.err
    assert metrics()["sources"][0] == {
        "source": "domain", "asked": pytest.approx(1 / 6), "share": pytest.approx(1 / 6), "units": 20, "records": 20,
        "repeats": 0, "left_over": 10,
    }  # fmt: skip
    assert sorted(p.name for p in Path().iterdir()) == ["domain.jsonl", "general.jsonl", "out"]


def test_the_lineage_names_every_file(words: list[str]) -> None:
    main(words)
    info = json.loads(Path("out/run.json").read_text(encoding="utf-8"))
    assert [(i["role"], i["path"], i["records"]) for i in info["inputs"]] == [
        ("domain", "domain.jsonl", 30), ("general", "general.jsonl", 100),
    ]  # fmt: skip
    assert info["products"] == {"data": "mixed.jsonl"}


def test_the_same_recipe_gives_the_same_file(words: list[str]) -> None:
    main(words)
    main([*words, "output_dir=again"])
    main([*words, "output_dir=other", "seed=1"])
    first, again, other = (Path(name, "mixed.jsonl").read_bytes() for name in ("out", "again", "other"))
    assert first == again
    assert first != other


def test_a_finished_run_is_shown_and_not_done_again(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(words)
    before = Path("out/mixed.jsonl").stat().st_mtime_ns
    capsys.readouterr()
    main(words)
    assert Path("out/mixed.jsonl").stat().st_mtime_ns == before
    assert "finished already" in capsys.readouterr().err


def test_characters_are_what_is_counted(words: list[str]) -> None:
    main([*words, "unit=characters", "total=400"])
    rows = mixed()
    size = Counter[str]()
    for row in rows:
        size[row["source"].split(" ")[0]] += sum(len(message["content"]) for message in row["messages"])
    assert 400 <= sum(size.values()) < 420
    assert [(row["source"], row["units"]) for row in metrics()["sources"]] == sorted(size.items())
    assert size["domain"] / sum(size.values()) == pytest.approx(1 / 6, abs=0.03)


def test_tokens_are_counted_by_the_tokenizer(words: list[str], tmp_path: Path) -> None:
    from tiny import tiny_model_folder
    from transformers import AutoTokenizer

    tiny_model_folder(tmp_path / "model")
    main([*words, "unit=tokens", "tokenizer=model", "total=300"])
    tokenizer = AutoTokenizer.from_pretrained("model")
    texts = [message["content"] for row in mixed() for message in row["messages"]]
    assert metrics()["units"] == sum(len(tokenizer.encode(text, add_special_tokens=False)) for text in texts)


def test_instructions_among_texts(words: list[str]) -> None:
    Path("texts.jsonl").write_text('{"text": "床前明月光"}\n' * 30, encoding="utf-8")
    main([*words, "sources.domain.path=texts.jsonl", "sources.general.template=belle", "sources.general.weight=1"])
    loaded = load_records(DataSection(path="out/mixed.jsonl"), Document)
    assert len(loaded.records) == 60
    assert loaded.records[0].text == "床前明月光"
    assert sum(record.text.startswith("Human: \ngeneral问") for record in loaded.records) == 30


def test_temperature_takes_the_shares_from_the_sizes(words: list[str]) -> None:
    main([*(word for word in words if "weight" not in word), "temperature=2"])
    asked = {row["source"]: row["asked"] for row in metrics()["sources"]}
    assert asked["general"] / asked["domain"] == pytest.approx((100 / 30) ** 0.5)


def test_a_share_that_is_not_kept_is_a_warning(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main([*words, "until=all", "total=1000"])
    printed = capsys.readouterr().err
    assert names(mixed()) == {"domain": 30, "general": 100}
    assert "domain was asked for 16.7% of the records and came to 23.1%" in printed
    assert "the sources gave 130 of the 1000 records of `total`" in printed


def test_malformed_rows_are_kept_with_their_reasons(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with Path("domain.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"instruction": "x", "output": ""}\n')
    main([*words, "sources.domain.on_error=keep"])
    (row,) = [json.loads(line) for line in Path("out/dropped.jsonl").read_text(encoding="utf-8").splitlines()]
    assert (row["source"], row["step"], row["row"]["instruction"]) == ("domain.jsonl:31", "mix", "x")
    assert "1 rows were left out" in capsys.readouterr().err


def test_a_mistake_leaves_an_earlier_mixture_alone(words: list[str]) -> None:
    main(words)
    before = sorted((p.name, p.read_bytes()) for p in Path("out").iterdir())
    with Path("general.jsonl").open("a", encoding="utf-8") as file:
        file.write("{broken\n")
    for wrong in ([], ["sources.domain.path=none.jsonl"], ["sources.domain.template=plain"]):
        with pytest.raises(SystemExit):
            main([*words, "overwrite=true", *wrong])
        assert sorted((p.name, p.read_bytes()) for p in Path("out").iterdir()) == before
        assert sorted(p.name for p in Path().iterdir()) == ["domain.jsonl", "general.jsonl", "out"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["unit=tokens"], "unit is 'tokens', and tokenizer is absent"),
        (["tokenizer=x"], "unit is 'records', and tokenizer is x"),
        (["temperature=2"], "temperature makes the shares, and sources.general.weight does too"),
        (["sources.a/b.path=domain.jsonl"], "'a/b' is no name of a source"),
        (["sources.domain.epochs=0.01"], "sources.domain: epochs 0.01 of 30 records is less than one record"),
        (["sources.general.wieght=2"], "sources.general.wieght: unknown key. Did you mean 'sources.general.weight'?"),
    ],
)
def test_keys_that_make_no_sense(words: list[str], wrong: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([*words, *wrong])
    assert said in capsys.readouterr().err


def test_the_plan_names_shares_and_the_end(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main([*words, "total=12", "--dry-run"])
    printed = capsys.readouterr().out
    assert "# domain: 16.7% of the records, from domain.jsonl" in printed
    assert "# stop when 12 records are reached, or the first source is used up" in printed
    assert not Path("out").exists()


def killed_at_flush(number: int, words: list[str]) -> bool:
    """Run in a process that kills itself before its so-many-th flush to the disk; whether it came that far."""
    child = os.fork()
    if not child:
        flush, count = os.fsync, iter(range(number, -1, -1))
        os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL) if not next(count) else flush(handle)
        os.close(2)
        os.open(os.devnull, os.O_WRONLY)
        main(words)
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_before_any_flush_it_comes_to_the_same(words: list[str]) -> None:
    main([*words, "output_dir=whole"])
    flushes = 0
    while killed_at_flush(flushes, [*words, "overwrite=true"]):
        shutil.rmtree("out") if flushes % 2 else None  # half of them find what the one before left
        flushes += 1
    assert flushes > 10
    assert Path("out/mixed.jsonl").read_bytes() == Path("whole/mixed.jsonl").read_bytes()
    assert metrics()["sources"] == metrics("whole")["sources"]
    assert sorted(p.name for p in Path().iterdir()) == ["domain.jsonl", "general.jsonl", "out", "whole"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_after_each_kill_the_same_command_ends_well(words: list[str]) -> None:
    main([*words, "output_dir=whole"])
    for number in range(0, 40, 3):
        shutil.rmtree("out", ignore_errors=True)
        killed_at_flush(number, words)
        main(words)
        assert Path("out/mixed.jsonl").read_bytes() == Path("whole/mixed.jsonl").read_bytes()
