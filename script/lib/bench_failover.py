"""`script/bench failover`: how long a client of a small service waits through each fault, where the time goes, and for
how long two servers ever answered at once. docs/performance.md says what each figure means."""
import argparse
import json
import os
import signal
import statistics
import sys
import time

import bench_curve
from address_probe import AddressProbe, resolution_ms
from failover_lab import DETECTION_MS, OTHER, FailoverLab
from failover_parts import divide, divide_stall
from lab_cluster import ROOT, LabFailure, group_of, now_ns, resource_kinds

OUTAGES = ("power_cut", "app_kill", "move", "isolation", "isolation_all")
LOSSES = ("link_loss", "witness_loss", "standby_loss")  # the service goes on
WHOLE = [f"{profile}.{fault}" for profile in ("lan", "fast", "wan") for fault in OUTAGES + LOSSES] + ["curve"]
LIMITS = {"lan.power_cut": 1300, "fast.power_cut": 400, "lan.isolation": 1300, "fast.isolation": 400,
          "lan.isolation_all": 1300, "fast.isolation_all": 400, "lan.app_kill": 100, "fast.app_kill": 100,
          "lan.move": 300, "fast.move": 300, "wan.app_kill": 100, "wan.move": 300}
RUNS, QUICK_RUNS, WAN_RUNS = 10, 2, 3
EXPECTED_AT_MOST = 1.25  # a median above this share of what `baton status` expects is a miss
WATCHED_AFTER_S = {"fast": 1.0, "lan": 2.0, "wan": 8.0}  # how long a loss is looked at: beyond its detection
COMPUTED = ("power_cut", "isolation_all")  # what `baton status` computes a time for: the owner is lost
LOGS = os.path.join(ROOT, "build", "bench-logs")


class Measured:
    """One run of one fault."""

    def __init__(self):
        self.outage_ms = self.overlap_ms = self.resolution_ms = 0.0
        self.write_ms = 0.0
        self.failed = 0
        self.parts = {}
        self.computed = {}


