"""The programs of the version before this one, built from the history: what a rolling upgrade begins with.

`tests/upgrade/previous` names the commit. Built once, into build/previous/COMMIT; only what a server runs.
"""
import os
import shutil
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NAMED_IN = os.path.join(ROOT, "tests", "upgrade", "previous")
PLACE = os.path.join(ROOT, "build", "previous")
PROGRAMS = ("baton", "batond", "baton-guard", "baton-mirrord", "baton-shim", "baton-lab-init")
BUILD_LIMIT_S = 1500
# Nothing is measured with it: a third less time for the compiler than with its own options.
QUICK = ("-DCMAKE_BUILD_TYPE=Quick", "-DCMAKE_CXX_FLAGS_QUICK=-O1") + (("-DCMAKE_CXX_COMPILER_LAUNCHER=ccache",) if shutil.which("ccache") else ())


class NoHistory(Exception):
    """This checkout does not have the commit: it was made without its history."""


def commit():
    with open(NAMED_IN) as file:
        return next(line.strip() for line in file if line.strip() and not line.startswith("#"))


def programs(say=lambda text: None):
    """The directory of the previous version's programs, built if it is not there yet. NoHistory, CalledProcessError,
    TimeoutExpired: it cannot be built."""
    name = commit()
    directory = os.path.join(PLACE, name)
    if os.path.isdir(directory):
        return directory
    if subprocess.run(["git", "cat-file", "-e", name + "^{commit}"], cwd=ROOT, stderr=subprocess.DEVNULL).returncode != 0:
        raise NoHistory(f"commit {name}, which {os.path.relpath(NAMED_IN, ROOT)} names, is not in this checkout: "
                        "`git fetch --unshallow` gets the history")
    shutil.rmtree(PLACE, ignore_errors=True)  # an older one, or half of one
    source = os.path.join(PLACE, "source")
    os.makedirs(source)
    say(f"building the previous version, {name[:10]}")
    archive = subprocess.Popen(["git", "archive", name], cwd=ROOT, stdout=subprocess.PIPE)
    subprocess.run(["tar", "-x", "-C", source], stdin=archive.stdout, check=True)
    archive.stdout.close()
    if archive.wait() != 0:
        raise subprocess.CalledProcessError(archive.returncode, "git archive")
    environment = {name: value for name, value in os.environ.items() if name != "BATON_BUILD_DIR"}
    with open(os.path.join(PLACE, "build.log"), "w") as log:
        subprocess.run(["cmake", "-S", source, "-B", os.path.join(source, "build"), "-G", "Ninja", *QUICK], stdout=log, stderr=log,
                       check=True, timeout=BUILD_LIMIT_S, env=environment)
        subprocess.run([os.path.join(source, "script", "build"), *PROGRAMS], cwd=source, stdout=log, stderr=log, check=True,
                       timeout=BUILD_LIMIT_S, env=environment)
    ready = os.path.join(PLACE, "ready")
    os.makedirs(ready)
    for program in PROGRAMS:
        shutil.copy2(os.path.join(source, "build", "bin", program), ready)
    shutil.rmtree(source)
    os.rename(ready, directory)
    return directory
