#!/usr/bin/env python3
"""Which branches of src/core do simulated seeds take? Builds the core with gcc's counters in a directory of its own, runs
seeds, reads the counters with gcov. Started by `script/sim --coverage`."""
import argparse
import collections
import json
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, "build", "coverage")
CORE = os.path.join(BUILD, "src", "core")


def run(command, **more):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout[-4000:]}")
    return done.stdout


def build():
    command = ["cmake", "-S", ROOT, "-B", BUILD, "-G", "Ninja", "-DBATON_COVERAGE=ON"]
    if subprocess.run(["which", "ccache"], stdout=subprocess.DEVNULL).returncode == 0:
        command.append("-DCMAKE_CXX_COMPILER_LAUNCHER=ccache")
    run(command)
    run(["ninja", "-C", BUILD, "baton-sim"])


def counters(ending):
    for where, _, names in os.walk(CORE):
        for name in sorted(names):
            if name.endswith(ending) and "_test" not in name and "_test.dir" not in where:
                yield os.path.join(where, name)


def take_branches():
    """(file, line, place) -> how often. What only an exception takes is no decision of the core's."""
    taken = collections.Counter()
    for notes in counters(".gcno"):
        text = subprocess.run(["gcov", "--json-format", "--stdout", "-b", notes], cwd=os.path.dirname(notes),
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
        for line in text.splitlines():
            if line.startswith("{"):
                add_file(json.loads(line), taken)
    return taken


def add_file(data, taken):
    for file in data["files"]:
        path = os.path.relpath(os.path.join(data["current_working_directory"], file["file"]), ROOT)
        if not path.startswith("src/core/"):
            continue
        for line in file["lines"]:
            branches = [branch for branch in line["branches"] if not branch["throw"]]
            if len(branches) < 2:
                continue
            for place, branch in enumerate(branches):
                taken[path, line["line_number"], place] += branch["count"]


def sum_up(taken):
    folders = collections.defaultdict(lambda: [0, 0])
    never = collections.defaultdict(int)
    for (path, line, _), count in taken.items():
        sums = folders[os.path.dirname(path)]
        sums[0] += count > 0
        sums[1] += 1
        never[path, line] += count == 0
    return folders, sorted((path, line, missing) for (path, line), missing in never.items() if missing)


def source_line(path, number, cache={}):
    if path not in cache:
        with open(os.path.join(ROOT, path), encoding="utf-8") as file:
            cache[path] = file.read().splitlines()
    return cache[path][number - 1].strip()


def tell(folders, never, seeds):
    for path, line, missing in never:
        print(f"{path}:{line}: {missing} never taken: {source_line(path, line)[:70]}")
    print(f"\nbranches of the core taken by {seeds} seeds")
    for folder, (got, of) in sorted(folders.items()):
        print(f"  {folder:<28}{got:>7} of {of:>6}{100 * got / of:>8.1f} %")
    got, of = (sum(sums[place] for sums in folders.values()) for place in (0, 1))
    print(f"  {'all':<28}{got:>7} of {of:>6}{100 * got / of:>8.1f} %")


def main():
    parser = argparse.ArgumentParser(prog="script/sim --coverage", description=__doc__)
    parser.add_argument("seeds", nargs="?", type=int, default=300)
    parser.add_argument("--start", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    build()
    for old in list(counters(".gcda")):
        os.remove(old)
    run([os.path.join(BUILD, "bin", "baton-sim"), "--count", str(options.seeds), "--start", str(options.start)])
    folders, never = sum_up(take_branches())
    if not folders:
        sys.exit("gcov found no counters: is gcov of the compiler's version installed (Debian package gcc)?")
    if options.json:
        print(json.dumps({"seeds": options.seeds,
                          "folders": {folder: {"taken": got, "of": of} for folder, (got, of) in sorted(folders.items())},
                          "never": [{"file": path, "line": line, "branches": missing} for path, line, missing in never]}))
    else:
        tell(folders, never, options.seeds)


if __name__ == "__main__":
    main()
