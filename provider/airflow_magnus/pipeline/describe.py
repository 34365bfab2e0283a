"""A pipeline for readers: as text for a terminal, as a Mermaid flowchart, as Markdown for a DAG's documentation."""

from __future__ import annotations

import re
from collections.abc import Iterator

from airflow_magnus.pipeline.grammar import DEFAULT_BRANCH
from airflow_magnus.pipeline.model import (
    CatalogMountRequest,
    CompositeStep,
    DataSource,
    EndpointRequest,
    Graph,
    MountRequest,
    Pipeline,
    Step,
    TaskStep,
)

_INDENT = "  "
_MARKED = {ord(character): f"\\{character}" for character in "\\`*_{}[]<>()#|~"}
_ID_UNSAFE = re.compile(r"[^A-Za-z0-9]")
_ENTITIES = {'"': "#quot;", "#": "#35;", "&": "#amp;", "<": "#lt;", ">": "#gt;", "`": "#96;"}
_COLUMNS = ("step", "kind", "command", "next", "on failure", "gets", "puts")


def as_text(pipeline: Pipeline) -> str:
    """Give a tree of the steps, each with what follows it, in the order of the file."""
    description = one_line(pipeline.graph.description)
    head = [f"name: {pipeline.name}", *([f"description: {description}"] if description else []), "steps:"]
    return "\n".join([*head, *_tree(pipeline.graph, _INDENT)]) + "\n"


def as_mermaid(pipeline: Pipeline) -> str:
    """Give a flowchart: failure edges dashed, branches as sub-graphs."""
    return "\n".join(["flowchart TD", *_flow(pipeline.graph, _INDENT)]) + "\n"


def as_markdown(pipeline: Pipeline) -> str:
    """Give the description and a table of all steps; Airflow shows it as the DAG's documentation."""
    lines = [f"**{_cell(pipeline.name)}**", ""]
    if pipeline.graph.description:
        lines += [pipeline.graph.description.strip(), ""]
    lines += [_row(_COLUMNS), _row(["---"] * len(_COLUMNS))]
    lines += [
        _row(_cells(graph, step, shown))
        for graph, step, shown in _all_steps(pipeline.graph)
        if not step.is_terminal
    ]
    return "\n".join(lines) + "\n"


def one_line(text: str) -> str:
    """Give the first line that is not empty, with ``…`` when there is more."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return (lines[0] + (" …" if len(lines) > 1 else "")) if lines else ""


def _all_steps(graph: Graph, around: str = "") -> Iterator[tuple[Graph, Step, str]]:
    """Every step with its graph and its path, in which ``*`` stands for the items of a map and the turns of a loop."""
    for step in graph.steps.values():
        shown = f"{around}{step.name}"
        yield graph, step, shown
        for name, branch in _branches(step):
            segment = "*" if step.kind in ("map", "loop") else name
            yield from _all_steps(branch, f"{shown}.{segment}.")


def _branches(step: Step) -> list[tuple[str, Graph]]:
    """The branches of a step as readers see them: that of a loop once."""
    branches = list(step.branches.items()) if isinstance(step, CompositeStep) else []
    return branches[:1] if step.kind == "loop" else branches


def _what(step: Step) -> str:
    if isinstance(step, TaskStep):
        return f"{step.command_type}: {one_line(step.command)}".rstrip(": ")
    if isinstance(step, CompositeStep) and step.kind == "map":
        return f"map: {step.iterate_as} of {step.iterate_on}"
    if isinstance(step, CompositeStep) and step.dag_definition is not None:
        return f"dag: {step.dag_definition.name}"
    if isinstance(step, CompositeStep) and step.kind == "conditional":
        return f"conditional: by {step.parameter}"
    if isinstance(step, CompositeStep) and step.kind == "loop":
        return f"loop: {_times(step)}"
    return step.kind


def _tree(graph: Graph, indent: str) -> Iterator[str]:
    for step in graph.steps.values():
        mark = "▶ " if step.name == graph.start_at else ""
        yield f"{indent}{mark}{step.name} [{_what(step)}]{_ways(graph, step)}"
        for patterns, verb in ((step.catalog.get, "gets"), (step.catalog.put, "puts")):
            if patterns:
                yield f"{indent}{_INDENT * 2}{verb} {', '.join(patterns)}"
        if step.endpoint is not None:
            key = "mounts" if isinstance(step.endpoint, MountRequest) else "s3"
            yield f"{indent}{_INDENT * 2}{key} {', '.join(buckets(step.endpoint))}"
        if isinstance(step, CompositeStep):
            for name, branch in _branches(step):
                yield f"{indent}{_INDENT}├ {_branch_title(step, name)}"
                yield from _tree(branch, indent + _INDENT * 2)


def buckets(request: EndpointRequest) -> list[str]:
    """The buckets of a step's S3 endpoint, each with what it holds."""
    if isinstance(request, CatalogMountRequest):
        return ["the catalog of the run"]
    start = "mnt/" if isinstance(request, MountRequest) else "s3://"
    inputs = [f"{start}{name} ({_source(source)})" for name, source in request.inputs.items()]
    return [*inputs, *([f"{start}out"] if request.out else [])]


