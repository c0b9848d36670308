#!/usr/bin/env python3
"""Scripts, in the lab: what they are told at each occasion, also when the group's storage cannot be started on the primary; programs that they have
had supervised; and bad ones: without the right to run, without end, without measure. Commands that are called by their names of old."""
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "script", "lib"))
from cluster_test import ClusterTest, run_tests
from lab_cluster import ROOT, example_configuration, group_of, write_configuration

HERE = os.path.dirname(os.path.abspath(__file__))
PATH = f"{os.path.join(ROOT, 'build', 'bin')}:/usr/sbin:/usr/bin:/sbin:/bin"
LAST = 'stop_signal = "INT"\n'
WORKER = "/bin/sleep 86397"
APP = f"""
[group.app]
servers = ["server1", "server2"]
[group.app.mirror.data]
size = "64 MiB"
store = "/var/lib/baton/store/app.img"
port = 7801
[group.app.filesystem.files]
mirror = "data"
mount = "/srv/app"
[group.app.address.ip]
address = "10.88.0.60"
[group.app.script.app]
start = ["{HERE}/told_start.sh"]
stop = ["{ROOT}/build/bin/armkill", "worker"]
environment = {{ PATH = "{PATH}", WORKER = "{WORKER}" }}
on_disk_failure = true
on_return = true
"""
BAD = """
[group.app]
servers = ["server1"]
startup = "manual"
[group.app.script.app]
start = ["{}"]
start_timeout = "3 s"
restarts = 0
"""
GIBIBYTE = 1 << 30


