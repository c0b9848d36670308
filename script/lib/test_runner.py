#!/usr/bin/env python3
"""Builds and runs all tests one after another, each with a time-out and a log; sums up. Started by script/test."""
import argparse
import glob
import os
import re
import signal
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.path.join(ROOT, "build", "bin")
LOGS = os.path.join(ROOT, "build", "test-logs")
TAIL = 130
REASONS = 6
# The lines of a log that say best why: an exception's, a failed expectation's place, a violated invariant's.
REASON = re.compile(r"^(?:[\w.]*(?:Error|Failure|Exception|Interrupt)\b.*|\S+:\d+: Failure|.*\bviolat.*)$", re.M)
# Those that no seed draws by itself (docs/simulation.md).
WEATHERS = ("two-servers", "two-disk", "two-ping", "keys", "policies", "everything")
SKIPPED = 77  # exit status of a test that cannot be run here; its last line says why
# How the last words of the different kinds of tests are read: (passed, failed) from a match.
COUNTS = (
    (re.compile(r"^(\d+) passed, (\d+) failed$", re.M), lambda found: (int(found[1]), int(found[2]))),
    (re.compile(r"^(\d+) seeds, (\d+) violations$", re.M),
     lambda found: (int(found[1]) - int(found[2]), int(found[2]))),
)


class Job:
    def __init__(self, name, command, minutes, system=False):
        self.name = name
        self.command = command
        self.minutes = minutes
        self.system = system
        self.passed = self.failed = 0
        self.seconds = 0.0
        self.note = ""
        self.reasons = []

    @property
    def log(self):
        return os.path.join(LOGS, re.sub(r"\W+", "-", self.name) + ".log")


def build_job():
    return Job("build", [os.path.join(ROOT, "script", "lib", "quiet-build")], 40)


def test_jobs(fast):
    """Quick ones first. REQUIRES: everything is built."""
    jobs = [Job("check", [os.path.join(ROOT, "script", "check")], 5)]
    programs = sorted(glob.glob(os.path.join(BIN, "*_test")))
    planted = [program for program in programs if program.endswith("_planted_test")]
    for program in programs:
        if program not in planted:
            jobs.append(Job("unit " + os.path.basename(program)[:-len("_test")], [program, "--gtest_brief=1"], 5))
    scenarios = os.path.join(BIN, "baton-scenarios")
    jobs.append(Job("scenarios", [scenarios, os.path.join(ROOT, "tests", "scenarios")], 5))
    simulation = os.path.join(ROOT, "script", "sim")
    jobs.append(Job("simulation", [simulation, "--count", "30" if fast else "2000"], 15))
    jobs.append(Job("simulation twice", [simulation, "--count", "10" if fast else "50", "--twice"], 5))
    for weather in WEATHERS:
        jobs.append(Job("simulation " + weather, [simulation, "--count", "10" if fast else "100", "--weather", weather], 10))
    if not fast:
        jobs += [Job("planted " + os.path.basename(program)[:-len("_planted_test")], [program, "--gtest_brief=1"], 15)
                 for program in planted]
        for path in sorted(glob.glob(os.path.join(ROOT, "tests", "system", "*_test.py"))):
            name = os.path.basename(path)[:-len("_test.py")]
            jobs.append(Job("system " + name, [sys.executable, "-B", path], 11, system=True))
        jobs.append(Job("upgrade", [sys.executable, "-B", os.path.join(ROOT, "tests", "upgrade", "upgrade_test.py")], 30, system=True))
        jobs.append(Job("vm guard", [sys.executable, "-B", os.path.join(ROOT, "tests", "vm", "guard_test.py")], 6))
    return jobs


def run_job(job):
    """Runs a job in a process group of its own, so that a time-out ends all of it."""
    started = time.monotonic()
    # The property tests' cases are the same in every run; another seed may be set from outside.
    environment = {"RC_PARAMS": "seed=1", **os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        with open(job.log, "w") as log:
            process = subprocess.Popen(job.command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                                       cwd=ROOT, env=environment, start_new_session=True)
            status = wait(process, job)
    except OSError as error:
        status = 127
        job.note = str(error)
    job.seconds = time.monotonic() - started
    count(job, status)


def wait(process, job):
    try:
        return process.wait(job.minutes * 60)
    except subprocess.TimeoutExpired:
        job.note = f"not done after {job.minutes} minutes"
        return 124
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)
            if job.system:
                subprocess.run([os.path.join(BIN, "baton"), "lab", "down"], timeout=180)


def count(job, status):
    """Takes the numbers from the job's own words; its exit status has the last one."""
    text = ""
    if os.path.exists(job.log):
        with open(job.log, errors="replace") as log:
            text = log.read()
    for pattern, numbers in COUNTS:
        found = list(pattern.finditer(text))
        if found:
            job.passed, job.failed = numbers(found[-1])
            break
    else:
        job.passed, job.failed = gtest_counts(text)
    if status == SKIPPED:
        job.passed = job.failed = 0
        job.note = (text.strip().splitlines() or ["not run"])[-1]
        return
    if status == 0 and job.passed + job.failed == 0:
        job.passed = 1
    if status != 0 and job.failed == 0:
        job.failed = 1
        job.note = job.note or f"exit status {status}"


def gtest_counts(text):
    passed = re.search(r"^\[  PASSED  \] (\d+) tests?", text, re.M)
    failed = re.search(r"^ ?(\d+) FAILED TESTS?", text, re.M)
    return int(passed[1]) if passed else 0, int(failed[1]) if failed else 0


def tell(job):
    verdict = "FAILED" if job.failed else "ok" if job.passed else "not run"
    note = f"  {job.note}" if job.note else ""
    print(f"{verdict:<7}{job.name:<28}{job.passed:>6} passed {job.failed:>4} failed {job.seconds:>8.1f} s{note}",
          flush=True)
    if job.failed and os.path.exists(job.log):
        with open(job.log, errors="replace") as log:
            text = log.read()
        job.reasons = [line[:300] for line in REASON.findall(text)[:REASONS]]
        for line in ["why: " + reason for reason in job.reasons] + text.splitlines()[-TAIL:]:
            print("    " + line)
        print(f"    (the whole log: {os.path.relpath(job.log, ROOT)})", flush=True)


def parse_options():
    parser = argparse.ArgumentParser(prog="script/test", description="Builds everything and runs all tests.")
    parser.add_argument("--fast", action="store_true", help="no system tests and few seeds")
    parser.add_argument("--list", action="store_true", help="only say which tests there are")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only tests whose name contains it")
    return parser.parse_args()


def wanted(jobs, names):
    return [job for job in jobs if not names or any(name in job.name for name in names)]


def main():
    options = parse_options()
    os.makedirs(LOGS, exist_ok=True)
    build = build_job()
    if not options.list:
        run_job(build)
        tell(build)
    done = [] if options.list else [build]
    jobs = wanted(test_jobs(options.fast), options.names) if not build.failed else []
    for job in jobs:
        if options.list:
            print(job.name)
            continue
        run_job(job)
        tell(job)
        done.append(job)
    if options.list:
        return 0
    if not jobs and not build.failed:
        print(f"no test is named like {' or '.join(options.names)}; see script/test --list")
        return 2
    tests = [job for job in done if job is not build or job.failed]
    passed, failed = sum(job.passed for job in tests), sum(job.failed for job in tests)
    failures = [job for job in tests if job.failed]
    print(f"\n{sum(job.seconds for job in done):.0f} s in all" +
          (f"; failed: {', '.join(job.name for job in failures)}" if failures else ""))
    for job in failures:
        for reason in job.reasons:
            print(f"{job.name}: {reason}")
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
