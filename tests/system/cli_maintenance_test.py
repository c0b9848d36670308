#!/usr/bin/env python3
"""`baton server|cluster|group` suspend, drain, shutdown, return, release against a stand-in daemon: what is asked for, how the
progress is shown, and what status says of servers' states."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "script", "lib"))
from cli_world import expect, expect_in, expect_refused, expect_status, run  # noqa: E402


def accepting(world, path):
    """Accepts the call and keeps its body."""
    def call(query, body):
        world.body = json.loads(body)
        return 200, {"version": 7}
    world.daemon.on("POST", path, call)


def changing(world, steps):
    """Each status is one step further; the last one stays."""
    left = list(steps)

    def status(query, body):
        if left:
            left.pop(0)(world.status)
            world.status["cursor"] = f"{len(left)}.y"
        return 200, world.status
    world.daemon.on("GET", "/v1/status", status)


def test_suspend_says_who_why_and_how_long(world):
    accepting(world, "/v1/groups/db/suspend")
    done = world.baton("group", "suspend", "db", "--for", "30 min", "--reason", "new disks")
    expect_status(done, 0)
    expect(world.body["for_ms"] == 1800000 and world.body["reason"] == "new disks" and world.body["author"], world.body)
    accepting(world, "/v1/cluster/resume")
    expect_status(world.baton("cluster", "resume"), 0)


def test_drain_waits_and_says_what_stays(world):
    accepting(world, "/v1/servers/server1/drain")
    server, group = world.status["servers"][0], world.group

    def begins(status):
        server["drain"] = {"author": "root", "reason": ""}
        server["staying"] = [{"group": "db", "why": "it moves to server2"}]

    def ends(status):
        group["owner"] = "server2"
        server["staying"] = []
    changing(world, [lambda status: None, begins, ends])
    done = world.baton("server", "drain", "server1")
    expect_status(done, 0)
    expect_in("db: it moves to server2", done.err)
    expect_in("drain of server1: done", done.out)


def test_shutdown_of_this_server_and_its_options(world):
    accepting(world, "/v1/servers/server1/shutdown")
    server = world.status["servers"][0]

    def begins(status):
        server["shutdown"] = {"author": "root", "reason": "", "move": False, "afterwards": "reboot", "left_ms": 1}

    def ends(status):
        server["standing"] = "stopped"
    changing(world, [lambda status: None, begins, ends])
    done = world.baton("--json", "server", "shutdown", "--stop", "--reboot", "--timeout", "20 s")
    expect_status(done, 0)
    expect(done.json()["verb"] == "shutdown", done.out)
    expect(world.body["stop"] and world.body["afterwards"] == "reboot" and world.body["limit_ms"] == 20000, world.body)
    expect_refused(world.baton("server", "shutdown", "--reboot", "--poweroff"), "exclude each other")


def test_a_shutdown_that_is_called_off_is_an_error(world):
    accepting(world, "/v1/cluster/shutdown")
    changing(world, [lambda status: status.update(shutdown={"author": "root"}), lambda status: status.update(shutdown=None)])
    expect_refused(world.baton("cluster", "shutdown"), "called the shutdown off")


def test_a_shutdown_that_is_given_up_says_why(world):
    accepting(world, "/v1/cluster/shutdown")
    begun = {"author": "root", "reason": "", "move": True, "afterwards": "nothing", "left_ms": 20000}
    why = "it was not through within 20 s: group db is stopping on server1"
    changing(world, [lambda status: status.update(shutdown=begun), lambda status: status.update(shutdown=None, given_up=why)])
    expect_refused(world.baton("cluster", "shutdown", "--timeout", "20 s"), "was given up: " + why)
    expect_in("shutdown was given up: " + why, " ".join(world.baton("status").out.split()))
    world.status.update(shutdown=begun, given_up="")
    expect_in("being shut down by root (20 s left)", " ".join(world.baton("status").out.split()))


def test_return_and_release(world):
    accepting(world, "/v1/servers/server2/return")
    expect_status(world.baton("server", "return", "server2"), 0)
    accepting(world, "/v1/groups/db/release")
    expect_status(world.baton("group", "release", "db"), 0)
    expect_refused(world.baton("server", "return", "server9"), "no server \"server9\"")


def test_status_shows_states_and_maintenance(world):
    servers = world.status["servers"]
    for server in servers:
        server.update(standing="normal", standing_short="O", standing_reason="", hold_left_ms=0, suspended=None, drain=None,
                      shutdown=None, staying=[])
    servers[1].update(standing="isolated", standing_short="Od", standing_reason="it was lost 3 times", hold_left_ms=59000)
    servers[2].update(standing="down", standing_short="Xd")
    servers[0].update(drain={"author": "eve", "reason": ""}, staying=[{"group": "db", "why": "nobody else can"}])
    world.group.update(held="service postgresql failed: it ended", suspended=None)
    world.status.update(starting="the cluster is starting and waits for server2, 5 s more", shutdown=None,
                        suspended={"author": "root", "reason": "new disks", "limited": True, "left_ms": 60000})
    shown = world.baton("status")
    for part in ("normal (O)", "isolated (Od)", "down (Xd)", "it was lost 3 times (59 s left)", "baton server return server2",
                 "drained by eve", "still has db: nobody else can", "held here: service postgresql", "waits for server2",
                 "suspended by root (new disks), 60 s left"):
        expect_in(part, " ".join(shown.out.split()))
    expect(max(len(line) for line in shown.out.splitlines()) <= 80, "wider than 80 columns:\n" + shown.out)


if __name__ == "__main__":
    sys.exit(run(globals()))