class Scripts(ClusterTest):
    with_client = False

    def app(self, predicate, what, seconds=60, servers=("witness", "server1", "server2")):
        return group_of(self.cluster.wait_for(lambda status: any(group["name"] == "app" and predicate(group) for group in status["groups"]),
                                              seconds, what, servers), "app")

    def started(self, server, seconds=60):
        return self.app(lambda group: group["phase"] == "started" and group["owner"] == server, f"app to be started on {server}", seconds)

    def told(self, server):
        output = self.cluster.inside(server, "cat", "/var/log/baton/told", check=False).stdout
        return output.splitlines()

    def worker(self, server):
        """Its process."""
        found = []

        def one():
            found[:] = [pid for pid in self.cluster.processes(server, "sleep") if WORKER.split()[1] in command_of(pid)]
            return len(found) == 1
        self.cluster.wait_until(one, 30, f"one worker on {server}")
        return found[0]

    def apply(self, text):
        path = write_configuration(example_configuration(((LAST, LAST + text),)), "scripts.toml")
        self.cluster.baton("server1", "apply", path)

    def kill_worker(self, server):
        """And waits for another one."""
        before = self.worker(server)
        os.kill(before, signal.SIGKILL)
        self.cluster.wait_until(lambda: before not in self.cluster.processes(server, "sleep"), 10, "it to end")
        return before

    def program(self, server, **wanted):
        return self.app(lambda group: any(all(each[key] == value for key, value in wanted.items()) for each in group["programs"]),
                        f"the worker to be {wanted}", 30, [server])

    def test_a_script_is_told_why_it_is_started_and_its_program_is_looked_after(self):
        cluster = self.cluster
        self.apply(APP)
        self.started("server1")
        self.assertEqual(self.told("server1"), ["START SUCCESS HOME app server1"])
        self.program("server1", name="worker", state="running", restarts=0)

        # More of them, one of which cannot be started at first.
        wrong = self.supervise("second", "--user", "nobody-of-that-name", check=False)
        self.assertNotEqual(wrong.returncode, 0)
        self.assertIn("nobody-of-that-name", wrong.stderr)
        self.supervise("second")
        self.supervise("third")
        self.assertIn("is supervised already", self.supervise("third", check=False).stderr)

        first = self.worker("server1")
        batond = cluster.processes("server1", "batond")[0]
        os.kill(batond, signal.SIGKILL)
        cluster.wait_until(lambda: cluster.processes("server1", "batond") not in ([], [batond]), 30, "another batond")
        self.program("server1", name="worker", state="running", restarts=0)
        self.program("server1", name="third", state="running", restarts=0)
        self.assertEqual(self.worker("server1"), first, "it lives on")
        for name in ("second", "third"):
            self.cluster.baton("server1", "unsupervise", name)
        self.app(lambda group: [each["name"] for each in group["programs"]] == ["worker"], "the others to be forgotten", 30, ["server1"])
        self.kill_worker("server1")
        self.program("server1", state="running", restarts=1)
        self.assertNotEqual(self.worker("server1"), first)

        # It ends while no batond looks.
        batond = cluster.processes("server1", "batond")[0]
        os.kill(batond, signal.SIGSTOP)
        second = self.kill_worker("server1")
        os.kill(batond, signal.SIGKILL)
        cluster.wait_until(lambda: cluster.processes("server1", "batond") not in ([], [batond]), 30, "another batond")
        self.program("server1", state="running", restarts=1)
        self.assertNotEqual(self.worker("server1"), second)
        self.assertEqual(len(self.told("server1")), 1, "the script itself was not run again")

        self.kill_worker("server1")
        self.program("server1", state="running", restarts=2)
        self.kill_worker("server1")
        self.started("server2")
        self.assertEqual(self.told("server2"), ["FAILOVER SUCCESS OTHER app server2"])
        self.assertIn("program worker was killed by signal 9", self.explained("server2"))
        cluster.wait_until(lambda: not self.workers("server1"), 10, "nothing of it to be left on server1")

        # Its server is lost, and comes back.
        cluster.wait_normal(120)
        cluster.power_off("server2")
        self.started("server1")
        self.assertEqual(self.told("server1")[-1], "FAILOVER SUCCESS HOME app server1")
        cluster.power_on("server2")
        cluster.wait_until(lambda: self.told("server2")[-1:] == ["RECOVER FAILURE OTHER app server2"], 60, "the script to be told of the return")
        self.assertFalse(self.workers("server2"))

        # The disk fails on the primary: its mount point is in use.
        cluster.wait_normal(120)
        cluster.baton("server1", "group", "stop", "app")
        self.assertFalse(self.workers("server1"), "the stop script has ended it")
        cluster.inside("server1", "mount", "-t", "tmpfs", "somebody", "/srv/app")
        cluster.baton("server1", "group", "start", "app", "--no-wait")
        self.started("server2")
        self.assertEqual(self.told("server1")[-1], "START FAILURE HOME app server1")
        self.assertEqual(self.told("server2")[-1], "FAILOVER SUCCESS OTHER app server2")
        self.assertIn("somebody (tmpfs) is mounted there", self.explained("server2"))
        cluster.inside("server1", "umount", "/srv/app")

    def supervise(self, name, *options, check=True):
        return self.cluster.baton("server1", "supervise", name, "--group", "app", "--restarts", "1", *options, "--", "/bin/sleep", "86393", check=check)

    def workers(self, server):
        return [pid for pid in self.cluster.processes(server, "sleep") if WORKER.split()[1] in command_of(pid)]

    def explained(self, server):
        return " ".join(self.cluster.baton(server, "explain", "app").stdout.split())

    def fails(self, script, *why):
        """A group whose start script this is does not start, and says why."""
        self.apply(BAD.format(script))
        self.cluster.baton("server1", "group", "start", "app", "--no-wait")
        group = self.app(lambda group: group["refused"] and group["phase"] == "stopped", "its start to fail", 30, ["server1"])
        for text in why:
            self.assertIn(text, group["refused"][0]["reason"])
        self.cluster.baton("server1", "group", "stop", "app")

    def script(self, name, body, mode=0o755):
        path = write_configuration("#!/bin/sh\n" + body, name)
        os.chmod(path, mode)
        return path

    def test_bad_scripts_are_named_and_bounded(self):
        self.fails(self.script("forbidden.sh", "exit 0\n", 0o644), "forbidden.sh could not be started", "Permission denied", "chmod +x")
        self.fails("/no/such/script", "/no/such/script could not be started", "No such file", "it has to be there")
        self.fails(self.script("failing.sh", "echo no licence\nexit 3\n"), "ended with status 3", "no licence")
        self.fails(self.script("endless.sh", "exec sleep 86396\n"), "3000 ms")
        self.cluster.wait_until(lambda: not [pid for pid in self.cluster.processes("server1", "sleep") if "86396" in command_of(pid)], 30,
                                "what it was doing to be ended")
        self.fails(self.script("endless_child.sh", "sleep 86395 &\nexit 1\n"), "ended with status 1")
        self.cluster.wait_until(lambda: not [pid for pid in self.cluster.processes("server1", "sleep") if "86395" in command_of(pid)], 30,
                                "what it has left behind to be ended")

        # A gibibyte of words, again and again: neither batond's memory nor the log grows beyond its bounds.
        chatter = self.script("chatter.sh", "(while :; do head -c 1073741824 /dev/zero | tr '\\0' x; sleep 86394; done) &\nexit 0\n")
        self.apply(BAD.format(chatter))
        self.cluster.baton("server1", "group", "start", "app")
        log = "/var/log/baton/script-app.app.log"
        self.cluster.wait_until(lambda: self.size("server1", log + ".1") > 0, 60, "the log to be cut")
        self.cluster.wait_until(lambda: [pid for pid in self.cluster.processes("server1", "sleep") if "86394" in command_of(pid)], 120,
                                "the gibibyte to be printed")
        self.cluster.wait_until(lambda: self.size("server1", log) < GIBIBYTE // 32, 30, "the log to be cut for the last time")
        self.assertLess(memory_of(self.cluster.processes("server1", "batond")[0]), 50 << 20)
        self.cluster.baton("server1", "group", "stop", "app")
        self.cluster.wait_until(lambda: not self.cluster.processes("server1", "chatter.sh"), 30, "it to be ended")

    def size(self, server, path):
        output = self.cluster.inside(server, "stat", "-c", "%s", path, check=False).stdout.strip()
        return int(output) if output.isdigit() else 0


def command_of(pid):
    try:
        with open(f"/proc/{pid}/cmdline") as file:
            return file.read()
    except OSError:
        return ""


def memory_of(pid):
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmRSS"))


if __name__ == "__main__":
    sys.exit(run_tests(8))
