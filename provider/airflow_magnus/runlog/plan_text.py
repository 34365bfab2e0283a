"""The plan of a re-run as text: for a terminal, and as the note of a DAG run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from airflow_magnus.runlog.rerun import Decision, RerunPlan

LONGEST_NOTE = 1000
"""Characters that Airflow keeps of a DAG run's note."""
_MOST_ROWS = LONGEST_NOTE // len("run  a  it failed\n")
_BEGIN, _END = "```text\n", "```"
_HEAD = "Plan of a re-run of"
_UNITS = ("B", "kB", "MB", "GB", "TB")
_FOLLOWS = "it follows "


def plan_text(plan: RerunPlan, earlier_run_id: str) -> str:
    """What a re-run does with each step and why, a line a step, then the totals, then the warnings.

    :returns: lines, each ended by a newline.
    """
    steps = plan.decisions
    lines = [*_head(earlier_run_id), *_rows(steps), "", totals(steps), *_warnings(plan)]
    return "\n".join(lines) + "\n"


def plan_note(plan: RerunPlan, earlier_run_id: str, longest: int = LONGEST_NOTE) -> str:
    """The same text as Markdown, of at most ``longest`` characters.

    What does not fit is left out, and the note says how much: first steps that only follow another one, then those
    that are not run, then warnings. The heading and the totals are always there.
    """
    # A paragraph of its own: Airflow shows the first line of a note where it has no place for more.
    head = f"{_HEAD} `{_printable(earlier_run_id)}`"
    warnings = list(_warnings(plan))
    for shown in range(len(warnings), -1, -1):
        hidden = f"… {_number(len(warnings) - shown, 'more warning')}"
        told = [*warnings[:shown], *([hidden] if shown < len(warnings) else [])]
        for steps in _fewer_and_fewer(plan.decisions, keep_reasons=shown > 0):
            left_out = len(plan.decisions) - len(steps)
            more = [f"… {_number(left_out, 'more step')}"] if left_out else []
            rows = [*_rows(steps), *more]
            lines = [*rows, "", totals(plan.decisions), *told]
            note = f"{head}\n\n{_BEGIN}" + "\n".join(lines).replace("```", "'''") + f"\n{_END}"
            if len(note) <= longest:
                return note
    return totals(plan.decisions)[:longest]


def totals(decisions: Sequence[Decision]) -> str:
    """One sentence: how many steps are run, restored and skipped, and what is copied inside the store."""
    count = Counter(decision.action for decision in decisions)
    parts = [f"{count['restore']} to restore", f"{count['skip']} to skip", f"{count['run']} to run"]
    files = sum(decision.files for decision in decisions)
    copied = f"{_number(files, 'file')}, {size_text(sum(d.size for d in decisions))}" if files else "nothing"
    return f"{_number(len(decisions), 'step')}: {', '.join(parts)}; {copied} to be copied inside the store"


def size_text(size: int) -> str:
    """A number of bytes for people: ``812 B``, ``1.2 kB``, ``34 MB``; 1 kB is 1,000 B."""
    if size < 1000:
        return f"{size} B"
    value = float(size)
    for unit in _UNITS:
        if value < 999.5 or unit == _UNITS[-1]:
            break
        value /= 1000
    return f"{value:.1f} {unit}" if value < 9.95 else f"{value:.0f} {unit}"


def _head(earlier_run_id: str) -> list[str]:
    return [f"{_HEAD} {_printable(earlier_run_id)}", ""]


def _rows(decisions: Sequence[Decision]) -> Iterator[str]:
    """A line a step, in columns."""
    name = max((len(_printable(d.internal_name)) for d in decisions), default=0)
    why = max((len(_printable(d.why)) for d in decisions if d.files), default=0)
    for decision in decisions:
        reason = _printable(decision.why)
        row = f"{decision.action:<7}  {_printable(decision.internal_name):<{name}}  "
        if decision.files:
            row += f"{reason:<{why}}  ({_number(decision.files, 'file')}, {size_text(decision.size)})"
        else:
            row += reason
        yield row.rstrip()


def _fewer_and_fewer(decisions: Sequence[Decision], *, keep_reasons: bool) -> Iterator[list[Decision]]:
    """The steps in their order, then without those that say least, one after the other.

    :param keep_reasons: stop before a step is left out that runs for a reason of its own.
    """

    def weight(index: int) -> tuple[int, int]:
        decision = decisions[index]
        if decision.action != "run":
            return 1, -index
        return (0 if decision.why.startswith(_FOLLOWS) else 2), -index

    by_weight = sorted(range(len(decisions)), key=weight)
    for count in range(max(0, len(decisions) - _MOST_ROWS), len(decisions) + 1):
        if keep_reasons and count and weight(by_weight[count - 1])[0] == 2:
            return
        left_out = set(by_weight[:count])
        yield [decision for index, decision in enumerate(decisions) if index not in left_out]


def _warnings(plan: RerunPlan) -> Iterator[str]:
    for warning in plan.warnings:
        yield f"warning: {_printable(warning)}"


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _printable(text: str) -> str:
    """Text without characters that a terminal would act on, on one line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
