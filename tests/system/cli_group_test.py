#!/usr/bin/env python3
"""The `baton` program: starting, stopping and moving groups, and waiting for it. See script/lib/cli_world.py."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "script", "lib"))
from cli_world import expect, expect_in, expect_refused, expect_status, run  # noqa: E402


def test_group_list(world):
    shown = world.baton("group", "list")
    expect_in("db     started  server1  running", shown.out)


def test_move_waits(world):
    world.follow_script([("stopping", "server1", {"target": "server2"}), ("stopped", "", {}),
                         ("starting", "server2", {"target": ""}), ("started", "server2", {})])
    done = world.baton("group", "move", "db", "server2")
    expect_status(done, 0)
    expect_in("group db is started on server2", done.out)
    for part in ("stopping on server1", "starting on server2"):
        expect_in(part, done.err)
    expect(world.wished["server"] == "server2" and world.wished["author"], "wrong wish")


def test_move_without_destination(world):
    world.follow_script([("stopping", "server1", {}), ("started", "server2", {})])
    done = world.baton("group", "move", "DB", "--json")
    expect_status(done, 0)
    expect(done.json()["owner"] == "server2" and done.json()["took_ms"] >= 0, done.out)
    expect("server" not in world.wished, "a server was made up")


def test_move_ends_elsewhere(world):
    world.follow_script([("stopping", "server1", {"target": "server2"}), ("starting", "server2", {"target": ""}),
                         ("started", "server1", {"refused": [{"server": "server2", "reason": "mount failed", "attempts": 1}]})])
    expect_refused(world.baton("group", "move", "db", "server2"), "runs on server1 instead", "mount failed")


def test_move_through_restart_of_daemon(world):
    world.follow_script([("stopping", "server1", {"target": "server2"}), None, None, ("started", "server2", {"target": ""})])
    expect_status(world.baton("group", "move", "db", "server2"), 0)


def test_start_that_hangs(world):
    resources = [{"name": "files", "kind": "filesystem", "state": "starting", "detail": "e2fsck runs"}]
    world.group.update(phase="stopped", owner="", wanted=False)
    world.follow_script([("starting", "server1", {"wanted": True, "resources": resources})])
    expect_refused(world.baton("group", "start", "db", "--timeout", "1s"), "not started after 1.0 s", "filesystem files",
                   "e2fsck runs", "baton explain db")


def test_start_given_up(world):
    world.group.update(phase="stopped", owner="", wanted=True)
    refused = [{"server": "server1", "reason": "mount failed", "attempts": 3}]
    world.follow_script([("stopped", "", {"refused": refused, "waiting": "no server can run it now: mount failed"})])
    expect_refused(world.baton("group", "start", "db"), "cannot run", "mount failed")


def test_stop(world):
    world.follow_script([("stopping", "server1", {"wanted": False}), ("stopped", "", {})])
    done = world.baton("group", "stop", "db")
    expect_status(done, 0)
    expect_in("group db is stopped", done.out)


def test_stop_overtaken(world):
    world.follow_script([("stopping", "server1", {"wanted": False}), ("stopping", "server1", {"wanted": True})])
    expect_refused(world.baton("group", "stop", "db"), "somebody started group db meanwhile")


def test_no_wait(world):
    world.follow_script([])
    done = world.baton("group", "stop", "db", "--no-wait")
    expect_status(done, 0)
    expect_in("asked for", done.out)


def test_wish_refused(world):
    message = "group db cannot run on server2, which is down: power lost; it stays on server1"
    world.daemon.on("POST", "/v1/groups/db/move",
                    lambda query, body: (503, {"error": {"code": "unavailable", "message": message}}))
    expect_refused(world.baton("group", "move", "db", "server2"), message)


def test_unknown_names(world):
    expect_refused(world.baton("group", "start", "mail"), "no group \"mail\"", "known are db")
    expect_refused(world.baton("group", "move", "db", "server9"), "no server \"server9\"", "server2")
    expect_refused(world.baton("mirror", "status", "logs"), "no mirror \"logs\"", "db.data")


if __name__ == "__main__":
    sys.exit(run(globals()))
