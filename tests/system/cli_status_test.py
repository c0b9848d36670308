#!/usr/bin/env python3
"""The `baton` program: what it says of the cluster, and when nobody answers. See script/lib/cli_world.py."""
import json
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "script", "lib"))
from cli_world import BATON, STATUS, expect, expect_in, expect_refused, expect_status, run  # noqa: E402


def test_no_daemon(world):
    nowhere = os.path.join(world.directory, "nowhere.sock")
    expect_refused(world.baton("status", environment={"BATON_API": nowhere}), "batond does not run here", nowhere,
                   "systemctl start batond")


def test_dead_socket(world):
    world.daemon.shutdown()
    world.daemon.server_close()
    expect_refused(world.baton("status"), "nobody listens")


def test_usage(world):
    expect_status(world.baton(), 2)
    expect_status(world.baton("fly"), 2)
    expect_status(world.baton("group", "move"), 2)
    expect_status(world.baton("group", "move", "db", "--timeout", "soon"), 2)
    expect_status(world.baton("--help"), 0)
    expect_in("--no-wait", world.baton("group", "move", "--help").out)


def test_status_table(world):
    shown = world.baton("status")
    expect_status(shown, 0)
    for part in ("Cluster demo", "serving, led by server1", "950 ms left", "server1 *", "server2 0 1(cut)", "db",
                 "started", "/dev/loop3", "db.data", "[########------------]  43%", "half a copy", "4 KiB to copy"):
        expect_in(part, shown.out)
    expect(max(len(line) for line in shown.out.splitlines()) <= 80, "wider than 80 columns:\n" + shown.out)
    expect("\033" not in shown.out, "colours though it is no terminal")
    expect(not re.search(r" +$", shown.out, re.M), "blanks at a line's end")
    expect(world.baton("cluster", "status").out == shown.out, "cluster status differs")


def test_failover_time(world):
    expect_in("if its server is lost: back after about 1.35 s, at worst 2 min 32 s", world.baton("status").out)
    del world.group["failover"]
    expect("is lost" not in world.baton("status").out, "a time that nobody computed")


def test_status_in_trouble(world):
    world.status["database"].update(serving=False, leader="", waiting="no majority: witness and server2 are away")
    world.status["lease"] = {"valid": False, "left_ms": 0}
    world.status["problems"] = ["the disk under the database is full"]
    world.group.update(phase="stopped", owner="", waiting="no server can run it now", target="server2",
                       refused=[{"server": "server2", "reason": "mount failed", "attempts": 3}])
    shown = world.baton("status").out
    for part in ("not serving", "waits: no majority", "none: this server may hold no group", "Problem: the disk",
                 "waits: no server can run it now", "failed 3 times on server2: mount failed", "on its way to server2"):
        expect_in(part, shown)


def test_status_json(world):
    expect(world.baton("status", "--json").json() == STATUS, "not the API's answer")
    expect(world.baton("--json", "group", "list").json() == STATUS["groups"], "groups differ")
    expect(world.baton("mirror", "list", "--json").json() == STATUS["mirrors"], "mirrors differ")


def test_status_watch(world):
    process = subprocess.Popen([BATON, "status", "--watch", "--json"], stdout=subprocess.PIPE, text=True,
                               env=dict(os.environ, BATON_API=world.daemon.path))
    first = json.loads(process.stdout.readline())
    world.status["cursor"] = "18.1"
    world.group["phase"] = "stopping"
    second = json.loads(process.stdout.readline())
    process.kill()
    process.wait()
    expect(first["groups"][0]["phase"] == "started" and second["groups"][0]["phase"] == "stopping", "no change seen")
    expect(any(call[2].get("after") == "17.204" for call in world.daemon.calls), "not waited for a change")


LINK = {"connected": True, "loss_percent": 0.0, "round_trip_us": 210, "round_trip_worst_us": 3400, "downs": 0,
        "downs_recent": 0, "flapping": False, "send_errors": 0}


def with_links(world):
    def link(peer, number, **more):
        return dict(LINK, peer=peer, link=number, **more)

    world.status["interconnects"] = {"mode": "active", "links": [{"link": 0, "priority": 10}, {"link": 1, "priority": 5}]}
    first, second, _ = world.status["servers"]
    first["links"] = [link("server2", 0), link("server2", 1), link("witness", 0, connected=False)]
    second["links"] = [link("server1", 0, loss_percent=12.5, flapping=True, downs=7, downs_recent=3),
                       link("server1", 1, connected=False, loss_percent=None)]


