#!/usr/bin/env python3
"""The `baton` program: configuration, plans, explanations and events. See script/lib/cli_world.py."""
import json
import os
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "script", "lib"))
from cli_world import BATON, EXAMPLE, expect, expect_in, expect_refused, expect_status, run, two_with_ping  # noqa: E402


def test_config_check(world):
    good = world.baton("config", "check", EXAMPLE)
    expect_status(good, 0)
    bad = world.file("bad.toml", open(EXAMPLE).read().replace("512 MiB", "512 MB"))
    expect_refused(world.baton("config", "check", bad), bad + ":23:8:", "no size")
    listed = world.baton("config", "check", bad, "--json")
    expect_status(listed, 1)
    expect(listed.json()["problems"][0]["line"] == 23 and not listed.json()["ok"], listed.out)
    expect_refused(world.baton("config", "check", world.directory + "/none"), "cannot read", "No such file")
    expect_refused(world.baton("config", "check", world.directory), "cannot read", "directory")


def test_config_show(world):
    world.daemon.on("GET", "/v1/configuration", {"version": 3, "text": "# text\n"})
    expect(world.baton("config", "show").out == "# text\n", "text differs")
    expect(world.baton("config", "show", "--json").json()["version"] == 3, "version differs")


def test_plan(world):
    world.daemon.on("POST", "/v1/plan", lambda query, body: (200, {"changes": ["add group web"], "version": 3} if body else {
        "steps": [{"group": "db", "action": "assign", "server": "server2", "reason": "server1 lost"}],
        "waiting": {"web": "no server can run it now"}}))
    expect(world.baton("plan", EXAMPLE).out == "add group web\n", "changes differ")
    shown = world.baton("plan").out
    for part in ("db: assign (server2)", "server1 lost", "web: waits"):
        expect_in(part, shown)
    world.daemon.on("POST", "/v1/plan", {"steps": [], "waiting": {}})
    expect(world.baton("plan").out == "nothing to do\n", "not nothing")


def test_plan_shows_failover_times(world):
    failover = world.group["failover"]
    world.daemon.on("POST", "/v1/plan", lambda query, body: (200, {
        "changes": ["add group web"], "version": 3, "failover": {"web": failover}} if body else {
        "steps": [], "waiting": {}, "failover": {"db": failover}}))
    for shown, group in ((world.baton("plan").out, "db"), (world.baton("plan", EXAMPLE).out, "web")):
        for part in ("Failover of " + group, "token 500 ms + consensus 600 ms", "address ip", "250 ms", "(60 s)",
                     "1.35 s", "2 min 32 s"):
            expect_in(part, shown)
        expect(max(len(line) for line in shown.splitlines()) <= 80, "wider than 80 columns:\n" + shown)
    expect(world.baton("plan", "--json").json()["failover"]["db"] == failover, "not the API's answer")


def test_apply(world):
    world.daemon.on("POST", "/v1/plan", {"changes": ["add group web"], "version": 3})
    world.daemon.on("POST", "/v1/apply", {"version": 4})
    done = world.baton("apply", EXAMPLE)
    expect(done.out == "add group web\napplied as version 4\n", done.out)
    call = world.daemon.calls[-1]
    expect(call[3] == open(EXAMPLE).read() and call[2]["author"], "wrong text or no author")


def test_np_ping_is_warned_of(world):
    ping = world.file("ping.toml", two_with_ping("10.88.0.1"))
    world.daemon.on("POST", "/v1/plan", {"changes": ["add group web"], "version": 3})
    world.daemon.on("POST", "/v1/apply", {"version": 4})
    for command in (("config", "check"), ("plan",), ("apply",)):
        expect_in("does not promise one owner", " ".join(world.baton(*command, ping).out.split()))
        expect_in("does not promise one owner", world.baton(*command, ping, "--json").json()["warning"])
        expect(world.baton(*command, EXAMPLE, "--json").json()["warning"] == "", f"a warning of {command}, of nothing")


def test_apply_bad_file(world):
    bad = world.file("bad.toml", open(EXAMPLE).read().replace("10.88.0.50", "10.99.0.50"))
    expect_refused(world.baton("apply", bad), bad + ":31:11:", "outside the public LAN")
    expect(not world.daemon.calls, "something was sent")


def test_apply_refused(world):
    world.daemon.on("POST", "/v1/plan", lambda query, body: (400, {"error": {
        "code": "invalid", "message": "cluster.toml:22:8: mirror data on server2: larger than its store"}}))
    expect_refused(world.baton("apply", EXAMPLE), EXAMPLE + ":22:8: mirror data on server2")


def test_explain(world):
    world.daemon.on("GET", "/v1/explain", {"group": "db", "transitions": [
        {"time_ms": 1700000000123, "index": 9, "text": "group db: assign to server 2 alone", "reason": "server1 lost",
         "causes": ["power lost"], "steps": [{"resource": "data", "action": "start", "took_us": 12345, "outcome": "ok"}]}],
        "now": {"server": "server1", "phase": "started", "owner": "server2", "waiting": ["no majority is within reach"]}})
    shown = world.baton("explain", "db").out
    for part in (".123  (entry 9)", "reason: server1 lost", "cause: power lost", "12.3 ms", "ok",
                 "now  (as server1 knows it)", "started on server2", "waits: no majority is within reach"):
        expect_in(part, shown)
    expect(world.daemon.calls[-1][2]["group"] == "db", "wrong group")


def event(number):
    return {"id": number, "time_ms": 1700000000000 + number, "server": "server1", "group": "db", "kind": "transition",
            "text": f"event {number}", "causes": [], "took_us": 0}


def test_events(world):
    world.daemon.on("GET", "/v1/events", {"events": [event(1), event(2)], "last": 2})
    shown = world.baton("events", "--limit", "2").out
    expect(len(shown.splitlines()) == 2, shown)
    expect_in("server1  transition  db: event 2", shown)
    expect(world.daemon.calls[-1][2]["limit"] == "2", "limit not asked for")


def test_events_follow(world):
    ended = threading.Event()

    def answer(query, body):
        after = int(query.get("after", 0))
        if after >= 3:
            ended.wait(10)  # nothing more happens
            return 200, {"events": [], "last": after}
        return 200, {"events": [event(after + 1)], "last": after + 1}
    world.daemon.on("GET", "/v1/events", answer)
    process = subprocess.Popen([BATON, "events", "--follow", "--json"], stdout=subprocess.PIPE, text=True,
                               env=dict(os.environ, BATON_API=world.daemon.path))
    ids = [json.loads(process.stdout.readline())["id"] for _ in range(3)]
    process.kill()
    process.wait()
    ended.set()
    expect(ids == [1, 2, 3], str(ids))


if __name__ == "__main__":
    sys.exit(run(globals()))
