#!/usr/bin/env python3
"""The `baton` program: mirror disks. See script/lib/cli_world.py."""
import json
import os
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "script", "lib"))
from cli_world import EXAMPLE, STATUS, expect, expect_in, expect_refused, expect_status, run  # noqa: E402


def test_mirror_status(world):
    shown = world.baton("mirror", "status", "data")
    expect_status(shown, 0)
    for part in ("permit 3, held by server1", "generation 2-ffffffffffffffff", "because the peer was", "inconsistent"):
        expect_in(part, shown.out)
    expect(world.baton("mirror", "status", "db.data", "--json").json() == STATUS["mirrors"][0], "JSON differs")


def test_mirror_verify(world):
    world.daemon.on("POST", "/v1/mirrors/db.data/verify", {"blocks": 131072, "different": 0})
    expect_in("131072 blocks compared, 0 different", world.baton("mirror", "verify", "data").out)
    world.daemon.on("POST", "/v1/mirrors/db.data/verify", {"blocks": 131072, "different": 2})
    expect_refused(world.baton("mirror", "verify", "db.data"), "differ in 2 blocks")


def test_mirror_status_in_full(world):
    """What the daemon tells of paths, export, figures and remarkable states; never wider than a terminal."""
    mirror = world.status["mirrors"][0]
    mirror.update(broken=True, forced="server2", restricted=["server2"], protocol="A", rate=50000000, group="db")
    details = {"device": "/dev/nbd0", "export_kind": "nbd", "export_reason": "this kernel has no ublk",
               "nbd_socket": "/run/baton/nbd/db.data.sock", "pending": "changed, but not in use until the group moves: export",
               "metrics": {"read_iops": 1.5, "write_iops": 340, "read_bytes_per_second": 6144.0,
                           "write_bytes_per_second": 1048576.0, "total_us": 1500, "local_us": 200, "peer_us": 1300},
               "paths": [{"address": "10.0.1.2", "up": True, "active": True, "encryption": "TLS 1.3",
                          "round_trip_ms": 0.25, "problem": ""},
                         {"address": "10.0.0.2", "up": False, "active": False, "encryption": "", "round_trip_ms": 0,
                          "problem": "connection refused"}]}
    mirror["copies"][0].update(exported=True, details=details, copy_bytes_per_second=100, copy_zero_bytes=8192,
                               lag_bytes=4096, slow="the peer's disk", read_errors=3)
    mirror["copies"][1].update(detached=True, snapshot=True, backup=True)
    shown = world.baton("mirror", "status", "data")
    expect_status(shown, 0)
    for part in ("broken off by an operator", "kept away from server2", "was forced", "protocol A", "copies at 47.7 MiB/s",
                 "100 B/s, 5 s left", "8 KiB zeroes", "4 KiB written on server1", "server1 is slow: the peer's disk",
                 "3 blocks could not be read", "path to 10.0.1.2: up, carries the data, TLS 1.3, 0.25 ms",
                 "path to 10.0.0.2: down", "connection refused", "exported as /dev/nbd0 by nbd: this kernel has no ublk",
                 "nbd+unix:///?socket=/run/baton/nbd/db.data.sock", "writes 340/s 1 MiB/s", "a write takes 1.50 ms",
                 "not in use until the group", "disk failed", "exported for a backup", "is kept"):
        expect_in(part, re.sub(r"\s+", " ", shown.out))
    expect(max(map(len, shown.out.splitlines())) <= 80, "wider than 80 columns:\n" + shown.out)


def test_mirror_status_watch_ends_with_the_copy(world):
    polls = []

    def answer(query, body):
        polls.append(query)
        if len(polls) > 1:
            for copy_of_mirror in world.status["mirrors"][0]["copies"]:
                copy_of_mirror["link"] = "connected"
        return 200, world.status

    world.daemon.on("GET", "/v1/status", answer)
    shown = world.baton("mirror", "status", "data", "--watch", "--json")
    expect_status(shown, 0)
    expect(len(shown.out.splitlines()) == 2, shown.out)


def test_mirror_metrics(world):
    expect_in("has not told its figures", world.baton("mirror", "metrics", "data").out)
    world.status["mirrors"][0]["copies"][0]["details"] = {"metrics": {"write_iops": 7, "writes": 9}}
    told = world.baton("mirror", "metrics", "data", "--json").json()
    expect((told["server"], told["mirror"], told["writes"]) == ("server1", "db.data", 9), told)
    world.status["mirrors"][0]["copies"][0]["role"] = "secondary"
    expect_refused(world.baton("mirror", "metrics", "data"), "not in use")


def test_mirror_verify_repairs(world):
    world.daemon.on("POST", "/v1/mirrors/db.data/verify", {"blocks": 9, "different": 2, "repaired": 2})
    shown = world.baton("mirror", "verify", "data", "--repair", "--wait")
    expect_status(shown, 0)
    expect_in("2 different, 2 repaired", shown.out)
    expect(json.loads(world.daemon.calls[-1][3])["repair"] is True, world.daemon.calls[-1])


def said(world):
    """The last POST: its path and body."""
    method, path, query, body = [call for call in world.daemon.calls if call[0] == "POST"][-1]
    return path, json.loads(body)


