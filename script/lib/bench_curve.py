"""Many groups that fail over at once, and what batond takes with them at rest: a part of `script/bench failover`.

A group is a floating address and a small HTTP service that is bound to it; with mirrors, a mirrored ext4, too. All run on
server1, whose power is cut. The client polls every address.
"""
import os
import statistics
import time

from bench_process import idle_percent, resident_mib
from failover_lab import CONFIGURATION, SERVICE, Poller
from lab_cluster import LabCluster, LabFailure, now_ns

PROFILE = "lan"
COUNTS, QUICK_COUNTS = (1, 8, 64), (1, 8)
MIRROR_COUNTS = (1, 8)
IDLE_S = 10
CORES = 2
MOST_RSS_MIB, MOST_IDLE_PERCENT = 47, 1  # the first is 50 MB
GROUP = """
[group.g{number}]
servers = ["server1", "server2"]
[group.g{number}.address.ip]
address = "{address}"
[group.g{number}.service.http]
command = ["{service}", "{file}", "--bind", "{address}"]
"""
MIRROR = """
[group.g{number}.mirror.data]
size = "16 MiB"
store = "/var/lib/baton/store/g{number}.img"
port = {port}
[group.g{number}.filesystem.files]
mirror = "data"
mount = "/srv/g{number}"
"""


def address_of(number):
    return f"10.88.0.{120 + number}"


def configuration(count, mirrors):
    text = CONFIGURATION.format(timing=PROFILE)
    for number in range(count):
        file = f"/srv/g{number}/records" if mirrors else "-"
        text += GROUP.format(number=number, address=address_of(number), service=SERVICE, file=file)
        if mirrors:
            text += MIRROR.format(number=number, port=7800 + number)
    return text


def all_started(server):
    def predicate(status):
        groups = status["groups"]
        return (bool(status["database"]["serving"]) and bool(groups)
                and all(group["phase"] == "started" and group["owner"] == server for group in groups)
                and all(len(mirror["in_sync"]) == len(mirror["copies"]) or server == "server2" for mirror in status["mirrors"]))
    return predicate


LAB_GROUPS = ("/sys/fs/cgroup/unified/baton-lab/cpu.stat", "/sys/fs/cgroup/baton-lab/cpu.stat")


def busy_seconds():
    """Processor seconds of everything in the lab, of what has ended, too."""
    for path in filter(os.path.exists, LAB_GROUPS):
        with open(path) as file:
            return int(file.readline().split()[1]) / 1e6
    raise LabFailure(f"no processor time of the lab's control group: none of {', '.join(LAB_GROUPS)} is there")


class Curve:
    def __init__(self, count, mirrors, say):
        self.count, self.mirrors, self.say = count, mirrors, say
        self.cluster, self.poller = LabCluster(say), None

    def run(self, idle=False):
        """Outages of the groups in milliseconds, processor seconds beyond the usual, and batond at rest."""
        try:
            self.cluster.up(configuration(self.count, self.mirrors))
            self.cluster.wait_for(all_started("server1"), 240, f"{self.count} groups to be started on server1")
            rest = self.at_rest() if idle else {}
            log = os.path.join(self.cluster.members["client"]["directory"], "log", "poll.txt")
            self.poller = Poller(self.cluster, log, [address_of(number) for number in range(self.count)],
                                 get_us=max(5000, 800 * self.count), post_us=0, limit_ms=1000)
            for number in range(self.count):
                self.poller.wait_answers(3, 30, number)
            return {**self.cut(), **rest}
        finally:
            if self.poller:
                self.poller.stop()
            self.cluster.down()

    def cut(self):
        begun, busy = time.monotonic(), busy_seconds()
        time.sleep(2)
        usual = (busy_seconds() - busy) / (time.monotonic() - begun)
        begun, busy = time.monotonic(), busy_seconds()
        before = self.cluster.power_off("server1") // 1000
        # By the client's record alone: who asks servers for their state takes their time.
        for number in range(self.count):
            self.poller.wait_answers(2, 60, number)
        spent = busy_seconds() - busy - usual * (time.monotonic() - begun)
        self.cluster.wait_for(all_started("server2"), 120, "all groups to be started on server2", ("server2", "witness"))
        gaps = [self.poller.gap(before, "get", number) for number in range(self.count)]
        outages = [(end - begin) / 1000 for begin, end in gaps]
        self.say(f"{self.count} groups{' with mirrors' if self.mirrors else ''}: {statistics.median(outages):.0f} ms, "
                 f"the last {max(outages):.0f} ms, {spent:.2f} processor seconds")
        return {"median_ms": round(statistics.median(outages), 1), "max_ms": round(max(outages), 1),
                "processor_seconds": round(spent, 3)}

    def at_rest(self):
        processes = [process for server in ("server1", "server2") for process in self.cluster.processes(server, "batond")]
        if not processes:
            raise LabFailure("no batond is running")
        time.sleep(2)
        percent = idle_percent(processes, IDLE_S)
        return {"batond_rss_mib": round(max(map(resident_mib, processes)), 1),
                "batond_idle_cpu_percent": round(max(percent), 2)}


def bound_ms(points):
    """Twice one group's time plus 64 times the processor seconds of one on two cores."""
    one, eight = points["1"], points["8"]
    of_one = max(0.0, (eight["processor_seconds"] - one["processor_seconds"]) / 7)
    return of_one, 2 * one["max_ms"] + 64 * of_one / CORES * 1000


def measure(say, quick):
    counts = QUICK_COUNTS if quick else COUNTS
    curve = {str(count): Curve(count, False, say).run(idle=count == counts[-1]) for count in counts}
    of_one, bound = bound_ms(curve)
    last = curve[str(counts[-1])]
    result = {**curve, "processor_seconds_of_one": round(of_one, 4), "bound_64_ms": round(bound, 1)}
    result.update({key: last.pop(key) for key in ("batond_rss_mib", "batond_idle_cpu_percent")})
    if not quick:
        result["with_mirrors"] = {str(count): Curve(count, True, say).run() for count in MIRROR_COUNTS}
    return result


def missed(curve):
    """Which of its limits; empty: none, or nothing was measured."""
    over = [("curve", "64" in curve and curve["64"]["max_ms"] > curve["bound_64_ms"]),
            ("batond's memory", curve.get("batond_rss_mib", 0) > MOST_RSS_MIB),
            ("batond at rest", curve.get("batond_idle_cpu_percent", 0) > MOST_IDLE_PERCENT)]
    return [name for name, is_over in over if is_over]


def table(curve):
    if not curve:
        return []
    lines = ["", "groups at once      median    last   processor seconds"]
    for words, points in (("", curve), (" with mirrors", curve.get("with_mirrors", {}))):
        lines += [f"{name + words:<18}{point['median_ms']:>8.0f}{point['max_ms']:>8.0f}{point['processor_seconds']:>10.2f}"
                  for name, point in points.items() if name.isdigit()]
    lines += [f"64 at once: at most {curve['bound_64_ms']:.0f} ms" + ("" if "64" in curve else "  not measured"),
              f"batond at rest: {curve['batond_rss_mib']} MiB resident (limit {MOST_RSS_MIB}), "
              f"{curve['batond_idle_cpu_percent']} % of a core (limit {MOST_IDLE_PERCENT})"]
    return lines + [f"MISS: {name}" for name in missed(curve)]
