"""The lab of `script/bench failover`: a small HTTP service with a mirrored ext4 and a floating address, the client that
polls it, and each fault: how it is made, when it is over, and how everything is made good again."""
import os
import signal
import subprocess

from lab_cluster import (ADDRESS, BIN, GROUP, LabCluster, LabFailure, api_call, copy_of, group_of, now_ns, started_on)

OTHER = {"server1": "server2", "server2": "server1"}
DETECTION_MS = {"fast": 220, "lan": 836, "wan": 5280}  # token + consensus
SERVICE = os.path.join(BIN, "baton-bench-service")
PRIVATE = 0  # the number of the link that is an interconnect alone
LAN_PEERS = {"server1": ("10.88.0.12", "10.88.0.9"), "server2": ("10.88.0.11", "10.88.0.9")}

CONFIGURATION = """
[cluster]
name = "bench"
public_lan = "10.88.0.0/24"
timing = "{timing}"

[server.server1]
id = 1
interconnects = ["10.88.1.11", "10.88.0.11"]
[server.server2]
id = 2
interconnects = ["10.88.1.12", "10.88.0.12"]
[server.witness]
id = 3
role = "witness"
interconnects = ["10.88.1.9", "10.88.0.9"]
"""
ONE_GROUP = """
[group.db]
servers = ["server1", "server2"]
[group.db.mirror.data]
size = "64 MiB"
store = "/var/lib/baton/store/db.img"
[group.db.filesystem.files]
mirror = "data"
mount = "/srv/db"
[group.db.address.ip]
address = "{address}"
[group.db.service.http]
command = ["{service}", "/srv/db/records"]
restarts = 1000
"""


def configuration(timing):
    return CONFIGURATION.format(timing=timing) + ONE_GROUP.format(address=ADDRESS, service=SERVICE)


class Request:
    def __init__(self, line):
        target, self.kind, begin, end, self.outcome = line.split()
        self.target, self.begin_us, self.end_us = int(target), int(begin), int(end)
        self.ok = self.outcome == "ok"

    @property
    def took_ms(self):
        return (self.end_us - self.begin_us) / 1000


class Poller:
    """The client's program and its record as it grows."""

    def __init__(self, cluster, record, addresses=(ADDRESS,), get_us=5000, post_us=50000, limit_ms=1000):
        self.cluster, self.path, self.offset, self.requests, self.writes = cluster, record, 0, [], post_us > 0
        command = ["nsenter", "--target", str(cluster.init_pid("client")), "--net", os.path.join(BIN, "baton-bench-poll"),
                   *addresses, "--get-us", str(get_us), "--post-us", str(post_us), "--get-limit-ms", str(limit_ms),
                   "--post-limit-ms", str(limit_ms)]
        with open(record, "w") as output:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output)

    def read(self):
        with open(self.path) as file:
            file.seek(self.offset)
            text = file.read()
        text = text[:text.rfind("\n") + 1]
        self.offset += len(text)
        self.requests += [Request(line) for line in text.splitlines()]
        if self.process.poll() is not None:
            raise LabFailure(f"the polling client ended with status {self.process.returncode}")

    def forget(self):
        self.read()
        self.requests.clear()

    def answered(self, since_us, target=0):
        """Good answers to requests that began after that."""
        self.read()
        return [request for request in self.requests
                if request.ok and request.begin_us >= since_us and request.target == target]

    def wait_answers(self, count, seconds, target=0):
        """Waits for so many good answers to questions that are asked from now on, a write among them if there are any."""
        since = now_ns() // 1000

        def enough():
            kinds = [request.kind for request in self.answered(since, target)]
            return len(kinds) >= count and (not self.writes or "post" in kinds)
        self.cluster.wait_until(enough, seconds, f"{count} answers of the service")

    def longest_request(self, since_us):
        """Of any kind, of those that ended after `since_us`."""
        self.read()
        return max((request for request in self.requests if request.end_us >= since_us), key=lambda request: request.took_ms)

    def gap(self, since_us, kind="get", target=0):
        """(begin, end) of the longest time without a good answer that ended after `since_us`."""
        self.read()
        ends = sorted(request.end_us for request in self.requests
                      if request.ok and request.kind == kind and request.target == target)
        gaps = [(before, after) for before, after in zip(ends, ends[1:]) if after >= since_us]
        if not gaps:
            raise LabFailure("no answer came after the fault: there is no outage to measure")
        return max(gaps, key=lambda gap: gap[1] - gap[0])

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)


