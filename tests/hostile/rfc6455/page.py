"""docs/conformance-rfc6455.md, from the cases: ``python -m tests.hostile.rfc6455.page`` writes it."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Iterator, Tuple

from tests.hostile.rfc6455.cases import cases
from tests.hostile.rfc6455.form import NO_TEXT, Case

PAGE = Path(__file__).resolve().parents[3] / "docs" / "conformance-rfc6455.md"

HEAD = f"""# RFC 6455, case by case

The cases of Autobahn|Testsuite 25.10.1, which needs Python 2.7, are written here for both our ends, the one that
listens and the one that dials, on asyncio and on trio, over TCP, played by a frame writer of the tests' own
(`tests/hostile/rfc6455`). This page is made from them, and `tests/hostile/test_rfc6455.py` plays them all and checks
the page. When these were written the suite itself was run too, against the listening end, with messages of up to
20 MiB and binary ones in the place of text: of groups 1 to 5, 7 and the binary ones of 9 none
failed (116 "OK", 9 "non-strict", 3 "informational", and the closing of all "OK").

Stated deviations:

- **Text is refused** with {NO_TEXT}, by design: only binary messages are carried (RFC 6455, 7.4.1, has the code for
  this). Each case that sends text is played twice: as it is, and then nothing but {NO_TEXT} may come; and with binary
  messages in the text's place, and then it has to pass. Hence nobody checks text for UTF-8; the octets of group 6 are
  played in the reasons of close frames too, where UTF-8 is checked: 1007 if it is none.
- **A message has at most 2 MiB**; more is refused with 1009 as soon as its header is there.
- **Less of the same**: groups 9.3 and 9.4 use 1 MiB in place of 4, 9.5 and 9.6 use 256 KiB in place of 1 MiB, 9.7 and
  9.8 use 100 messages in place of 1,000.
- **Of pings that come all at once the latest 16 are answered** (RFC 6455, 5.5.3, asks for the latest alone).
- **Compression** (groups 12 and 13) is neither offered nor accepted: tensors rarely shrink, and zstd is used on those
  that do. The handshake of each of their offers is played.
- "not strictly": the fault ended the connection before what came with it was echoed. Autobahn calls this non-strict.

| case | what is sent | outcome |
|---|---|---|
"""
TAIL = "| 12.1.1–13.7.18 | an offer of permessage-deflate | declined: messages travel as without it |\n"


def outcome(case: Case) -> str:
    """What becomes of a case."""
    if case.closes == (1009,):
        return f"refused: {NO_TEXT} as text, 1009 in binary" if case.has_text else "refused: 1009"
    passed = "passed, if not strictly" if case.may_drop else "passed"
    if case.has_text and not case.early:
        return f"refused as text ({NO_TEXT}); in binary {passed}"
    return passed


def rows() -> Iterator[str]:
    def alike(case: Case) -> Tuple[str, str, str]:
        return case.id.rsplit(".", 1)[0], case.about, outcome(case)

    for (_, about, told), group in groupby(cases(), alike):
        ids = [case.id for case in group]
        yield f"| {ids[0]}{'–' + ids[-1] if len(ids) > 1 else ''} | {about} | {told} |\n"


def page() -> str:
    """The page's text."""
    return HEAD + "".join(rows()) + TAIL


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
