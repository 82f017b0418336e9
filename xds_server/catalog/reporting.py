"""Tells operators of problems in definition files: each once when it appears, and once when its file is sound again."""

from collections.abc import Sequence
from typing import Final

import structlog

from xds_server.upstreams.documents import FileProblem

LINES: Final = 20
"""Problems that one look may put into the log; ``validate`` shows them all."""

log = structlog.get_logger("definitions")


class Reporter:
    """Remembers what it has told."""

    def __init__(self) -> None:
        self.problems: tuple[FileProblem, ...] = ()
        """Everything that is wrong now."""

    def report(self, problems: Sequence[FileProblem]) -> None:
        """Log what is new in `problems`, and the files that are not in it any more."""
        known = set(self.problems)
        fresh = [problem for problem in problems if problem not in known]
        for problem in fresh[:LINES]:
            where = {"line": problem.line, "field": problem.field} if problem.line else {}
            log.error("definitions.broken", file=problem.path, **where, problem=problem.message)
        if len(fresh) > LINES:
            rest = f"{len(fresh) - LINES} more problems; see them all with: xds-server validate"
            log.error("definitions.broken", problem=rest)
        broken = {problem.path for problem in problems}
        for path in sorted({problem.path for problem in self.problems} - broken):
            log.info("definitions.mended", file=path)
        self.problems = tuple(problems)
