#!/usr/bin/env python3
"""`baton server fence` against a stand-in daemon: asks, waits for the outcome, says how it ended."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "script", "lib"))
from cli_world import expect, expect_in, expect_refused, expect_status, run  # noqa: E402


def fenced_world(world, outcomes):
    """server1 has an agent; after the wish each status shows the next (state, text)."""
    server = world.status["servers"][0]
    server["fence"] = {"agent": "fence_x", "state": "not fenced", "attempts": 0, "text": "", "version": 0}
    left = list(outcomes)

    def wish(query, body):
        world.body = body
        server["fence"]["version"] = 1
        return 200, {"version": 1}

    def status(query, body):
        if server["fence"]["version"] and left:
            server["fence"]["state"], server["fence"]["text"] = left.pop(0)
            server["fence"]["version"] += 1
            world.status["cursor"] = f"{len(left)}.x"
        return 200, world.status
    world.daemon.on("GET", "/v1/status", status)
    world.daemon.on("POST", f"/v1/servers/{server['name']}/fence", wish)
    return server["name"]


def test_waits_until_the_power_is_off(world):
    name = fenced_world(world, [("being fenced", "asked for by root"), ("power is off", "seen to be off")])
    done = world.baton("server", "fence", name, "--yes")
    expect_status(done, 0)
    expect_in("being fenced", done.out)
    expect_in("power is off", done.out)


def test_a_failure_is_an_error(world):
    name = fenced_world(world, [("being fenced", ""), ("fencing failed", "Unable to connect")])
    done = world.baton("server", "fence", name, "--yes")
    expect_status(done, 1)
    expect_in("Unable to connect", done.err)


def test_json(world):
    name = fenced_world(world, [("power is off", "seen to be off")])
    done = world.baton("--json", "server", "fence", name, "--confirm", "--yes")
    expect_status(done, 0)
    expect(done.json()["fence"]["state"] == "power is off", done.out)
    expect_in('"confirm":true', world.body.replace(" ", ""))


def test_nobody_to_ask(world):
    name = fenced_world(world, [])
    expect_refused(world.baton("server", "fence", name), "nobody can be asked")


def test_no_agent(world):
    name = fenced_world(world, [])
    world.status["servers"][0]["fence"]["agent"] = ""
    expect_refused(world.baton("server", "fence", name, "--yes"), "has no fence agent")


if __name__ == "__main__":
    sys.exit(run(globals()))
