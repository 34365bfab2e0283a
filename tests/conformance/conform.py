#!/usr/bin/env python3
"""Run pipeline cases with a `magnus`-style command and compare what came out with what must come out.

    conform.py [--command "magnus"] [--cases DIR] [--jobs N] [--verbose] [CASE ...]

Each case runs in a fresh folder that is a clean git repository: COMMAND execute --run-id ID -f pipeline.yaml
[-c config.yaml] [--NAME VALUE ...]. The run log is read from .run_log_store/ID.json (or a folder ID/ that COMMAND
assembles: then from standard output, where the run log is the last JSON object). The last line is 'N passed, N failed'.

case.json: runs (argv, params, before = shell line run first, use_cached = re-run of run 1, same_run_id, git),
unordered = branches may run in any order, so texts are compared as sets of characters; params and env of all runs, params_by (option: --name value; environment: MAGNUS_PRM_name=value), volatile (file names whose
content is not compared), expect (one a run; `why` says where the contract asks for better than the original system did).
"""

import argparse, concurrent.futures, hashlib, json, os, pathlib, re, shlex, shutil, subprocess, sys, tempfile

SKIP = {".git", "__pycache__", ".ipynb_checkpoints", ".run_log_store", ".catalog"}


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def last_run_log(text):
    decoder, found = json.JSONDecoder(), None
    for match in re.finditer(r"^\{", text, re.M):
        try:
            value, _ = decoder.raw_decode(text[match.start() :])
        except ValueError:
            continue
        if isinstance(value, dict) and "run_id" in value and "steps" in value:
            found = value
    return found


def flatten(steps, out, branches):
    for name, step in steps.items():
        out[name] = step
        for branch_name, branch in step.get("branches", {}).items():
            branches[branch_name] = branch["status"]
            flatten(branch["steps"], out, branches)


def differences(expect, got, volatile, unordered):
    """One line per difference between an expected run and what was observed."""
    if expect["outcome"] != got["outcome"]:
        return [
            f"outcome: expected {expect['outcome']}, got {got['outcome']} (exit {got['exit_code']}): {got['tail']}"
        ]
    found = []

    def same(label, a, b):
        if a != b:
            found.append(f"{label}: expected {a!r}, got {b!r}")

    want = expect.get("run_log")
    if want:
        log, steps, branches = got["run_log"], {}, {}
        flatten(log["steps"], steps, branches)
        for key in ("status", "dag_hash", "use_cached", "tag"):
            same(key, want[key], log.get(key))
        same(
            "original_run_id",
            want["original_run_id"].replace("<RUN1>", "corpusrun1"),
            log.get("original_run_id"),
        )
        shorten = lambda v: f"<{len(v)} chars>" if isinstance(v, str) and len(v) > 2000 else v
        same("parameters", want["parameters"], {k: shorten(v) for k, v in log["parameters"].items()})
        same("branches", want["branches"], branches)
        same("steps", sorted(want["steps"]), sorted(steps))
        same("order of the top steps", [s for s in want["step_order"] if "." not in s], list(log["steps"]))
        for name, w in want["steps"].items():
            s = steps.get(name)
            if s is None:
                continue
            for key in ("status", "step_type", "mock", "user_defined_metrics"):
                same(f"{name}: {key}", w[key], s.get(key))
            same(f"{name}: attempts", w["attempts"], [a["status"] for a in s["attempts"]])
            if "data_catalog" in w:
                entry = lambda c: (
                    c["stage"],
                    c["name"],
                    "<VOLATILE>" if pathlib.PurePath(c["name"]).name in volatile else c["data_hash"],
                )
                same(
                    f"{name}: data_catalog",
                    sorted(map(entry, w["data_catalog"])),
                    sorted(map(entry, s["data_catalog"])),
                )
    for key in ("catalog_files", "workspace_files"):
        if isinstance(expect.get(key), dict):
            loose = lambda files: (
                {name: "".join(sorted(text)) for name, text in files.items()} if unordered else files
            )
            same(key, loose(expect[key]), loose(got[key]))
    return found


