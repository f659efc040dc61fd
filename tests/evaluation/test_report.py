from __future__ import annotations

import base64
import hashlib
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from sample_runs import ATTACK, QUESTIONS, evaluation

from belle.cli import main
from belle.errors import BelleError
from belle.evaluation.report import write_report
from belle.pages.page import FRAME

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Page(HTMLParser):
    """Elements as (tag, attributes), and the text of the cards."""

    VOID = frozenset({"meta", "link", "input", "br", "img"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture
def page(chain: Path) -> str:
    """The report of the whole chain."""
    write_report([chain], chain / "report.html")
    return (chain / "report.html").read_text(encoding="utf-8")


def test_the_page_is_well_formed_and_asks_nothing_of_the_network(page: str) -> None:
    parsed = Page(page)
    assert parsed.open == []
    for tag, attributes in parsed.elements:
        for name in ("src", "href", "action", "srcset", "data", "poster"):
            assert (attributes.get(name) or "#").startswith(("#", "data:")), (tag, attributes)
    css = (FRAME / "style.css").read_text(encoding="utf-8")
    assert "url(" not in css
    assert "@import" not in css
    policy = next(a["content"] for tag, a in parsed.elements if tag == "meta" and "http-equiv" in a)
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    script = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert len(script) == 1
    assert f"'sha256-{base64.b64encode(hashlib.sha256(script[0].encode()).digest()).decode()}'" in policy


def test_what_users_and_models_wrote_is_only_text(page: str) -> None:
    parsed = Page(page)
    assert [tag for tag, _ in parsed.elements].count("script") == 2
    assert not any(tag == "img" or any(name.startswith("on") for name in attributes) for tag, attributes in parsed.elements)
    assert ATTACK in parsed.text  # as an answer, whole and unchanged
    assert "{{ 7*7 }}" in ATTACK


def test_every_question_and_answer_is_there(page: str) -> None:
    parsed = Page(page)
    assert sum(tag == "article" for tag, _ in parsed.elements) == len(QUESTIONS)
    assert parsed.text.count("春眠不觉晓") == 2
    assert "生成" not in page


def test_sections_and_facts(page: str) -> None:
    assert all(f'id="{name}"' in page for name in ("scores", "training", "answers", "data", "lineage", "next"))
    assert all(fact in page for fact in ("too long", "277 tokens/s", "3.60%", "belle chat"))


def test_parts_of_a_chain(chain: Path, tmp_path: Path) -> None:
    for names, there, missing in [
        (["sft"], ["training", "data"], ["scores", "answers"]),
        (["base"], ["scores", "answers"], ["training", "data"]),
        (["merged"], ["training"], ["scores"]),
    ]:
        write_report([chain / name for name in names], tmp_path / "part.html")
        text = (tmp_path / "part.html").read_text(encoding="utf-8")
        assert Page(text).open == []
        assert all(f'id="{name}"' in text for name in there)
        assert not any(f'id="{name}"' in text for name in missing)


def test_three_evaluations_and_an_unfinished_run(chain: Path, tmp_path: Path) -> None:
    from sample_runs import Recipe

    from belle.runs import Run

    evaluation(chain / "third", {"math": "二", "rewrite": "x", "generation": "", "identity": "Belle"}, 1.7)
    Run.open("sft", Recipe(output_dir=str(chain / "running")), str(chain / "running"))
    write_report([chain], tmp_path / "three.html")
    text = (tmp_path / "three.html").read_text(encoding="utf-8")
    assert Page(text).open == []
    assert text.count('<div class="answer ') == 3 * len(QUESTIONS)
    assert "running" in text


def test_the_command_writes_into_the_first_folder(chain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["report", str(chain / "tuned"), str(chain / "base"), "title=My <b>first</b> model"])
    path = chain / "tuned" / "report.html"
    assert capsys.readouterr().out.strip() == str(path)
    assert "My &lt;b&gt;first&lt;/b&gt; model" in path.read_text(encoding="utf-8")


def test_no_run_folder_leaves_an_older_report_alone(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("old", encoding="utf-8")
    with pytest.raises(BelleError, match="not a run folder"):
        write_report([tmp_path], tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == "old"


PROBE = """
const say = (name, value) => { document.documentElement.dataset[name] = value; };
const shown = () => [...document.querySelectorAll("#cards > .card")].filter((card) => !card.hidden).length;
const set = (name, value) => { const field = document.getElementById("filters").elements[name]; field.value = value;
                               field.dispatchEvent(new Event("input", { bubbles: true })); };
say("all", shown()); set("category", "math"); say("math", shown()); set("language", "en"); say("none", shown());
document.getElementById("reset").click(); set("words", "春眠 写一句"); say("words", shown()); set("words", "");
set("mark", "language_match:gained"); say("gained", shown());
document.querySelector('[data-tab="chrf"]').click();
say("panels", [...document.querySelectorAll("[data-panel]")].filter((p) => !p.hidden).map((p) => p.dataset.panel).join());
const plot = document.querySelector(".plot"); const box = plot.getBoundingClientRect();
plot.dispatchEvent(new PointerEvent("pointermove", { clientX: box.right - 1, clientY: box.top + 5 }));
say("read", plot.querySelector(".read").textContent);
document.getElementById("theme").click(); say("dark", getComputedStyle(document.documentElement).colorScheme);
say("wide", document.documentElement.scrollWidth - document.documentElement.clientWidth);
say("loss", document.querySelector('tr[data-metric="loss"] td.tuned b').textContent);
say("language", document.querySelector('tr[data-metric="language_match"][data-group="zh"] td.base b').textContent);
"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_in_a_real_browser(page: str, tmp_path: Path) -> None:
    digest = base64.b64encode(hashlib.sha256(PROBE.encode()).digest()).decode()
    # The page's own policy stays in force; only the probe's hash is added to it.
    probed = page.replace("script-src ", f"script-src 'sha256-{digest}' ", 1)
    probed = probed.replace("</body>", f"<script>{PROBE}</script></body>")
    (tmp_path / "probe.html").write_text(probed, encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    flags += ["--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}", "--window-size=500,900"]
    done = subprocess.run(
        [str(CHROMIUM), *flags, "--dump-dom", (tmp_path / "probe.html").as_uri()],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    root = re.search(r"<html[^>]*>", done.stdout)
    assert root, done.stderr[-2000:]
    found = dict(re.findall(r'data-([\w-]+)="([^"]*)"', root.group()))
    assert "injected" not in found
    read = found.pop("read")
    assert found == {
        "all": "20", "math": "6", "none": "0", "words": "2", "gained": "14", "panels": "chrf", "theme": "dark", "dark": "dark",
        "wide": "0", "loss": "1.510", "language": "0.0%",
    }  # fmt: skip
    assert read.startswith("step30")
    assert "learning rate1.00e-3" in read


@pytest.mark.parametrize("name", ["answers.jsonl", "metrics.jsonl"])
def test_a_damaged_run_folder_gives_no_report(chain: Path, tmp_path: Path, name: str) -> None:
    folder = next(path.parent for path in sorted(chain.rglob(name)))
    whole = (folder / name).read_bytes()
    for damage in (b"", whole[: len(whole) // 2]):
        (folder / name).write_bytes(damage)
        with pytest.raises(BelleError, match=name):
            write_report([chain], tmp_path / "page.html", "")
        assert not (tmp_path / "page.html").exists()