class Runner:
    def __init__(self, lab, say):
        self.lab, self.say = lab, say

    def run(self, fault):
        lab, owner = self.lab, None
        lab.ready()
        owner = lab.owner()
        computed = group_of(lab.cluster.any_status())["failover"] if fault in COMPUTED else {}
        probe = AddressProbe(lab.cluster)
        try:
            before_ns, mend = getattr(lab, fault)(owner)
            if fault in LOSSES:
                time.sleep(WATCHED_AFTER_S[lab.profile])  # nothing is waited for: the service must go on all the time
            lab.poller.wait_answers(60, 60)
            report = probe.stop()
        finally:
            probe.abandon()
        measured = self.judge(fault, before_ns // 1000, report)
        measured.computed = {name: computed[name] for name in ("expected_ms", "worst_ms") if name in computed}
        if fault in OUTAGES:
            measured.parts = self.parts(fault, owner, *lab.poller.gap(before_ns // 1000))
        else:
            stall = lab.poller.longest_request(before_ns // 1000)
            measured.parts = divide_stall(lab.cluster.events(owner), stall.end_us - int(stall.took_ms * 1000), stall.end_us)
        mend()
        return measured

    def judge(self, fault, before_us, report):
        poller, measured = self.lab.poller, Measured()
        begin, end = poller.gap(before_us)
        writes = poller.gap(before_us, "post")
        measured.write_ms = (writes[1] - writes[0]) / 1000
        measured.outage_ms = (end - begin) / 1000
        measured.overlap_ms = report["overlap_ms"]
        measured.resolution_ms = resolution_ms(report, begin, end)
        if fault in LOSSES:
            since = [request for request in poller.requests if request.end_us >= before_us]
            measured.failed = sum(not request.ok for request in since)
            # What the client feels: the longest request of any kind.
            measured.outage_ms = poller.longest_request(before_us).took_ms
        return measured

    def parts(self, fault, owner, begin, end):
        """By what both servers have written down; of a server that is not there any more, or knows nothing, nothing."""
        cluster, other = self.lab.cluster, OTHER[owner]
        servers = {"app_kill": (owner,), "move": (owner, other)}.get(fault, (other,))
        events = [event for server in servers for event in cluster.events(server)
                  if begin - 2e6 <= event["monotonic_us"] <= end + 2e6]
        return divide(events, resource_kinds(cluster.any_status()), begin, end)


def summary(fault, runs, profile):
    """The JSON of one fault."""
    names = sorted({name for run in runs for name in run.parts})
    result = {"median_ms": statistics.median(run.outage_ms for run in runs), "max_ms": max(run.outage_ms for run in runs),
              "n": len(runs), "overlap_ms": max(run.overlap_ms for run in runs),
              "resolution_ms": max(run.resolution_ms for run in runs),
              "write_median_ms": statistics.median(run.write_ms for run in runs),
              "parts": {name: statistics.median(run.parts.get(name, 0) for run in runs) for name in names}}
    if fault in COMPUTED:
        result["computed"] = {name: max(run.computed[name] for run in runs) for name in ("expected_ms", "worst_ms")}
    if fault in LOSSES:
        result["failed"] = sum(run.failed for run in runs)
        result["stalls_beyond_detection"] = sum(run.outage_ms > DETECTION_MS[profile] for run in runs)
    return {key: rounded(value) for key, value in result.items()}


def rounded(value):
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    return round(value, 2) if isinstance(value, float) else value


def as_computed(result):
    """`baton status` promises these: usually the one, never more than the other."""
    computed = result.get("computed")
    return not computed or (result["median_ms"] <= EXPECTED_AT_MOST * computed["expected_ms"] and
                            result["max_ms"] <= computed["worst_ms"])


def verdict(profile, fault, result):
    if fault in LOSSES:
        good = result["failed"] == 0 and result["stalls_beyond_detection"] == 0
    else:
        limit = LIMITS.get(f"{profile}.{fault}")
        good = limit is None or result["median_ms"] < limit
        good = good and as_computed(result)
    return "pass" if good and result["overlap_ms"] == 0 else "MISS"


def measure(profile, faults, options, say, results):
    lab = FailoverLab(profile, say)
    try:
        say(f"{profile}: the lab comes up")
        lab.up()
        runner = Runner(lab, say)
        for fault in faults:
            count = options.runs or (WAN_RUNS if profile == "wan" else QUICK_RUNS if options.quick else RUNS)
            runs = []
            for number in range(count):
                runs.append(runner.run(fault))
                parts = ", ".join(f"{name} {value:.0f}" for name, value in runs[-1].parts.items())
                say(f"{profile} {fault} {number + 1}/{count}: {runs[-1].outage_ms:.0f} ms, overlap "
                    f"{runs[-1].overlap_ms:.1f} ms{': ' if parts else ''}{parts}")
            results.setdefault(profile, {})[fault] = summary(fault, runs, profile)
    except LabFailure:
        lab.cluster.save_logs(os.path.join(LOGS, profile))
        say(f"logs, states and events are in {os.path.join(LOGS, profile)}")
        raise
    finally:
        lab.down()


def wanted_of(options):
    if options.only:
        unknown = set(options.only.split(",")) - set(WHOLE)
        if unknown:
            raise LabFailure(f"--only {', '.join(sorted(unknown))}: there are {', '.join(WHOLE)}")
        return options.only.split(",")
    return [name for name in WHOLE if not (options.quick and name.startswith("wan."))]


def table(results, curve):
    lines = [f"{'':<18}{'median':>8}{'worst':>8}{'limit':>8}{'overlap':>9}  (ms)"]
    for profile in ("lan", "fast", "wan"):
        for fault, result in results.get(profile, {}).items():
            limit = DETECTION_MS[profile] if fault in LOSSES else LIMITS.get(f"{profile}.{fault}", "-")
            lines.append(f"{profile + ' ' + fault:<18}{result['median_ms']:>8.0f}{result['max_ms']:>8.0f}{limit:>8}"
                         f"{result['overlap_ms']:>9.1f}  {verdict(profile, fault, result)}")
            if fault in LOSSES:
                lines.append(f"    failed requests {result['failed']}, write stalls beyond detection "
                             f"{result['stalls_beyond_detection']}")
            if fault in COMPUTED:
                lines.append(f"    computed by Baton: {result['computed']['expected_ms']}, at worst "
                             f"{result['computed']['worst_ms']}")
            parts = [f"{name} {value:.0f}" for name, value in
                     sorted(result["parts"].items(), key=lambda part: -part[1]) if value >= 0.5]
            while parts:
                line = "    " + parts.pop(0)
                while parts and len(line) + 2 + len(parts[0]) <= 80:
                    line += ", " + parts.pop(0)
                lines.append(line)
    return "\n".join(lines + bench_curve.table(curve))


def main():
    parser = argparse.ArgumentParser(prog="script/bench failover")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="", metavar="PROFILE.FAULT,...")
    parser.add_argument("--runs", type=int, default=0, help="instead of the usual number")
    options = parser.parse_args()
    begun, results, curve = time.monotonic(), {}, {}

    def say(text):
        print(f"[{time.monotonic() - begun:6.1f} s] {text}", file=sys.stderr, flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))
    try:
        wanted = wanted_of(options)
        for profile in ("lan", "fast", "wan"):
            faults = [name.partition(".")[2] for name in wanted if name.startswith(profile + ".")]
            if faults:
                measure(profile, faults, options, say, results)
        if "curve" in wanted:
            curve = bench_curve.measure(say, options.quick)
    except (LabFailure, OSError) as problem:
        print(f"script/bench: {problem}", file=sys.stderr)
        return 1
    print(table(results, curve))
    if options.json:
        at_rest = {key: curve.get(key) for key in ("batond_rss_mib", "batond_idle_cpu_percent")}
        print(json.dumps({"results": results, "curve": curve, **at_rest}))
    missed = [f"{profile} {fault}" for profile, faults in results.items() for fault, result in faults.items()
              if verdict(profile, fault, result) == "MISS"] + bench_curve.missed(curve)
    if options.quick:  # two runs of each say nothing about a median
        missed = [name for faults in results.values() for name, result in faults.items()
                  if result["overlap_ms"] > 0 or result.get("failed")]
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