def test_mirror_verbs(world):
    verbs = {("break", "data"): ("break", {}), ("rejoin", "data"): ("rejoin", {}),
             ("rejoin", "data", "--discard", "server2"): ("rejoin", {"discard": "server2"}),
             ("restrict", "data", "server2"): ("restrict", {"server": "server2", "lift": False}),
             ("restrict", "data", "server2", "--lift"): ("restrict", {"server": "server2", "lift": True}),
             ("export", "data", "server2"): ("backup", {"server": "server2", "wanted": True}),
             ("unexport", "data", "server2"): ("backup", {"server": "server2", "wanted": False}),
             ("replace", "data", "server2"): ("replace", {"server": "server2"})}
    for arguments, (verb, body) in verbs.items():
        world.daemon.on("POST", "/v1/mirrors/db.data/" + verb, {"version": 9, "text": "/dev/nbd1"})
        expect_status(world.baton("mirror", *arguments), 0)
        path, told = said(world)
        expect(path == "/v1/mirrors/db.data/" + verb, path)
        expect(told.pop("author"), "no author")
        expect(told == body, f"{arguments}: {told}")
        outcome = world.baton("mirror", *arguments, "--json").json()
        expect(outcome["mirror"] == "db.data" and outcome["version"] == 9, outcome)
    expect_in("/dev/nbd1 on server2, read-only", world.baton("mirror", "export", "data", "server2").out)
    world.daemon.on("POST", "/v1/mirrors/db.data/replace", lambda query, body: (409, {"error": {
        "code": "conflict", "message": "group db runs on server1: move it first (baton group move db)"}}))
    expect_refused(world.baton("mirror", "replace", "data", "server1"), "baton group move db")
    expect_refused(world.baton("mirror", "break", "none"), "no mirror", "db.data")
    for arguments in (("force", "data"), ("restrict", "data"), ("export", "data"), ("rate", "data"), ("break",)):
        expect_status(world.baton("mirror", *arguments), 2)


def test_mirror_swap(world):
    world.follow_script([("stopping", "server1", {}), ("starting", "server2", {}), ("started", "server2", {})])
    expect_in("group db is started on server2", world.baton("mirror", "swap", "data").out)
    expect(said(world)[0] == "/v1/groups/db/move", said(world))


def test_mirror_force(world):
    """What would be lost is shown and recorded; nobody is taken at a word that was not said."""
    mirror = world.status["mirrors"][0]
    mirror["version"] = 12
    mirror["copies"][1]["in_sync_until_ms"] = int(time.time() * 1000) - 3600000
    world.daemon.on("POST", "/v1/mirrors/db.data/force", {"version": 13})
    asked = world.baton("mirror", "force", "data", "server2")
    expect_refused(asked, "server2   <- would become the data", "INCONSISTENT", "(60 min ago)", "has every acknowledged write",
                   "4 KiB that were written on server1 only", "--yes-lose-data", "nothing was changed")
    expect(not any(call[0] == "POST" for call in world.daemon.calls), "it was done unasked")
    forced = world.baton("mirror", "force", "db.data", "SERVER2", "--yes-lose-data", "--json").json()
    expect(forced["server"] == "server2" and forced["version"] == 13, forced)
    expect([copy["in_sync"] for copy in forced["copies"]] == [True, False], forced)
    path, body = said(world)
    expect(body["version"] == 12 and body["server"] == "server2" and "inconsistent" in body["loss"], body)
    expect_in("baton group start db server2", world.baton("mirror", "force", "data", "server2", "--yes-lose-data").out)
    expect_refused(world.baton("mirror", "force", "data", "server9", "--yes-lose-data"), "no server")


def test_mirror_rate_and_grow(world):
    with open(EXAMPLE) as file:
        text = file.read()
    world.daemon.on("GET", "/v1/configuration", {"version": 3, "text": text})
    world.daemon.on("POST", "/v1/plan", {"changes": ["change group db: mirror data: rate: auto -> 50 MB/s"], "version": 3})
    world.daemon.on("POST", "/v1/apply", {"version": 4})

    def applied(*arguments):
        outcome = world.baton("mirror", *arguments)
        expect_status(outcome, 0)
        expect_in("applied as version 4", outcome.out)
        return world.daemon.calls[-1][3]

    rate = applied("rate", "data", "50MB/s")
    expect_in('rate = "50MB/s"', rate)
    expect(len(rate.splitlines()) == len(text.splitlines()) + 1, rate)
    expect_in('size = "9 GiB"', applied("grow", "data", "9 GiB"))
    expect(world.baton("mirror", "rate", "data", "auto", "--json").json()["version"] == 4, "no version")
    expect_refused(world.baton("mirror", "rate", "data", "fast"), "50MB/s")
    expect_refused(world.baton("mirror", "grow", "data", "much"), "1 GiB")
    world.daemon.on("POST", "/v1/plan", lambda query, body: (409, {"error": {
        "code": "conflict", "message": "mirror db.data cannot shrink from 512 MiB to 4 MiB"}}))
    expect_refused(world.baton("mirror", "grow", "data", "4 MiB"), "cannot shrink")


if __name__ == "__main__":
    sys.exit(run(globals()))
