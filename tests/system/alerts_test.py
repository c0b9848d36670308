#!/usr/bin/env python3
"""Alerts, with real receivers: a failover is told once by web, mail (exim, with STARTTLS and a password), syslog (rsyslogd), SNMP trap
(snmptrapd) and a command, within seconds, although the server that would have told it is the one that died; a receiver that is down gets
it later, also after a restart of batond, and one that a server does not reach hears it from another one; what never answers delays nothing;
what is beyond a limit is counted. The journal's socket is a stand-in."""
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "script", "lib"))
from alert_receivers import Receivers
from cluster_test import ClusterTest, run_tests
from lab_cluster import BATON, GROUP, WORK, group_of, started_on

LAST = 'stop_signal = "INT"\n'
SERVERS = ("server1", "server2", "witness")
SOON_S = 20  # seconds, on a machine that does other things, too
RETRY = 'retry = { first = "300 ms", longest = "1 s" }\n'
ALERTS = f"""
[alert.hook]
url = "http://10.88.0.100:8080/baton"
{RETRY}
[alert.mail]
mail = ["admin@example.org"]
from = "baton@example.org"
server = "10.88.0.100:25"
user = "baton"
password_file = "{WORK}/alert.password"
authority = "{WORK}/alert.pem"
{RETRY}
[alert.log]
syslog = "tcp://10.88.0.100:514"
kinds = ["transition", "problem", "alert"]
{RETRY}
[alert.trap]
trap = "10.88.0.100:162"
community_file = "{WORK}/alert.community"
{RETRY}
[alert.page]
command = ["/bin/sh", "-c", "cat >> /var/log/baton/page.txt"]
{RETRY}
[alert.silent]
url = "http://10.88.0.100:8081/"
timeout = "2 s"
[alert.few]
command = ["/bin/sh", "-c", "echo $BATON_EVENT_TEXT >> /var/log/baton/few.txt"]
kinds = ["transition", "problem"]
limit = {{ events = 2, window = "4 s" }}
"""


