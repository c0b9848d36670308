#!/usr/bin/env python3
"""`baton cluster takeover` against a stand-in daemon: shows what it means, asks, and says what still waits."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "script", "lib"))
from cli_world import expect, expect_in, expect_refused, expect_status, run  # noqa: E402

OFFER = {"server": "server1", "version": 17, "loses": False,
         "facts": ["server2 has not been reached for 40 s", "the copy of mirror db.data here has everything"]}


def frozen_world(world, waiting="", loses=False):
    """The server is frozen until it is taken over; then its group starts, or waits."""
    world.asked = []
    group = world.group
    group.update({"phase": "stopped", "owner": "", "wanted": True, "waiting": ""})
    world.status["database"]["serving"] = False

    def takeover(query, body):
        wanted = json.loads(body)
        world.asked.append(wanted)
        if "version" not in wanted:
            return 200, {**OFFER, "loses": loses}
        world.status["database"]["serving"] = True
        if waiting:
            group["waiting"] = waiting
        else:
            group.update({"phase": "started", "owner": "server1"})
        return 200, {"version": 18}
    world.daemon.on("POST", "/v1/cluster/takeover", takeover)
    world.daemon.on("GET", "/v1/status", lambda query, body: (200, world.status))


def test_goes_on_with_what_was_shown(world):
    frozen_world(world)
    done = world.baton("cluster", "takeover", "--yes")
    expect_status(done, 0)
    expect_in("server1 decides alone now", done.out)
    expect([asked.get("version") for asked in world.asked] == [None, 17], str(world.asked))


def test_nobody_to_ask_changes_nothing(world):
    frozen_world(world)
    done = world.baton("cluster", "takeover")
    expect_refused(done, "nobody can be asked", "--yes")
    expect_in("server2 has not been reached for 40 s", done.err)
    expect(len(world.asked) == 1, str(world.asked))


def test_says_what_still_waits(world):
    frozen_world(world, "server1 has a copy of mirror db.data that is not in the in-sync set", loses=True)
    done = world.baton("cluster", "takeover", "--yes")
    expect_status(done, 0)
    expect_in("not in the in-sync set", " ".join(done.out.split()))
    expect_in("baton mirror force MIRROR server1", " ".join(done.out.split()))


def test_what_waits_for_another_reason_needs_no_force(world):
    frozen_world(world, "server1 is being drained by root")
    done = world.baton("cluster", "takeover", "--yes")
    expect_in("being drained by root", " ".join(done.out.split()))
    expect("force" not in done.out, done.out)


def test_json(world):
    frozen_world(world, "it lacks writes")
    done = world.baton("--json", "cluster", "takeover", "--yes")
    expect_status(done, 0)
    expect(done.json()["server"] == "server1", done.out)
    expect(len(done.json()["waiting"]) >= 1, done.out)


def test_a_refusal_says_why(world):
    world.daemon.on("POST", "/v1/cluster/takeover", lambda query, body: (
        409, {"error": {"code": "conflict", "message": "there is nothing to take over: a majority is here and decides"}}))
    expect_refused(world.baton("cluster", "takeover", "--yes"), "a majority is here")


if __name__ == "__main__":
    sys.exit(run(globals()))
