#!/usr/bin/env python3
"""The `baton` program against a small stand-in for batond: an HTTP server on a unix socket that says what each test
wants it to say. Usage: cli_test.py [BATON]. The last line is "N passed, N failed"."""

import copy
import http.server
import json
import os
import re
import shutil
import socketserver
import stat
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.parse

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BATON = sys.argv[1] if len(sys.argv) > 1 else os.path.join(ROOT, "build/bin/baton")
EXAMPLE = os.path.join(ROOT, "examples/database.toml")

COPY = {"role": "secondary", "link": "connected", "incarnation": 1, "permit": 3,
        "generation": {"counter": 2, "random": 18446744073709551615}, "consistent": True, "exported": False,
        "size_bytes": 536870912, "dirty_bytes": 0, "copy": "none", "copy_reason": "", "copy_total_bytes": 0,
        "copy_done_bytes": 0, "copy_sent_bytes": 0, "copy_read_bytes": 0, "waiting": "", "problem": ""}
STATUS = {
    "cursor": "17.204", "server": "server1", "cluster": "demo", "time_ms": 0,
    "database": {"serving": True, "leader": "server1", "epoch": 65, "committed": 12, "waiting": "", "counting": True},
    "lease": {"valid": True, "left_ms": 950}, "configuration_version": 1, "problems": [],
    "servers": [
        {"name": "server1", "id": 1, "role": "server", "state": "up", "self": True,
         "links": [{"peer": "server2", "link": 0, "connected": True}, {"peer": "server2", "link": 1, "connected": False},
                   {"peer": "witness", "link": 0, "connected": True}]},
        {"name": "server2", "id": 2, "role": "server", "state": "up", "self": False, "links": []},
        {"name": "witness", "id": 3, "role": "witness", "state": "down", "self": False, "links": []}],
    "groups": [{"name": "db", "phase": "started", "owner": "server1", "wanted": True, "target": "", "version": 5,
                "reason": "server1 is the first of its policy; " * 4, "waiting": "", "refused": [],
                "resources": [{"name": "data", "kind": "mirror", "state": "up", "detail": "/dev/loop3"},
                              {"name": "files", "kind": "filesystem", "state": "up", "detail": "/srv/db " + "x" * 90}]}],
    "mirrors": [{"name": "db.data", "permit": 3, "holder": "server1", "in_sync": ["server1"], "size_bytes": 536870912,
                 "copies": [dict(COPY, server="server1", reported=True, role="primary", link="copying", copy="fast",
                                 copy_reason="the peer was away", copy_total_bytes=1000, copy_done_bytes=430,
                                 dirty_bytes=4096),
                            dict(COPY, server="server2", reported=True, link="copying", consistent=False,
                                 problem="half a copy")]}]}


