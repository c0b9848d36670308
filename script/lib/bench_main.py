"""`script/bench mirror`: measures Baton's mirror against the raw files of this machine in the same run; prints a table
and, with --json, one JSON object as the last line. docs/performance.md says what each figure means."""
import argparse
import json
import os
import shutil
import signal
import sys
import textwrap
import time

import bench_exports
from bench_limits import KEYS, missed, rounded, table
from bench_mirror import Bench, Scale
from bench_rest import Copies, Rest
from bench_tools import GIB, BenchError
from mirror_pair import own_mounts

MOST_SECONDS = 900


def arguments():
    parser = argparse.ArgumentParser(prog="script/bench mirror")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--peer", choices=["qemu-quorum"])
    parser.add_argument("--only", default="", metavar="PART,...")
    return parser.parse_args()


def sections(bench):
    """In the order of a whole run; each by itself gives what needs no other's figures."""
    rest, copies = Rest(bench), Copies(bench)
    return {"idle": rest.idle, "depth_1": bench.depth_1, "flush": bench.flush, "depth_32": bench.depth_32,
            "sequential": bench.sequential, "reads": bench.reads, "mix": bench.mix, "wide": bench.wide,
            "full_copy": copies.full, "fast_copy": copies.fast, "mix_copying": copies.mixed, "tls": bench.tls,
            "memory": rest.memory}


def measure(bench, only):
    parts = sections(bench)
    for name in only:
        if name not in parts:
            raise BenchError(f"--only {name}: there are {', '.join(parts)}")
    bench.prepare()
    for name, part in parts.items():
        if not only or name in only:
            part()
    bench.compare_quorums()


def check_room(scale):
    place = os.path.dirname(bench_exports.PLACE)
    needed = 2 * scale.disk + 6 * scale.area + GIB
    free = shutil.disk_usage(place).free
    if free < needed:
        raise BenchError(f"{place} has {free >> 20} MiB free, and {needed >> 20} MiB are needed")


def check_peer(peer):
    for program in ("qemu-nbd", "qemu-storage-daemon") if peer else ():
        if not shutil.which(program):
            raise BenchError(f"--peer {peer} needs {program}: apt-get install qemu-utils qemu-system-common")


def main():
    options = arguments()
    begun = time.monotonic()

    def say(text):
        print(f"[{time.monotonic() - begun:5.1f} s] {text}", file=sys.stderr, flush=True)
    own_mounts()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))
    signal.signal(signal.SIGALRM, lambda *_: sys.exit(f"took longer than {MOST_SECONDS} s"))
    signal.alarm(MOST_SECONDS)
    scale = Scale(options.quick)
    bench = Bench(scale, say, options.peer is not None)
    bench_exports.clean_up()
    try:
        check_peer(options.peer)
        check_room(scale)
        measure(bench, [name for name in options.only.split(",") if name])
    except (BenchError, AssertionError) as problem:
        print(f"script/bench: {problem}", file=sys.stderr)
        return 1
    finally:
        bench.close_all()
        bench_exports.clean_up()
    report(bench.values, options, time.monotonic() - begun)
    return 0


def report(values, options, seconds):
    print(table(values))
    late = missed(values)
    print(textwrap.fill(f"{len(late)} limits missed{': ' if late else ''}{', '.join(late)}", 80))
    print(f"{'Quick: the limits are meant for a whole run. ' if options.quick else ''}{seconds:.0f} s")
    if options.json:
        print(json.dumps({key: rounded(values.get(key)) for key in KEYS}))


if __name__ == "__main__":
    sys.exit(main())