class FailoverLab:
    """One profile's lab, its group started, polled all the time."""

    def __init__(self, profile, say, text=None, poll=None):
        self.profile, self.say, self.text, self.poll_options = profile, say, text or configuration(profile), poll or {}
        self.cluster, self.poller = LabCluster(say), None

    def up(self):
        self.cluster.up(self.text)
        self.cluster.wait_for(started_on(), 120, "the group to be started")
        self.cluster.wait_normal(300)
        log = os.path.join(self.cluster.members["client"]["directory"], "log", "poll.txt")
        self.poller = Poller(self.cluster, log, **{"limit_ms": 2 * DETECTION_MS[self.profile] + 500, **self.poll_options})
        self.poller.wait_answers(50, 30)

    def down(self):
        if self.poller:
            self.poller.stop()
        self.cluster.down()

    def owner(self):
        return group_of(self.cluster.wait_for(started_on(), 60, "the group to be started"))["owner"]

    def ready(self):
        """All is well and stays so for a while (after a cut is mended, memberships come and go): a run may begin."""
        for _ in range(20):
            status = self.cluster.wait_normal(120)
            self.poller.wait_answers(100, 30)
            if self.cluster.wait_normal(120)["database"]["epoch"] == status["database"]["epoch"]:
                return self.poller.forget()
        raise LabFailure("the cluster's membership does not come to rest")

    # The faults: each makes it, waits until it has been dealt with, and gives (just before, how to make it good).

    def power_cut(self, owner):
        before = self.cluster.power_off(owner)
        self.cluster.wait_for(started_on(OTHER[owner]), 60, "the other server to take over")
        return before, lambda: self.cluster.power_on(owner)

    def app_kill(self, owner):
        victim = self.service_pid(owner)
        before = now_ns()
        os.kill(victim, signal.SIGKILL)
        self.cluster.wait_until(lambda: self.service_pid(owner) not in (None, victim), 30, "the service to be restarted")
        return before, lambda: None

    def service_pid(self, server):
        return next(iter(self.cluster.processes(server, "baton-bench-service")), None)

    def move(self, owner):
        before = now_ns()
        api_call(self.cluster.init_pid(owner), "POST", f"/v1/groups/{GROUP}/move",
                 {"server": OTHER[owner], "author": "bench"})
        self.cluster.wait_for(started_on(OTHER[owner]), 60, "the group to be started on the other server")
        return before, lambda: None

    def isolation(self, owner):
        """The private link is cut, and the public LAN carries nothing between servers and witness: the client goes on
        reaching both."""
        rules = ("table inet bench {{ chain in {{ type filter hook input priority -10; ip saddr {{ {0} }} drop; }}; "
                 "chain out {{ type filter hook output priority -10; ip daddr {{ {0} }} drop; }}; }}")
        before = now_ns()
        self.nft(owner, rules.format(", ".join(LAN_PEERS[owner])))
        self.cluster.lab("cut", owner, "--link", str(PRIVATE))
        self.cluster.wait_for(started_on(OTHER[owner]), 60, "the other server to take over", (OTHER[owner], "witness"))

        def mend():
            self.nft(owner, "delete table inet bench")
            self.cluster.lab("heal", owner)
        return before, mend

    def isolation_all(self, owner):
        before = now_ns()
        self.cluster.lab("cut", owner, "--all")
        self.cluster.wait_for(started_on(OTHER[owner]), 60, "the other server to take over", (OTHER[owner], "witness"))
        return before, lambda: self.cluster.lab("heal", owner)

    def nft(self, server, commands):
        done = subprocess.run(["nsenter", "--target", str(self.cluster.init_pid(server)), "--net", "nft", "-f", "-"],
                              input=commands, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=10)
        if done.returncode != 0:
            raise LabFailure(f"nft on {server}: {done.stdout.strip()}")

    def link_loss(self, owner):
        """The link that carries the mirror's data: after an earlier loss it is preferred again only when it has been up for
        a while."""
        def carried():
            paths = copy_of(self.cluster.any_status(), owner)["details"]["paths"]
            return len(paths) == 2 and paths[PRIVATE]["active"]
        self.cluster.wait_until(carried, 30, "the mirror's data to go over the private link")
        self.poller.forget()
        before = now_ns()
        self.cluster.lab("cut", owner, "--link", str(PRIVATE))
        return before, lambda: self.cluster.lab("heal", owner)

    def witness_loss(self, _):
        return self.cluster.power_off("witness"), lambda: self.cluster.power_on("witness")

    def standby_loss(self, owner):
        return self.cluster.power_off(OTHER[owner]), lambda: self.cluster.power_on(OTHER[owner])
