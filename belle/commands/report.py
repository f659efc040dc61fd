"""Draw a chain of run folders as one HTML page.

Give the last runs of a chain, such as two evaluations, or a folder that holds several runs: what they came from is followed
by itself. The page has the loss curve, the scores before and after with their intervals, all answers side by side, the data
and the lineage. It is one file that opens anywhere and asks nothing of the network.

Examples:
    belle report runs/demo
    belle report runs/base-evaluation runs/sft-evaluation output=report.html title='My first model'
"""

from __future__ import annotations

from pathlib import Path

from pydantic import field_validator

from belle import logs
from belle.config import Section

POSITIONAL = "runs[]"


class Config(Section):
    """Which runs, and where the page goes."""

    runs: str | tuple[str, ...]
    """Run folders, or folders that hold them. The runs they came from are followed."""
    output: str | None = None
    """The file to write; absent means report.html in the first folder of `runs`."""
    title: str = ""
    """The title; empty means the path of the first folder."""

    @field_validator("runs")
    @classmethod
    def _some(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if not value:
            raise ValueError("name at least one run folder")
        return value


def run(config: Config) -> None:
    """Write the page and say where it is."""
    from belle.evaluation.report import write_report

    paths, output = _places(config)
    runs = write_report(paths, output, config.title)
    for found in runs:
        if found.lost:
            logs.warn(f"{found.path}, which a run came from, is not in the report: {found.lost}")
    logs.say(f"{output}: {len(runs)} runs, {output.stat().st_size / 1e6:.1f} MB")
    logs.out(str(output))


def plan(config: Config) -> list[str]:
    """What `run` would do."""
    paths, output = _places(config)
    return [f"read {', '.join(map(str, paths))} and the runs they came from", f"write {output}"]


def _places(config: Config) -> tuple[list[Path], Path]:
    paths = [Path(path) for path in ([config.runs] if isinstance(config.runs, str) else config.runs)]
    return paths, Path(config.output) if config.output else paths[0] / "report.html"