def _source(source: DataSource) -> str:
    files = "" if source.files == ("**",) else ", ".join(source.files)
    if source.bucket:
        place = f"s3://{source.bucket}/{source.prefix}".rstrip("/")
        return " ".join(filter(None, [files, f"of {place}", source.conn_id and f"by {source.conn_id}"]))
    if source.digest:
        return f"sha256 {source.digest[:12]}…"
    if source.run or source.pipeline:
        run = "the latest run" if source.run in ("", "latest") else f"run {source.run}"
        return " ".join(filter(None, [files, f"of {run}", source.pipeline and f"of {source.pipeline}"]))
    return files or "all files"


def _ways(graph: Graph, step: Step) -> str:
    return "" if step.is_terminal else f" → {step.next}, on failure → {graph.after_failure(step).name}"


def _branch_title(step: CompositeStep, name: str) -> str:
    if step.kind == "conditional":
        return "otherwise" if step.has_default and name == DEFAULT_BRANCH else f"when {name}"
    if step.kind == "loop":
        return f"repeat {_times(step)}"
    return {"map": f"for each {step.iterate_as}", "dag": "sub-pipeline"}.get(step.kind, name)


def _times(loop: CompositeStep) -> str:
    times = f"at most {loop.max_iterations} time{'s' if loop.max_iterations > 1 else ''}"
    return f"{times} until {loop.break_on}" if loop.break_on else times


def _flow(graph: Graph, indent: str) -> Iterator[str]:
    for step in graph.steps.values():
        if isinstance(step, CompositeStep):
            kind = _label(_what(step) if step.kind == "conditional" else step.kind)
            yield f'{indent}subgraph {_id(step.internal_name)}["{_label(step.name)} ({kind})"]'
            for name, branch in _branches(step):
                title = _label(_branch_title(step, name))
                yield f'{indent}{_INDENT}subgraph {_id(branch.internal_name)}["{title}"]'
                yield from _flow(branch, indent + _INDENT * 2)
                yield f"{indent}{_INDENT}end"
            yield f"{indent}end"
        else:
            left, right = ("([", "])") if step.is_terminal else ("[", "]")
            detail = "" if step.is_terminal else f"<br/>{_label(_what(step))}"
            yield f'{indent}{_id(step.internal_name)}{left}"{_label(step.name)}{detail}"{right}'
    for step in graph.steps.values():
        if not step.is_terminal:
            source = _id(step.internal_name)
            yield f"{indent}{source} --> {_id(graph.steps[step.next].internal_name)}"
            yield f"{indent}{source} -.->|on failure| {_id(graph.after_failure(step).internal_name)}"


def _id(internal_name: str) -> str:
    """An id of ASCII letters, digits and underscores; no two internal names share one."""
    parts = [_ID_UNSAFE.sub(lambda match: f"_{ord(match[0]):x}_", part) for part in internal_name.split(".")]
    return "n_" + "_2e_".join(parts)


def _label(text: str) -> str:
    """Text that Mermaid shows as it is: its entities begin with ``#``."""
    return "".join(_ENTITIES.get(character, character) for character in " ".join(text.split()))


def _cells(graph: Graph, step: Step, shown: str) -> list[str]:
    return [
        _cell(shown),
        step.kind,
        _code(one_line(step.command))
        if isinstance(step, TaskStep)
        else _cell(_what(step).removeprefix(step.kind).removeprefix(": ")),
        _cell(step.next),
        _cell(graph.after_failure(step).name),
        ", ".join(map(_code, step.catalog.get)),
        ", ".join(map(_code, step.catalog.put)),
    ]


def _row(cells: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).translate(_MARKED)


def _code(text: str) -> str:
    if not text:
        return ""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * (longest + 1)
    padding = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{padding}{text.replace('|', chr(92) + '|')}{padding}{fence}"
