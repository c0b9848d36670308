#!/usr/bin/env python3
"""Monitors, with the real PostgreSQL: one that stands still (SIGSTOP) is found by a query that does not end, stopped and started again; one that
cannot be asked stays as it is; monitors are changed while the group runs; one that finds it bad again and again moves the group; a check that hangs
does not outlive its batond. What a log says is a failure, once; a disk is written to."""
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "script", "lib"))
from cluster_test import ClusterTest, run_tests
from lab_cluster import GROUP, example_configuration, group_of, started_on, write_configuration

QUERY = '["/usr/lib/postgresql/15/bin/psql", "-h", "/tmp", "-U", "postgres", "-Atc", "select 1"]'
NOT_ON_SERVER1 = '["/bin/sh", "-c", "test $(hostname) != server1"]'
HANGING = '["/bin/sleep", "86400"]'
LAST = 'stop_signal = "INT"\n'
SHORT = 'stop_timeout = "3 s"\nrestarts = 1\n'


def monitors(command, failures=2, interval="2 s"):
    return (f'\n[group.{GROUP}.monitor.query]\ncommand = {command}\nuser = "postgres"\ninterval = "{interval}"\ntimeout = "{interval}"\n'
            f'failures = {failures}\n[group.{GROUP}.monitor.port]\ntcp = "10.88.0.50:5432"\ninterval = "2 s"\n')


def monitors_of(status):
    return {each["name"]: each for each in group_of(status)["monitors"]}


class Monitors(ClusterTest):
    configuration_replacements = ((LAST, LAST + SHORT + monitors(QUERY)),)

    def states(self, server, **wanted):
        return self.cluster.wait_for(lambda status: {name: each["state"] for name, each in monitors_of(status).items()} == wanted, 30,
                                     f"the monitors to be {wanted}", [server])

    def apply(self, text):
        path = write_configuration(example_configuration(((LAST, LAST + SHORT + text),)), "monitors.toml")
        return self.cluster.baton("server1", "apply", path).stdout

    def texts(self, server):
        return [event["text"] for event in self.cluster.events(server)]

    def one_process(self, server, name):
        self.cluster.wait_until(lambda: len(self.cluster.processes(server, name)) == 1, 30, f"one {name} on {server}")
        return self.cluster.processes(server, name)[0]

    def test_what_stands_still_is_found_and_what_cannot_be_asked_is_left_alone(self):
        self.states("server1", query="good", port="good")
        first = self.cluster.postmaster("server1")
        for process in self.cluster.processes("server1", "postgres"):
            os.kill(process, signal.SIGSTOP)
        self.cluster.wait_until(lambda: any("monitor query" in text and "2 times in a row" in text for text in self.texts("server1")), 30,
                                "the monitor to find it")
        self.cluster.wait_for(started_on("server1"), 60, "the service to be started again where it was")
        self.cluster.wait_until(lambda: self.cluster.postmaster("server1") not in (None, first), 60, "another postmaster")
        self.states("server1", query="good", port="good")
        self.rows_go_on()

        second = self.cluster.postmaster("server1")
        said = self.apply(monitors('["/usr/local/bin/no-such-check"]'))
        self.assertIn("monitor query", said)
        self.states("server1", query="unknown", port="good")
        self.assertIn("could not be started", monitors_of(self.cluster.status("server1"))["query"]["detail"])
        self.rows_go_on()
        self.assertEqual(self.cluster.postmaster("server1"), second)
        self.assertEqual(len([text for text in self.texts("server1") if "monitor query could not check" in text]), 1)

        # Its one restart here was used by the first failure.
        self.apply(monitors(NOT_ON_SERVER1, failures=1))
        self.cluster.wait_for(started_on("server2"), 60, "the group to be moved")
        explained = self.cluster.baton("server2", "explain", GROUP).stdout
        self.assertIn("monitor query", " ".join(explained.split()))
        self.states("server2", query="good", port="good")
        self.rows_go_on()

        self.apply(monitors(HANGING, interval="1 h"))
        self.states("server2", query="waiting", port="good")
        hanging = self.one_process("server2", "sleep")
        os.kill(self.one_process("server2", "batond"), signal.SIGKILL)
        self.cluster.wait_until(lambda: hanging not in self.cluster.processes("server2", "sleep"), 60, "the check of before to be ended")
        self.apply(monitors(QUERY))
        self.states("server2", query="good", port="good")
        self.cluster.wait_until(lambda: not self.cluster.processes("server2", "sleep"), 60, "the removed monitor's check to be ended")
        self.rows_go_on()
        self.end_and_check()
        self.check_copies()

    def test_what_a_log_says_and_a_disk_does_counts(self):
        log, place = "/var/log/baton/app.log", "/var/lib/baton"
        self.apply(f'\n[group.{GROUP}.monitor.complaints]\nlog = "{log}"\npattern = "FATAL|PANIC"\ninterval = "500 ms"\n'
                   f'[group.{GROUP}.monitor.storage]\ndisk = "{place}"\ninterval = "2 s"\ntimeout = "1500 ms"\n')
        self.states("server1", complaints="unknown", storage="good")
        first = self.cluster.postmaster("server1")
        self.write(log, "all is well")
        self.states("server1", complaints="good", storage="good")
        self.assertEqual(self.cluster.postmaster("server1"), first)
        self.write(log, "PANIC: out of pages")
        self.cluster.wait_until(lambda: self.cluster.postmaster("server1") not in (None, first), 60, "the service to be started again")
        self.cluster.wait_for(started_on("server1"), 60, "the group to be up where it was")
        self.states("server1", complaints="good", storage="good")
        self.rows_go_on()
        second = self.cluster.postmaster("server1")
        self.write(log, "FATAL: out of pages")
        self.cluster.wait_for(started_on("server2"), 60, "the group to be moved: its one restart is used")
        self.assertNotEqual(self.cluster.postmaster("server2"), second)
        self.assertIn("says: FATAL: out of pages", " ".join(self.cluster.baton("server2", "explain", GROUP).stdout.split()))
        self.states("server2", complaints="unknown", storage="good")
        self.rows_go_on()
        self.end_and_check()
        self.check_copies()

    def write(self, log, line):
        self.cluster.inside("server1", "sh", "-c", f"echo '{line}' >>{log}")


if __name__ == "__main__":
    sys.exit(run_tests(8))