def test_links(world):
    with_links(world)
    shown = world.baton("status", "--links").out
    rows = [line.split() for line in shown.splitlines()]
    expect(["server1", "server2", "0", "10", "up", "0.0%", "0.21", "ms", "(3.4)", "0x"] in rows, shown)
    expect(["server2", "server1", "0", "10", "flapping", "12.5%", "0.21", "ms", "(3.4)", "7x"] in rows, shown)
    expect(["server1", "server2", "1", "5", "one", "way", "0.0%", "0.21", "ms", "(3.4)", "0x"] in rows, shown)
    expect(["server2", "server1", "1", "5", "one", "way", "-", "-", "0x"] in rows, shown)
    expect(["server1", "witness", "0", "10", "down", "0.0%", "-", "0x"] in rows, shown)
    flat = " ".join(shown.split())
    for part in ("link 1: server1 has it up to server2, but server2 has it down", "server2 lost server1 3 times",
                 "not known how these servers see their links: witness", "Mode active"):
        expect_in(part, flat)
    expect(max(len(line) for line in shown.splitlines()) <= 80, "wider than 80 columns:\n" + shown)
    listed = world.baton("status", "--links", "--json").json()
    expect(len(listed["links"]) == 5 and listed["silent"] == ["witness"] and listed["mode"] == "active", str(listed))
    expect(listed["links"][0]["from"] == "server1" and listed["links"][0]["to"] == "server2", str(listed["links"][0]))


def test_links_of_others_in_status(world):
    with_links(world)
    shown = world.baton("status").out
    expect_in("server1 0(flapping) 1(cut)", shown)  # as server2 says
    expect_in("server2 0 1; witness 0(cut)", shown)


def test_alerts(world):
    well = {"name": "ops", "kind": "mail", "target": "admin@example.org by 10.0.0.9 port 25", "sender": "server1", "state": "good",
            "waiting": 0, "not_sent": 0, "last_sent_ago_ms": 5200, "failing_for_ms": None, "problem": ""}
    world.status["alerts"] = [well, dict(well, name="chat", kind="webhook", state="failing", waiting=3, not_sent=7, last_sent_ago_ms=None,
                                         failing_for_ms=61000, problem="answered 500: out of order")]
    shown = world.baton("status").out
    rows = [line.split() for line in shown.splitlines()]
    expect(["ops", "mail", "good", "server1", "0", "5", "s", "ago"] in rows, shown)
    expect(["chat", "webhook", "failing", "server1", "3", "-"] in rows, shown)
    flat = " ".join(shown.split())
    for part in ("is not reached from here, for 61 s: answered 500: out of order", "chat: 7 events were not sent"):
        expect_in(part, flat)


def test_alert_is_tried(world):
    asked = []
    world.daemon.on("POST", "/v1/alerts/ops/test", lambda query, body: asked.append(json.loads(body)) or
                    (200, {"alert": "ops", "target": "10.0.0.9 port 25", "answer": "answered 250: OK"}))
    expect(world.baton("alert", "test", "ops").out == "ops: 10.0.0.9 port 25: answered 250: OK\n", "not the answer")
    expect(asked[0]["author"], "nobody asked")
    expect(world.baton("alert", "test", "ops", "--json").json()["answer"] == "answered 250: OK", "not the API's answer")
    world.daemon.on("POST", "/v1/alerts/ops/test", lambda query, body: (503, {"error": {"code": "unavailable",
                                                                                        "message": "Connection refused"}}))
    expect_refused(world.baton("alert", "test", "ops"), "Connection refused")
    expect_status(world.baton("alert", "test"), 2)


def test_strange_answers(world):
    world.daemon.on("GET", "/v1/status", {"groups": [{"name": 7}, 3], "servers": "none", "lease": None})
    expect_status(world.baton("status"), 0)
    world.daemon.on("GET", "/v1/status", lambda query, body: (500, "not an object"))
    expect_refused(world.baton("status"), "HTTP status 500")
    world.daemon.on("GET", "/v1/status", lambda query, body: None)
    expect_refused(world.baton("status"), "connection to batond")


if __name__ == "__main__":
    sys.exit(run(globals()))
