"""Send a model to a hub, or fetch one: Hugging Face or ModelScope, with every file's hash.

`push` makes all checks of `belle verify` first, and nothing leaves if one fails. It lists what would leave and what stays, and
sends only with `dry_run=false`; afterwards the hub's hashes are compared with those here. `pull` fetches one commit and checks
each file; stopped, the same command goes on. The token is read from an environment variable and written nowhere.

Examples:
  belle hub push runs/demo/merged me/my-model
  belle hub pull HuggingFaceTB/SmolLM2-135M-Instruct models/smollm2 revision=main
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, Literal

from belle import logs
from belle.config import Section
from belle.errors import BelleError
from belle.runs import Run
from belle.sections import ModelSection

if TYPE_CHECKING:
    from belle.release.hub import Hub, RemoteFile

POSITIONAL = ("action", "source", "target")
TOKENS = {"huggingface": "HF_TOKEN", "modelscope": "MODELSCOPE_API_TOKEN"}


class Config(Section):
    """What goes where."""

    action: Literal["push", "pull"]
    """Send or fetch."""
    source: str
    """push: the model, a run or a folder, also that of an export. pull: the repository, owner/name."""
    target: str
    """push: the repository, owner/name. pull: the run folder; the model is in `model` there."""
    hub: Literal["huggingface", "modelscope"] = "huggingface"
    """Which hub."""
    endpoint: str | None = None
    """Another address that speaks as the hub does."""
    revision: str | None = None
    """pull: branch, tag or commit; absent means the newest."""
    dry_run: bool = True
    """push: only list what would be sent. pull fetches in any case."""
    private: bool = True
    """push: a repository that is made anew is private."""
    message: str = "Model and card, as verified by belle"
    """push: of the commit."""
    licences: dict[str, str] = {}
    """push: as in `belle verify`."""
    token_variable: str | None = None
    """The environment variable that holds the token; absent means HF_TOKEN or MODELSCOPE_API_TOKEN."""
    overwrite: bool = False
    """pull: begin anew if target holds an earlier run."""


def plan(config: Config) -> list[str]:
    """What `run` would do."""
    if config.action == "pull":
        which = f"{config.source} at {config.revision or 'its newest commit'}"
        return [f"list the files of {which} on {config.hub}", f"fetch them into {config.target}/model, and check each hash"]
    sends = f"send them to {config.target} on {config.hub}, and compare the hashes there"
    return [
        f"verify {config.source}, with answers",
        "list every file that would leave, with size and hash",
        "send nothing: dry_run" if config.dry_run else sends,
    ]


def run(config: Config) -> None:
    """Send or fetch."""
    repo = config.target if config.action == "push" else config.source
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repo):
        raise BelleError(f"{repo!r} is no repository", "write it as owner/name")
    if config.action == "push":
        _push(config)
    else:
        _pull(config)


def connect(config: Config) -> Hub:
    """The hub of a recipe, with the token of the environment."""
    from belle.release.hub import HUBS

    variable = config.token_variable or TOKENS[config.hub]
    token = os.environ.get(variable) or None
    if token is None and config.action == "push":
        raise BelleError(f"the environment variable {variable} holds no token", f"export {variable}=...")
    return HUBS[config.hub](token, config.endpoint)


def _push(config: Config) -> None:
    from belle.release.hub import push, to_send

    folder = _verified(config)
    files, stays = to_send(folder)
    logs.table(["file", "bytes", "sha256"], [[file.path, f"{file.size:,}", file.sha256[:16]] for file in files])
    for name, why in stays.items():
        logs.say(f"stays here: {name}: {why}")
    if not any(file.path == "README.md" for file in files):
        whole = (folder / "config.json").is_file() or (folder / "adapter_config.json").is_file()
        how = quote(config.source) if whole else f"MODEL output={quote(str(folder / 'README.md'))}"
        logs.warn(f"there is no model card: belle card {how}")
    size = sum(file.size for file in files) / 1e6
    if config.dry_run:
        logs.say(f"nothing was sent: {len(files)} files, {size:.1f} MB would go to {config.target} (dry_run=false sends them)")
        return
    hub = connect(config)
    with logs.doing(f"sent {len(files)} files, {size:.1f} MB"):
        place = push(hub, config.target, folder, files, config.private, config.message)
    logs.say(f"{hub.name} has each of them with the same hash")
    logs.out(place)


def _verified(config: Config) -> Path:
    """The folder of a model in which every check holds."""
    from belle.release import check_gguf
    from belle.release.exported import Exported
    from belle.release.subject import Subject
    from belle.release.verify import run_checks, verify

    with logs.doing(f"verified {config.source}"):
        exported = Exported.find(config.source, None, config.licences)
        if exported is not None:
            folder, findings = exported.folder, list(run_checks(exported, check_gguf.CHECKS, check_gguf.NEEDS))
        else:
            subject = Subject.open(ModelSection(path=config.source), None, config.licences)
            folder, findings = subject.folder, list(verify(subject))
    for finding in findings:
        if finding.level == "warning":
            logs.warn(f"{finding.check}: {finding.found}")
    errors = [finding for finding in findings if finding.level == "error"]
    if errors:
        what = f"{config.source!r} does not leave; {errors[0].check}: {errors[0].found}"
        raise BelleError(what, f"{errors[0].fix}; belle verify {quote(config.source)} shows everything")
    return folder


def _pull(config: Config) -> None:
    from belle.release.hub import RemoteFile, pull, to_fetch

    run = Run.open("hub", config, config.target, config.overwrite)
    if run.finished:
        logs.say(f"already finished: {run.path} (overwrite=true fetches anew)")
        _tell(run)
        return
    hub = connect(config)
    notes: dict[str, Any] = run.info["notes"]
    if "commit" not in notes:
        commit, listed = hub.list_files(config.source, config.revision)
        wanted, left = to_fetch(listed)
        # A stopped call goes on with this very commit, whatever the branch stands for by then.
        run.note(hub=hub.name, repo=config.source, commit=commit, left=left, files=[_row(file) for file in wanted])
    files = [RemoteFile(**row) for row in notes["files"]]
    with logs.Bar(f"fetching {config.source}", len(files)) as bar:
        pull(hub, config.source, notes["commit"], files, run.path / "model", lambda path: bar.step(1, path))
    whole = any(file.path == "config.json" for file in files)
    size = sum(file.size for file in files)
    run.finish({"files": len(files), "bytes": size}, {"model" if whole else "files": "model"})
    _tell(run)


def _row(file: RemoteFile) -> dict[str, Any]:
    return {"path": file.path, "size": file.size, "sha256": file.sha256, "git_sha1": file.git_sha1}


def _tell(run: Run) -> None:
    notes, metrics = run.info["notes"], run.info["metrics"]
    hashes = [file["sha256"] or file["git_sha1"] or "not said" for file in notes["files"]]
    rows = [[file["path"], f"{file['size']:,}", known[:16]] for file, known in zip(notes["files"], hashes, strict=True)]
    logs.table(["file", "bytes", "hash"], rows, caption=f"{notes['repo']} at {notes['commit']}")
    for path, why in notes["left"].items():
        logs.say(f"left there: {path}: {why}")
    logs.say(f"{metrics['files']} files, {metrics['bytes'] / 1e6:.1f} MB; each is what {notes['hub']} says it is")
    place = run.path if "model" in run.info["products"] else run.path / "model"
    logs.say(f"next: belle verify {quote(str(place))}")
    logs.out(str(place))