class Alerts(ClusterTest):
    configuration_replacements = ((LAST, LAST + ALERTS),)
    with_client = False

    def setUp(self):
        self.receivers = Receivers(None, BATON, WORK)
        self.receivers.prepare()
        super().setUp()
        self.receivers.cluster = self.cluster
        self.addCleanup(self.receivers.stop)
        self.receivers.start()

    def got(self):
        return self.receivers.got(SERVERS)

    def told(self, what, names, since=None):
        """Waits until these receivers have got an event whose text has `what`, besides what they had before; says how long it took."""
        begun, last = time.monotonic(), {}

        def all_have():
            last.update(self.got())
            return all(any(what in text for _, text in last[name][len((since or {}).get(name, ())):]) for name in names)
        try:
            self.cluster.wait_until(all_have, SOON_S, f"\"{what}\" to be told by {', '.join(names)}")
        except Exception:
            self.say(f"got: {last}")
            raise
        self.say(f"{what}: told by {', '.join(names)} after {time.monotonic() - begun:.1f} s")

    def once(self):
        for name, events in self.got().items():
            keys = [key for key, _ in events]
            self.assertEqual(sorted(keys), sorted(set(keys)), f"{name} was told of something twice")

    def alert(self, server, name):
        return next(each for each in self.cluster.status(server)["alerts"] if each["name"] == name)

    def nothing_waits_but(self, *names):
        self.cluster.wait_for(lambda status: all(each["waiting"] == 0 for each in status["alerts"] if each["name"] not in names), 30,
                              f"nothing to wait but for {', '.join(names)}", ["server2"])

    def fail_service(self, server):
        first = self.cluster.postmaster(server)
        os.kill(first, signal.SIGKILL)
        self.cluster.wait_until(lambda: self.cluster.postmaster(server) not in (None, first), 30, "the service to be started again")

    def kill(self, member, *names):
        for name in names:
            for process in self.cluster.processes(member, name):
                os.kill(process, signal.SIGKILL)

    def asks(self):
        """What a person is told who tries the receivers."""
        answers = {"hook": "answered 204", "mail": "250 OK", "log": "taken", "trap": "sent", "page": "ended with status 0"}
        for name, answer in answers.items():
            self.assertIn(answer, self.cluster.baton("server1", "alert", "test", name).stdout)
        self.told("this is a test", answers)
        said = self.cluster.baton("server1", "alert", "test", "silent", check=False)
        self.assertNotEqual(said.returncode, 0)
        self.assertIn("no answer within", said.stderr)
        self.assertIn("there is no alert", self.cluster.baton("server1", "alert", "test", "none", check=False).stderr)

    def fails_over(self):
        self.receivers.own("server2", "journal", "/var/log/baton/journal.txt")
        bound = ("test", "-S", "/run/systemd/journal/socket")
        self.cluster.wait_until(lambda: self.cluster.inside("server2", *bound, check=False).returncode == 0, 20, "the journal's stand-in")
        self.assertEqual(self.alert("server2", "mail")["sender"], "server1")
        before = self.got()
        self.cluster.power_off("server1")
        self.told("assign to server 2", before, before)
        self.told("server 1: down (Xd)", before, before)
        self.cluster.wait_for(started_on("server2"), 60, "server2 to take over")
        self.once()
        self.assertIn("BATON_KIND=transition\n", self.receivers.read(self.receivers.log("server2", "journal.txt")))
        self.cluster.power_on("server1")
        self.cluster.wait_normal(120)

    def is_told_later(self):
        """While its receiver is down batond dies, too."""
        self.kill("client", os.path.basename(sys.executable))  # the web server, and the one that is silent
        before = self.got()
        self.fail_service("server2")
        self.told("postgresql failed", ("mail", "log", "trap", "page"), before)
        self.cluster.wait_until(lambda: self.alert("server2", "hook")["state"] == "failing", 20, "the receiver to be seen as failing")
        self.cluster.wait_for(lambda status: all(each["state"] == "up" for each in group_of(status)["resources"]), 30,
                              "all of it to be up again", ["server2"])
        self.cluster.events("server2")  # what was written down before counts as waiting from here on
        self.nothing_waits_but("hook", "silent")
        shown = self.cluster.baton("server2", "status").stdout
        self.assertIn("http://10.88.0.100:8080 is not reached from here", " ".join(shown.split()))
        start = self.cluster.processes("server2", "batond")
        self.kill("server2", "batond")
        self.cluster.wait_until(lambda: self.cluster.processes("server2", "batond") not in ([], start), 30, "another batond")
        self.receivers.webhook()
        self.told("postgresql failed", ("hook",), before)
        self.nothing_waits_but("silent")
        self.once()

    def is_told_by_another(self):
        """The server whose turn it is does not reach the receiver."""
        before = self.got()
        self.assertEqual(self.alert("server2", "log")["sender"], "server1")
        self.cluster.lab("cut", "server1", "--link", "1")
        self.cluster.baton("server1", "group", "suspend", GROUP)
        self.told("suspended by", ("log",), before)
        self.assertEqual(self.alert("server2", "log")["sender"], "server2")
        self.cluster.lab("heal", "server1")
        self.cluster.baton("server1", "group", "resume", GROUP)
        self.once()

    def is_limited(self):
        def closed():
            return [line for server in SERVERS for line in self.receivers.read(self.receivers.log(server, "few.txt")).splitlines()
                    if "further events were not sent" in line]
        before = closed()
        for _ in range(4):
            self.cluster.baton("server1", "group", "suspend", GROUP)
            self.cluster.baton("server1", "group", "resume", GROUP)
        self.cluster.wait_until(lambda: len(closed()) > len(before), 20, "the closing line")

    def test_a_failover_is_told(self):
        self.asks()
        self.fails_over()
        self.is_told_later()
        self.is_told_by_another()
        self.is_limited()
        self.assertEqual(self.alert("server2", "silent")["state"], "failing")


if __name__ == "__main__":
    sys.exit(run_tests(4))
