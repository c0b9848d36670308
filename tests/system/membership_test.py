#!/usr/bin/env python3
"""Servers come and go under a client that writes: a third and a fourth join by token, an interconnect changes its
address, one leaves, a dead one is removed. The client may see a write stall, never a lost row."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "script", "lib"))
from cluster_test import ClusterTest, run_tests
from lab_cluster import LabCluster, now_ns, started_on, write_configuration

FOUNDERS = ("server1", "server2", "witness")
STALL_MS = 2000  # detection and a write stall of profile lan


def addresses(number):
    return f"10.88.1.{10 + number},10.88.0.{10 + number}"


def voters_are(*names):
    return lambda status: (status["database"]["serving"] and not status["voters"]["before"]
                           and sorted(status["voters"]["now"]) == sorted(names))


class Membership(ClusterTest):
    machines = 4  # of which the configuration names two

    def setUp(self):
        self.stalls = []
        super().setUp()

    def step(self, what, act):
        """Does it, sees the client go on, and notes its longest stall meanwhile."""
        before = now_ns()
        act()
        self.ledger.wait_rows(100, 60)
        gap = self.ledger.longest_gap(before)
        self.stalls.append((what, gap.ms))
        self.say(f"{what}: longest stall {gap.ms:.0f} ms")

    def token(self, *options):
        return json.loads(self.cluster.baton("server1", "--json", "cluster", "token", *options).stdout)["token"]

    def join(self, machine, token, name=None, interconnects=None, check=True, look=False):
        """What of this machine does not suit a cluster (its corosync.service) does not matter here."""
        options = [] if look else ["--no-preflight"]
        return self.cluster.baton(machine, "cluster", "join", token, "--name", name or machine, "--interconnect",
                                  interconnects or addresses(int(machine[-1])), *options, timeout_s=150, check=check)

    def joins(self, name, voters):
        done = self.join(name, self.token())
        self.assertIn("votes", done.stdout)
        for server in (*voters, name):
            self.cluster.wait_for(voters_are(*voters, name), 60, f"{name} to vote as {server} knows it", [server])

    def refused(self, done, because):
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(because, done.stderr + done.stdout)

    def refusals(self):
        """What cannot be: each says why, and changes nothing."""
        self.refused(self.join("server3", "hello", check=False), "no join token")
        token = self.token()
        forged = token.replace(token.split(".")[2][:8], "00000000")
        self.refused(self.join("server3", forged, check=False), "does not know this token")
        self.refused(self.join("server3", token, name="server2", check=False), "there is a server server2 already")
        self.refused(self.join("server3", token, interconnects="10.88.1.13", check=False), "have 2 interconnects")
        self.refused(self.join("server3", token, interconnects="10.88.1.99,10.88.0.13", check=False, look=True),
                     "10.88.1.99")
        self.refused(self.join("server2", token, check=False), "belongs to a cluster already")
        short = self.token("--for", "1s")
        # Under a name that is taken nothing comes of it while the token is good.
        self.cluster.wait_until(lambda: "has ended" in self.join("server4", short, name="server1", check=False).stderr,
                                30, "a token to end")

    def change_interconnect(self):
        """server3's second address becomes another one of the same link."""
        self.cluster.inside("server3", "sh", "-c", "ip addr add 10.88.0.63/24 dev "
                            "$(ip -o addr show | awk '/10.88.0.13\\//{print $2}')")
        text = json.loads(self.cluster.baton("server1", "--json", "config", "show").stdout)["text"]
        self.assertIn("10.88.0.13", text)
        path = write_configuration(text.replace("10.88.0.13", "10.88.0.63"), "changed.toml")
        self.cluster.baton("server1", "apply", path)

        def moved(server):
            said = self.cluster.inside(server, "corosync-cfgtool", "-n", check=False).stdout
            links = [line for line in said.splitlines() if "LINK:" in line]
            return "10.88.0.63" in said and "10.88.0.13" not in said and all("enabled connected" in line for line in links)
        for server in ("server1", "server2", "server3", "server4", "witness"):
            self.cluster.wait_until(lambda server=server: moved(server), 60, f"{server} to use the new address")

    def remove_dead(self, name, voters):
        self.cluster.power_off(name)
        self.cluster.wait_for(lambda status: any(server["name"] == name and server["state"] == "down"
                                                 for server in status["servers"]), 60, f"{name} to be down", ["server1"])
        self.refused(self.cluster.baton("server1", "cluster", "remove", name, check=False), "--yes")
        self.cluster.baton("server1", "cluster", "remove", name, "--yes", timeout_s=90)
        self.cluster.wait_for(voters_are(*voters), 60, f"{name} to be no voter", ["server2"])

    def leave(self, name, voters):
        self.cluster.baton(name, "cluster", "leave", timeout_s=90)
        self.cluster.wait_for(voters_are(*voters), 60, f"{name} to be no voter", ["server1"])
        self.cluster.wait_for(lambda status: all(server["name"] != name for server in status["servers"]), 30,
                              f"{name} to be gone", ["server1"])

    def test_servers_come_and_go(self):
        self.step("refused joins", self.refusals)
        self.step("server3 joins", lambda: self.joins("server3", FOUNDERS))
        self.step("server4 joins", lambda: self.joins("server4", (*FOUNDERS, "server3")))
        self.step("an interconnect changes its address", self.change_interconnect)
        self.refused(self.cluster.baton("server1", "cluster", "remove", "server3", "--yes", check=False),
                     "is a member and works")
        self.refused(self.cluster.baton("server1", "cluster", "leave", check=False), "group db runs here")
        self.step("server3 leaves", lambda: self.leave("server3", (*FOUNDERS, "server4")))
        self.step("server3 joins again", lambda: self.joins("server3", (*FOUNDERS, "server4")))
        self.step("server4 dies and is removed", lambda: self.remove_dead("server4", (*FOUNDERS, "server3")))
        self.cluster.wait_for(started_on("server1"), 10, "the group never to have moved", ["server2"])
        summary = self.end_and_check()
        worst = max(self.stalls, key=lambda stall: stall[1])
        self.say(f"longest stall of all: {worst[1]:.0f} ms ({worst[0]}); of the whole run {summary['longest_gap_ms']:.0f} ms")
        self.assertLess(worst[1], STALL_MS)


if __name__ == "__main__":
    sys.exit(run_tests(10))
