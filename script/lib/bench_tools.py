"""What every measurement of the benchmark uses: the baseline programs, fio, runs in turn with medians."""
import json
import os
import statistics
import subprocess

from mirror_pair import BIN

MIB = 1 << 20
GIB = 1 << 30


class BenchError(Exception):
    """Something did not work; the text says what."""


def run(command, timeout=120):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=timeout)
    if done.returncode != 0:
        raise BenchError(f"{' '.join(map(str, command))}: status {done.returncode}: {(done.stderr + done.stdout)[-600:]}")
    return done.stdout


def program(name, *arguments):
    """Runs one of bench/'s programs; its JSON object."""
    return json.loads(run([os.path.join(BIN, f"baton-bench-{name}"), *arguments]))


def fill(size, *paths):
    run([os.path.join(BIN, "baton-bench-files"), "--fill", size, *paths])


def fio(target, pattern, depth, milliseconds, area, block=4096, **options):
    """One run of fio on `target` (its options for fio). Figures as bench/'s programs print them: per request, with
    reads and writes together. With `fsync=1` a request is a write and the flush after it."""
    settings = dict(target, name="bench", rw=pattern, bs=block, iodepth=depth, size=area, time_based=1,
                    runtime=f"{milliseconds}ms", ramp_time="150ms", norandommap=1, randrepeat=0)
    return figures(fio_job({**settings, **options}), depth)


def fio_job(settings):
    try:
        text = run(["fio", "--output-format=json", *[f"--{key}={value}" for key, value in settings.items()]])
    except BenchError as failed:
        raise BenchError(f"fio failed on {settings.get('uri') or settings.get('filename')} ({settings['rw']}, depth "
                         f"{settings['iodepth']}): is whoever serves it still there? {failed.args[0][:200]}") from failed
    job = json.loads(text[text.index("{"):])["jobs"][0]
    if job["error"]:
        raise BenchError(f"fio ended with error {job['error']}: {settings}")
    return job


def figures(job, depth):
    parts = [job[kind] for kind in ("read", "write") if job[kind]["total_ios"] > 0]
    iops = sum(part["iops"] for part in parts)
    if iops <= 0:
        raise BenchError("fio did not complete one request")
    total = sum(part["total_ios"] for part in parts)
    return {"iops": iops, "mib_per_second": sum(part["bw_bytes"] for part in parts) / MIB,
            "mean_us": sum(part["lat_ns"]["mean"] * part["total_ios"] for part in parts) / total / 1000,
            # What one after another takes, whatever of it fio counts as latency.
            "cycle_us": depth * 1e6 / iops}


def in_turns(rounds, *contestants):
    """Runs the contestants (name, function) in turn, every second round backwards, so that what disturbs the machine
    disturbs all alike. For each name, the median of every figure."""
    results = {name: [] for name, _ in contestants}
    for number in range(rounds):
        for name, function in contestants[::-1] if number % 2 else contestants:
            results[name].append(function())
    return {name: medians(runs) for name, runs in results.items()}


def medians(runs):
    return {key: statistics.median(each[key] for each in runs) for key in runs[0]}