class FakeDaemon(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Answers (method, path) by functions of (query, body) -> (HTTP status, JSON), or None to hang up."""
    daemon_threads = True

    def __init__(self, directory):
        self.path = os.path.join(directory, "api.sock")
        self.routes = {}
        self.calls = []
        super().__init__(self.path, Handler)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def on(self, method, path, answer):
        self.routes[(method, path)] = answer if callable(answer) else lambda query, body: (200, answer)

    def handle_error(self, request, client_address):
        pass  # `baton` was killed while it waited


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_any(self):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        self.server.calls.append((self.command, url.path, query, body))
        route = self.server.routes.get((self.command, url.path))
        answer = route(query, body) if route else (404, {"error": {"code": "not_found", "message": "no such call"}})
        self.close_connection = True
        if answer is None:
            return
        data = json.dumps(answer[1]).encode()
        self.send_response(answer[0])
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = handle_any

    def address_string(self):
        return "unix"

    def log_message(self, *arguments):
        pass


class Outcome:
    def __init__(self, status, out, err):
        self.status, self.out, self.err = status, out, err

    def json(self):
        return json.loads(self.out)


class World:
    """A directory, a fake daemon that says STATUS, and `baton` talking to it."""

    def __init__(self, directory):
        self.directory = directory
        self.status = copy.deepcopy(STATUS)
        self.daemon = FakeDaemon(directory)
        self.daemon.on("GET", "/v1/status", lambda query, body: (200, self.status))

    @property
    def group(self):
        return self.status["groups"][0]

    def baton(self, *arguments, environment=None):
        full = {**os.environ, "BATON_API": self.daemon.path, **(environment or {})}
        done = subprocess.run([BATON, *arguments], env=full, capture_output=True, text=True, timeout=60)
        return Outcome(done.returncode, done.stdout, done.stderr)

    def file(self, name, text):
        path = os.path.join(self.directory, name)
        with open(path, "w") as out:
            out.write(text)
        return path

    def follow_script(self, states):
        """After a wish each long poll shows the next (phase, owner, more) of the group; the last one stays."""
        left = list(states)

        def answer(query, body):
            if "wished" in self.__dict__ and left:
                state = left.pop(0)
                if state is None:
                    return None
                phase, owner, more = state
                self.group.update(phase=phase, owner=owner, version=self.group["version"] + 1, **more)
                self.status["cursor"] = str(len(left)) + "." + phase
            elif query.get("after") == self.status["cursor"]:
                time.sleep(min(int(query.get("timeout_ms", 0)) / 1000, 0.3))
            return 200, self.status

        def wish(query, body):
            self.wished = json.loads(body)
            self.group["version"] += 1
            return 200, {"version": self.group["version"]}

        self.daemon.on("GET", "/v1/status", answer)
        for verb in ("start", "stop", "move"):
            self.daemon.on("POST", "/v1/groups/db/" + verb, wish)


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


def expect_in(part, text):
    expect(part in text, f"{part!r} is not in:\n{text}")


def expect_status(outcome, status):
    expect(outcome.status == status, f"exit status {outcome.status}, not {status}:\n{outcome.out}\n{outcome.err}")


def expect_refused(outcome, *parts):
    expect_status(outcome, 1)
    # Progress may stand before it.
    expect(re.search("^baton: ", outcome.err, re.M), outcome.err)
    for part in parts:
        expect_in(part, outcome.err)


# ---- Status ----

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


def test_strange_answers(world):
    world.daemon.on("GET", "/v1/status", {"groups": [{"name": 7}, 3], "servers": "none", "lease": None})
    expect_status(world.baton("status"), 0)
    world.daemon.on("GET", "/v1/status", lambda query, body: (500, "not an object"))
    expect_refused(world.baton("status"), "HTTP status 500")
    world.daemon.on("GET", "/v1/status", lambda query, body: None)
    expect_refused(world.baton("status"), "connection to batond")


# ---- Groups ----

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


# ---- Mirrors ----

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


# ---- Configuration ----

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


def test_apply(world):
    world.daemon.on("POST", "/v1/plan", {"changes": ["add group web"], "version": 3})
    world.daemon.on("POST", "/v1/apply", {"version": 4})
    done = world.baton("apply", EXAMPLE)
    expect(done.out == "add group web\napplied as version 4\n", done.out)
    call = world.daemon.calls[-1]
    expect(call[3] == open(EXAMPLE).read() and call[2]["author"], "wrong text or no author")


def test_apply_bad_file(world):
    bad = world.file("bad.toml", open(EXAMPLE).read().replace("10.88.0.50", "10.99.0.50"))
    expect_refused(world.baton("apply", bad), bad + ":31:11:", "outside the public LAN")
    expect(not world.daemon.calls, "something was sent")


def test_apply_refused(world):
    world.daemon.on("POST", "/v1/plan", lambda query, body: (400, {"error": {
        "code": "invalid", "message": "cluster.toml:22:8: mirror data on server2: larger than its store"}}))
    expect_refused(world.baton("apply", EXAMPLE), EXAMPLE + ":22:8: mirror data on server2")


# ---- Events ----

def test_explain(world):
    world.daemon.on("GET", "/v1/explain", {"group": "db", "transitions": [
        {"time_ms": 1700000000123, "index": 9, "text": "group db: assign to server 2 alone", "reason": "server1 lost",
         "causes": ["power lost"], "steps": [{"resource": "data", "action": "start", "took_us": 12345, "outcome": "ok"}]}]})
    shown = world.baton("explain", "db").out
    for part in (".123  (entry 9)", "reason: server1 lost", "cause: power lost", "12.3 ms", "ok"):
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
    def answer(query, body):
        after = int(query.get("after", 0))
        if after >= 3:
            time.sleep(0.2)
            return 200, {"events": [], "last": after}
        return 200, {"events": [event(after + 1)], "last": after + 1}
    world.daemon.on("GET", "/v1/events", answer)
    process = subprocess.Popen([BATON, "events", "--follow", "--json"], stdout=subprocess.PIPE, text=True,
                               env=dict(os.environ, BATON_API=world.daemon.path))
    ids = [json.loads(process.stdout.readline())["id"] for _ in range(3)]
    process.kill()
    process.wait()
    expect(ids == [1, 2, 3], str(ids))


# ---- Creating a cluster ----

def create(world, *arguments, name="server1"):
    return world.baton("cluster", "create", *arguments, "--as", name, "--etc", world.directory + "/etc", "--state",
                       world.directory + "/state")


def local_example(world):
    """The example with its store in the test's directory."""
    return open(EXAMPLE).read().replace("/var/lib/baton", world.directory + "/state")


def test_create(world):
    file = world.file("cluster.toml", local_example(world))
    done = create(world, file)
    expect_status(done, 0)
    etc, state = world.directory + "/etc", world.directory + "/state"
    key = open(etc + "/cluster.key").read().strip()
    expect(re.fullmatch("[0-9a-f]{128}", key), "no key")
    expect(stat.S_IMODE(os.stat(etc + "/cluster.key").st_mode) == 0o600, "the key is readable")
    expect(open(etc + "/server").read() == "server1\n" and open(state + "/founding").read() == "server1\n", "names")
    expect(open(etc + "/cluster.toml").read() == open(file).read(), "configuration")
    again = create(world)  # with the file in place
    expect_status(again, 0)
    expect_in("already", again.out)
    expect(open(etc + "/cluster.key").read().strip() == key, "the key changed")


def test_create_elsewhere_with_key(world):
    file = world.file("cluster.toml", local_example(world))
    key = world.file("key", "ab" * 64 + "\n")
    done = create(world, file, "--key", key, "--json", name="SERVER2")
    expect_status(done, 0)
    expect(done.json()["server"] == "server2" and not done.json()["new_key"], done.out)
    expect(open(world.directory + "/etc/cluster.key").read() == "ab" * 64 + "\n", "key")


def test_create_after_founding(world):
    file = world.file("cluster.toml", local_example(world))
    expect_status(create(world, file), 0)
    os.remove(world.directory + "/state/founding")
    open(world.directory + "/state/database.sqlite", "w").close()
    expect_status(create(world, file), 0)
    other = world.file("other.toml", local_example(world).replace('"demo"', '"other"'))
    expect_refused(create(world, other), "belongs to a cluster already", "baton apply")
    expect_refused(create(world, file, name="server2"), "belongs to a cluster already")
    # A lost database is not founded anew: it would have forgotten its promises.
    os.remove(world.directory + "/state/database.sqlite")
    expect_status(create(world, file), 0)
    expect(not os.path.exists(world.directory + "/state/founding"), "founded twice")


def test_create_refusals(world):
    file = world.file("cluster.toml", local_example(world))
    expect_refused(create(world, file, name="server7"), 'has no server "server7"', "server1, server2, witness")
    expect_refused(create(world, file, "--key", world.file("key", "short")), "no cluster key")
    expect_refused(create(world), "cannot read")
    bad = world.file("bad.toml", local_example(world).replace("id = 2", "id = 1"))
    expect_refused(create(world, bad), bad + ":11:6:", "already server1's")
    expect(not os.path.exists(world.directory + "/etc"), "something was written")


def test_create_with_small_store(world):
    file = world.file("cluster.toml", local_example(world))
    os.makedirs(world.directory + "/state/store")
    with open(world.directory + "/state/store/db.img", "wb") as store:
        store.truncate(1 << 20)
    expect_refused(create(world, file), file + ":23:8:", "it is larger (512 MiB) than its store", "1 MiB")
    expect_status(create(world, file, name="witness"), 0)  # which has no copy
    elsewhere = world.file("far.toml", local_example(world).replace(world.directory + "/state/store", "/no/such/place"))
    expect_refused(create(world, elsewhere), "no directory /no/such/place")


def test_create_beside_data(world):
    """A store that holds something is not overwritten by the first copy from the other server."""
    file = world.file("cluster.toml", local_example(world))
    os.makedirs(world.directory + "/state/store")
    with open(world.directory + "/state/store/db.img", "wb") as store:
        store.truncate(512 << 20)
        store.seek(0x438)
        store.write(b"\x53\xef")
    expect_status(create(world, file), 0)  # the first of the policy keeps it
    shutil.rmtree(world.directory + "/etc")
    os.remove(world.directory + "/state/founding")
    expect_refused(create(world, file, name="server2"), file + ":23:8:", "ext4", 'adopt = "server2"', 'adopt = "server1"')


def main():
    passed = failed = 0
    for name, test in list(globals().items()):
        if not name.startswith("test_"):
            continue
        with tempfile.TemporaryDirectory(prefix="baton-cli-") as directory:
            try:
                test(World(directory))
                passed += 1
                print("ok    ", name)
            except Exception:  # any failure is this test's
                failed += 1
                print("FAILED", name)
                traceback.print_exc(file=sys.stdout)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