def run_case(folder, command):
    case = json.loads((folder / "case.json").read_text())
    cwd = pathlib.Path(tempfile.mkdtemp(prefix=f"conform-{folder.name[:30]}-"))
    problems = []
    try:
        shutil.copytree(folder, cwd, dirs_exist_ok=True, ignore=shutil.ignore_patterns("case.json"))
        if case["runs"][0].get("git") != "none":
            git = [
                "git",
                "-c",
                "user.name=c",
                "-c",
                "user.email=c@example.org",
                "-c",
                "init.defaultBranch=main",
            ]
            for args in (
                ["init", "-q"],
                ["add", "-A"],
                ["commit", "-qm", "x", "--allow-empty"],
                ["remote", "add", "origin", "https://example.org/corpus.git"],
            ):
                subprocess.run(
                    [*git, *args], cwd=cwd, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                )
        present = {
            str(p.relative_to(cwd)): sha256(p)
            for p in cwd.rglob("*")
            if p.is_file() and not SKIP & set(p.relative_to(cwd).parts)
        }
        for number, (run, expect) in enumerate(zip(case["runs"], case["expect"]), 1):
            run_id = "corpusrun1" if run.get("same_run_id") else f"corpusrun{number}"
            if run.get("before"):
                subprocess.run(run["before"], shell=True, cwd=cwd, check=True)
            argv = [*command, "execute", "--run-id", run_id, "-f", "pipeline.yaml"]
            argv += ["-c", "config.yaml"] if (cwd / "config.yaml").exists() else []
            argv += run.get("argv", []) + (["--use-cached", "corpusrun1"] if run.get("use_cached") else [])
            env = (
                {k: v for k, v in os.environ.items() if not k.startswith("MAGNUS")}
                | {"LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}
                | case["env"]
            )
            for name, value in run.get("params", case["params"]).items():
                if case["params_by"] == "option":
                    argv += [f"--{name}", value]
                else:
                    env[f"MAGNUS_PRM_{name}"] = value
            stored = cwd / ".run_log_store" / f"{run_id}.json"
            before = stored.read_text() if stored.exists() else None
            try:
                done = subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True, timeout=300)
                code, out, err = done.returncode, done.stdout, done.stderr
            except subprocess.TimeoutExpired:
                code, out, err = "timeout", "", ""
            log = (
                json.loads(stored.read_text())
                if stored.exists() and stored.read_text() != before
                else last_run_log(out)
            )
            got = {
                "exit_code": code,
                "run_log": log,
                "tail": " | ".join((err or out).strip().splitlines()[-3:])[-400:],
            }
            if log is None:
                got["outcome"] = "refused" if code not in (0, "timeout") else "no run log"
            else:
                got["outcome"] = {("SUCCESS", 0): "success", ("FAIL", 1): "failed"}.get(
                    (log["status"], code), f"status {log['status']}"
                )
            catalog, work = {}, {}
            volatile = set(case["volatile"])
            for path in sorted(p for p in cwd.rglob("*") if p.is_file() and ".git" not in p.parts):
                rel = path.relative_to(cwd)
                content = "<VOLATILE>" if rel.name in volatile else None
                if ".versions" in rel.parts:  # earlier bytes of a file that was put again (contract.md 14)
                    continue
                if run_id in rel.parts and ".run_log_store" not in rel.parts:
                    catalog["/".join(rel.parts[rel.parts.index(run_id) + 1 :])] = content or sha256(path)
                elif (
                    SKIP & set(rel.parts)
                    or {"corpusrun1", "corpusrun2"} & {*rel.parts, rel.stem}
                    or path.suffix == ".pyc"
                    or present.get(str(rel)) == sha256(path)
                ):
                    continue
                else:
                    data = path.read_bytes()
                    try:
                        text = data.decode()
                    except UnicodeDecodeError:
                        text = None
                    if text is not None:
                        text = (
                            text.replace(os.path.realpath(cwd), "<CWD>")
                            .replace("corpusrun1", "<RUN1>")
                            .replace("corpusrun2", "<RUN2>")
                        )
                    work[str(rel)] = content or (
                        text
                        if text is not None and len(text) <= 600
                        else "sha256:" + hashlib.sha256(data).hexdigest()
                    )
            got["catalog_files"], got["workspace_files"] = catalog, work
            problems += [
                f"run {number}: {line}" for line in differences(expect, got, volatile, case["unordered"])
            ]
        return problems
    finally:
        shutil.rmtree(cwd, ignore_errors=True)


def main():
    here = pathlib.Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--command", default="magnus")
    parser.add_argument("--cases", type=pathlib.Path, default=here / "cases")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--verbose", action="store_true", help="every difference, not the first three")
    parser.add_argument("names", nargs="*", metavar="CASE")
    args = parser.parse_args()
    folders = [args.cases / n for n in args.names] or sorted(p.parent for p in args.cases.glob("*/case.json"))
    passed = failed = 0
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for folder, problems in zip(
            folders, pool.map(lambda f: run_case(f, shlex.split(args.command)), folders)
        ):
            passed, failed = passed + (not problems), failed + bool(problems)
            print(f"{'FAILED' if problems else 'passed'} {folder.name}")
            for line in problems if args.verbose else problems[:3]:
                print(f"    {line}"[:600])
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
