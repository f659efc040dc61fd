"""Talk with a model in the terminal.

Answers appear as they are made. Ctrl-C stops an answer, Ctrl-D or /exit leaves; /help lists what else there is: taking back
a turn, another answer, a system message, saving the chat as training data. Lines can also come through a pipe.

Examples:
    belle chat runs/demo/merged
    belle chat embedded:smollm2-135m-instruct generation.temperature=0.7 system='You answer in one sentence.'
    printf '你好\\n/exit\\n' | belle chat runs/demo/merged
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from belle import logs
from belle.config import Section
from belle.errors import BelleError, nearest
from belle.sections import GenerationSection, ModelSection

if TYPE_CHECKING:
    from belle.inference.session import ReplyStream, Session

POSITIONAL = "model.path"


class Config(Section):
    """Whom to talk with, and how."""

    model: ModelSection
    generation: GenerationSection = GenerationSection()
    system: str = ""
    """The system message that the chat begins with; none when empty."""
    backend: str = "transformers"
    """What runs the model: transformers, fake (says what a JSON file tells it to), or module:class."""


COMMANDS = {
    "/help": "show this list",
    "/reset": "forget the conversation; the system message stays",
    "/system TEXT": "set the system message; without TEXT, remove it",
    "/undo": "take back your last turn and its answer",
    "/regen": "answer your last turn once more, differently",
    "/save FILE": "write the conversation to FILE (.jsonl), which training reads",
    "/load FILE": "go on with the first conversation of FILE",
    "/exit": "leave, as Ctrl-D does",
}


def run(config: Config) -> None:
    """Load the model and talk until the user leaves."""
    from belle.inference.backend import open_backend
    from belle.inference.session import Session

    if sys.stdin is None:
        raise BelleError("there is no standard input to talk through", "run it in a terminal, or pipe lines into it")
    with logs.doing(f"loaded {config.model.path}"):
        backend = open_backend(config.backend, config.model)
    session = Session(backend, config.generation, config.system)
    read = _line_reader()
    if sys.stdin.isatty():
        logs.say("Type and press Enter; /help lists the commands, Ctrl-C stops an answer, Ctrl-D leaves.")
    while (line := read()) is not None:
        if line.strip() == "/exit":
            break
        try:
            handle(session, line)
        except BelleError as error:
            logs.say(f"error: {error}")


def plan(config: Config) -> list[str]:
    """What `run` would do."""
    return [f"load {config.model.path} and talk in the terminal; nothing is written unless you /save"]


def handle(session: Session, line: str) -> None:
    """Do what one line asks for: a command, or something to answer.

    Raises:
        BelleError: an unknown command, or one that cannot be done.
    """
    text = line.strip()
    if not text:
        return
    if not text.startswith("/"):
        _show(session, session.ask(text))
        return
    word, _, rest = text.partition(" ")
    actions = _actions(session)
    if word not in actions:
        known = [command.split()[0] for command in COMMANDS]
        raise BelleError(f"unknown command {word!r}.{nearest(word, known)}", "/help lists the commands")
    wants = next(command for command in COMMANDS if command.split()[0] == word).partition(" ")[2]
    rest = rest.strip()
    if wants == "FILE" and not rest:
        raise BelleError(f"{word} needs the name of a file", f"{word} chat.jsonl")
    if rest and not wants:
        raise BelleError(f"{word} takes nothing behind it, and got {rest!r}")
    actions[word](rest)


def _actions(session: Session) -> dict[str, Callable[[str], None]]:
    def system(text: str) -> None:
        session.system = text
        logs.say("system message set" if text else "no system message any more")

    def reset(_: str) -> None:
        session.reset()
        logs.say("the conversation is forgotten")

    def undo(_: str) -> None:
        logs.say(f"taken back: {session.undo()}")

    def regen(_: str) -> None:
        from belle.inference.session import FREER

        if session.turns and session.options.temperature == 0:
            logs.say(f"(with temperature {FREER}: at 0 the same answer would come again)")
        _show(session, session.regenerate())

    def save(name: str) -> None:
        session.save(Path(name).expanduser())
        logs.say(f"saved to {name}")

    def load(name: str) -> None:
        held = session.load(Path(name).expanduser())
        more = f"; the first of {held} conversations" if held > 1 else ""
        logs.say(f"loaded {len(session.turns)} messages from {name}{more}")

    def show_help(_: str) -> None:
        for command, meaning in COMMANDS.items():
            logs.say(f"  {command:<14}{meaning}")

    return {
        "/help": show_help, "/reset": reset, "/system": system, "/undo": undo, "/regen": regen, "/save": save, "/load": load,
    }  # fmt: skip


def _show(session: Session, stream: ReplyStream) -> None:
    """Print an answer as it comes, then what it took. Ctrl-C ends the answer only."""
    started = 0.0
    try:
        while True:
            try:
                piece = next(stream)
            except StopIteration as end:
                reply = end.value
                break
            started = started or time.monotonic()  # the first piece: reading the prompt is not counted
            sys.stdout.write(_harmless(piece))
            sys.stdout.flush()
    except KeyboardInterrupt:
        stream.close()  # the session keeps what was said
        logs.out()
        logs.say("(stopped)")
        return
    answer = reply.answer
    if answer.finish == "error":
        raise BelleError(answer.error, "/reset begins a new conversation, /undo takes the last turn back")
    logs.out()
    if reply.newly:
        context = session.backend.context
        logs.warn(f"the oldest {reply.left_out} messages no longer fit into {context} tokens and were left out of the prompt")
    used = f"{answer.prompt_tokens} + {answer.answer_tokens} tokens"
    room = f" of {session.backend.context}" if session.backend.context else ""
    cut = ", cut at the limit" if answer.finish == "length" else ""
    seconds = time.monotonic() - started
    pace = f", {(answer.answer_tokens - 1) / seconds:.0f} a second" if answer.answer_tokens > 1 and seconds > 0.1 else ""
    logs.say(f"({used}{room}{pace}{cut})")


def _line_reader() -> Callable[[], str | None]:
    """A function that returns the next line, or None at the end: edited on a terminal, plain from a pipe."""
    if not sys.stdin.isatty():
        sys.stdin.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]
        lines = iter(sys.stdin)
        return lambda: next(lines, None)
    try:
        import readline  # gives input() its line editing, which knows how wide characters are
    except ImportError:
        pass  # Windows edits lines by itself
    else:
        readline.set_auto_history(True)

    def ask() -> str | None:
        while True:
            try:
                return input("\nyou> ").encode("utf-8", "replace").decode("utf-8")
            except EOFError:
                logs.out()
                return None
            except KeyboardInterrupt:
                logs.out()  # as in a shell: the line is gone, the program stays
            except UnicodeDecodeError:
                logs.say("error: that line is not UTF-8 text")

    return ask


def _harmless(text: str) -> str:
    """Text without control characters: a model's answer must not move the cursor or colour the terminal."""
    return "".join(char for char in text if char in "\n\t" or char.isprintable() or ord(char) > 0x9F)
