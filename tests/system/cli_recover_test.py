#!/usr/bin/env python3
"""`baton cluster recover`: what it shows, that it asks, and what it sends. See script/lib/cli_world.py; recover_test.py does it."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "script", "lib"))
from cli_world import expect, expect_in, expect_refused, expect_status, run  # noqa: E402

FACTS = {"server": "server2", "cluster": "demo", "possible": True, "why_not": "", "lost": ["server1", "witness"],
         "survivors": [{"server": "server2", "last": {"epoch": 129, "index": 41}, "counts": True, "written_ms": 1700000000000}],
         "recovered": 0,
         "last": {"epoch": 129, "index": 41},
         "groups": [{"name": "db", "phase": "started", "wanted": True, "owner": "server1"}],
         "mirrors": [{"name": "db.data", "in_sync": ["server1"], "survives": False, "permit": 3, "text": "in sync is server1",
                      "copies": [{"server": "server2", "consistent": True, "generation": "7", "incarnation_in_sync": False}]}]}


def serve(world, facts):
    def recovered(query, body):
        world.posted = json.loads(body)
        facts["recovered"] = 67108993
        return 200, {"recovering": True}

    world.daemon.on("GET", "/v1/recovery", lambda query, body: (200, facts))
    world.daemon.on("POST", "/v1/recovery", recovered)


def nothing_changed(world):
    expect(not any(call[0] == "POST" for call in world.daemon.calls), "something was changed")


def test_shows_and_changes_nothing(world):
    serve(world, dict(FACTS))
    shown = " ".join(world.baton("cluster", "recover", "--show").out.split())
    for part in ("Not here: server1, witness", "server2: log up to entry 41 of epoch 129, the newest of 20", "h ago by this clock",
                 "group db: started on server1, wanted",
                 "copy of server2: consistent, generation 7", "May be missing: whatever server1, witness committed",
                 "of mirror db.data what was written since"):
        expect_in(part, shown)
    expect(world.baton("cluster", "recover", "--show", "--json").json()["last"]["index"] == 41, "not the API's answer")
    nothing_changed(world)


def test_asks(world):
    serve(world, dict(FACTS))
    expect_refused(world.baton("cluster", "recover"), "nobody can be asked here", "--yes --give-up server1 --give-up witness")
    nothing_changed(world)


def test_yes_names_all_that_are_given_up(world):
    serve(world, dict(FACTS))
    for named in ([], ["--give-up", "server1"], ["--give-up", "server1", "--give-up", "server2", "--give-up", "witness"]):
        expect_refused(world.baton("cluster", "recover", "--yes", *named), "nothing was changed", "server1, witness")
    expect_refused(world.baton("cluster", "recover", "--give-up", "server1"), "nothing was changed")
    nothing_changed(world)


def test_fits_a_terminal(world):
    serve(world, dict(FACTS))
    for line in world.baton("cluster", "recover", "--show").out.splitlines():
        expect(len(line) <= 80, f"{len(line)} columns: {line}")


def test_recovers_and_waits_until_it_serves(world):
    serve(world, dict(FACTS))
    done = world.baton("cluster", "recover", "--yes", "--give-up", "witness", "--give-up", "server1")
    expect_status(done, 0)
    expect_in("given up: server1, witness", " ".join(done.out.split()))
    expect(world.posted["give_up"] == ["server1", "witness"], str(world.posted))
    expect(world.posted["last"] == {"epoch": 129, "index": 41} and world.posted["author"], str(world.posted))


def test_refused_while_there_is_a_majority(world):
    serve(world, dict(FACTS, possible=False, why_not="the cluster database serves"))
    expect_refused(world.baton("cluster", "recover", "--yes"), "nothing was changed", "database serves")
    nothing_changed(world)


if __name__ == "__main__":
    sys.exit(run(globals()))
