#!/usr/bin/env python3
"""Servers that lose each other for good, with the real corosync and PostgreSQL: two servers without a witness, where the one
that is left freezes, says why and goes on by an operator's word, or at once if the other one was shut down in order; and the return after a power loss of everybody, in each
order, with a witness (by itself) and without. No row that a client was told is committed is ever lost."""
import itertools
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "script", "lib"))
from cluster_test import ClusterTest, run_tests
from lab_cluster import GROUP, LabFailure, api_call, asked, group_of, normal, now_ns, started_on

OF_BATON = ("batond", "baton-guard", "baton-mirrord", "corosync")

WITNESS = """[server.witness]
id = 3
role = "witness"                    # votes and remembers, runs no group
interconnects = ["10.88.1.9", "10.88.0.9"]
"""


def waits_for_operator(status):
    return not status["database"]["serving"] and "baton cluster takeover" in status["partition"]["waiting"]


def both_vote(status):
    return (normal(status) and sorted(status["voters"]["now"]) == ["server1", "server2"]
            and not status["voters"]["before"])


class TwoServers(ClusterTest):
    """No witness: np = "operator"."""
    configuration_replacements = ((WITNESS, ""),)
    with_witness = False

    def frozen(self, server):
        status = self.cluster.wait_for(waits_for_operator, 30, f"{server} to wait for an operator", [server])
        self.say(f"{server} says: {status['partition']['waiting']}")

    def take_over(self, server):
        """Asked without --yes it shows what it means and does nothing."""
        shown = self.cluster.wait_until(
            lambda: (lambda done: done if "nothing was changed" in done.stderr else None)(
                self.cluster.baton(server, "cluster", "takeover", check=False)), 30, "a takeover to be possible")
        self.assertIn("has not been reached", shown.stderr)
        begun = now_ns()
        done = self.cluster.baton(server, "cluster", "takeover", "--yes", timeout_s=90)
        self.assertIn("decides alone now", done.stdout)
        self.say(f"takeover on {server}: {(now_ns() - begun) / 1e9:.1f} s")
        return done.stdout

    def test_the_survivor_goes_on_by_an_operators_word(self):
        cluster = self.cluster
        refused = cluster.baton("server1", "cluster", "takeover", "--yes", check=False)
        self.assertIn("a majority is here", refused.stderr)
        # The standby is lost: the owner freezes, and goes on alone.
        cluster.power_off("server2")
        self.frozen("server1")
        self.take_over("server1")
        self.rows_go_on()
        cluster.power_on("server2")
        cluster.wait_for(both_vote, 90, "both to vote and the copies to be equal", ["server1"])
        # The owner is lost: the standby has everything.
        cluster.power_off("server1")
        self.frozen("server2")
        self.assertNotEqual(group_of(cluster.status("server2")).get("owner"), "server2")
        self.take_over("server2")
        self.rows_go_on()
        cluster.power_on("server1")
        cluster.wait_for(both_vote, 90, "both to vote and the copies to be equal", ["server2"])
        self.assertEqual(self.owner(), "server2")
        self.end_and_check()

    def shut_down(self, at, server):
        """Until nothing of Baton is left there, and the other one has gone on. Gives the moment before."""
        cluster = self.cluster
        begun = now_ns()
        cluster.baton(at, "server", "shutdown", server, "--timeout", "40 s", timeout_s=60)
        cluster.wait_until(lambda: not any(cluster.processes(server, program) for program in OF_BATON), 45,
                           f"Baton to have ended on {server}")
        status = cluster.wait_for(lambda status: status["partition"]["taken_over"] and status["database"]["serving"], 15,
                                  f"{at} to decide alone", [at])
        self.assertEqual(status["voters"]["now"], [at])
        self.rows_go_on(500)
        return begun

    def assert_no_outage(self, begun, what):
        gap = self.ledger.longest_gap(begun)
        self.say(f"{what}: the longest time without a row was {gap.ms:.0f} ms")
        self.assertLess(gap.ms, 1500)

    def test_a_shutdown_of_the_standby_stops_nothing(self):
        cluster = self.cluster
        begun = self.shut_down("server1", "server2")
        self.assert_no_outage(begun, "the standby was shut down")
        cluster.power_off("server2")
        back = now_ns()
        cluster.power_on("server2")
        cluster.wait_for(both_vote, 90, "the standby to vote again and the copies to be equal", ["server1"])
        self.rows_go_on()
        self.assert_no_outage(back, "the standby returned")
        # Shut down again; then the owner is lost, and the standby alone must not start with its old copy.
        self.shut_down("server1", "server2")
        for server in ("server2", "server1"):
            cluster.power_off(server)
        cluster.power_on("server2")
        self.frozen("server2")
        self.assertIn("was shut down in order while server1 went on", cluster.status("server2")["partition"]["waiting"])
        shown = cluster.wait_until(
            lambda: (lambda done: done if "nothing was changed" in done.stderr else None)(
                cluster.baton("server2", "cluster", "takeover", check=False)), 40, "the takeover to say what it means")
        self.assertIn("server1 WENT ON ALONE: what it has answered since would be given up", " ".join(shown.stderr.split()))
        self.assertNotEqual(group_of(cluster.status("server2")).get("owner"), "server2")
        cluster.power_on("server1")
        cluster.wait_for(both_vote, 90, "both to vote and the copies to be equal", ["server1"])
        self.assertEqual(self.owner(), "server1")
        self.rows_go_on()
        self.end_and_check()

    def test_a_command_waits_for_a_majority_that_is_away_for_a_moment(self):
        cluster = self.cluster
        corosync = cluster.processes("server2", "corosync")[0]
        os.kill(corosync, signal.SIGSTOP)
        self.addCleanup(os.kill, corosync, signal.SIGCONT)
        cluster.wait_for(lambda status: not status["database"]["serving"], 10, "server1 to be alone", ["server1"])
        with asked(cluster.init_pid("server1"), "POST", f"/v1/groups/{GROUP}/suspend", {"reason": "a test"}, timeout_s=30) as answer:
            os.kill(corosync, signal.SIGCONT)
            self.assertIn("version", answer())
        self.assertTrue(group_of(cluster.status("server1"))["suspended"])
        # It has been away for longer: refused at once, with the reason.
        os.kill(corosync, signal.SIGSTOP)
        self.frozen("server1")
        with self.assertRaisesRegex(LabFailure, "503.*does not serve now: no majority"):
            api_call(cluster.init_pid("server1"), "POST", f"/v1/groups/{GROUP}/resume", {}, timeout_s=30)

    def test_cold_start_waits_for_both(self):
        cluster = self.cluster
        for first, second in (("server1", "server2"), ("server2", "server1")):
            for server in ("server1", "server2"):
                cluster.power_off(server)
            cluster.power_on(first)
            self.frozen(first)
            cluster.power_on(second)
            cluster.wait_for(started_on("server1"), 60, "the group to be started where it was last", [first])
            self.rows_go_on()
            cluster.wait_for(both_vote, 60, "the copies to be equal", [first])
        self.end_and_check()


class WithWitness(ClusterTest):
    def test_cold_start_in_each_order(self):
        cluster = self.cluster
        for order in itertools.permutations(("server1", "server2", "witness")):
            for server in sorted(order, reverse=True):  # the witness first: nobody takes over what goes then
                cluster.power_off(server)
            for place, server in enumerate(order):
                cluster.power_on(server)
                if place == 0:
                    cluster.wait_for(lambda status: not status["database"]["serving"], 30, f"{server} to answer", [server])
                elif place == 1 and "witness" in order[:2]:
                    # A majority, but one copy of two: nothing starts, since the other one may have more.
                    status = cluster.wait_for(
                        lambda status: status["database"]["serving"] and group_of(status)["waiting"], 30,
                        "a majority to wait for the other copy", [server])
                    self.say(f"{' and '.join(order[:2])}: {group_of(status)['waiting']}")
            cluster.wait_for(started_on("server1"), 60, "the group to be started where it was last", ["server1"])
            self.rows_go_on()
            cluster.wait_normal(60)
        self.end_and_check()


if __name__ == "__main__":
    sys.exit(run_tests(8))
