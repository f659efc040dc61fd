"""The table of filters: each is `(record, *, option=...) -> str | Drop | None`, says why a record should go, and is usable alone.

None of them needs a model that is not shipped, the network or another record. How often each is right and how much it finds is
measured by `benchmarks/filters.py` on records that we labelled; the figures are in the docs.
"""

from __future__ import annotations

FILTERS = {
    "empty": "belle.curation.answers:empty",
    "repetition": "belle.curation.repetition:Repetition",
    "truncated": "belle.curation.truncation:truncated",
    "refusal": "belle.curation.refusals:Refusal",
    "missing_input": "belle.curation.missing_input:missing_input",
    "wrong_language": "belle.curation.wrong_language:WrongLanguage",
    "media": "belle.curation.media:media",
    "personal_data": "belle.curation.personal_data:PersonalData",
    "unsafe": "belle.curation.unsafe:Unsafe",
    "mojibake": "belle.curation.damage:mojibake",
    "control_characters": "belle.curation.damage:control_characters",
    "length": "belle.curation.answers:Length",
    "decontaminate": "belle.curation.decontaminate:Decontaminate",
}
"""name -> `module:attribute` of a function or class that is a `belle.curation.steps.Filter`."""
