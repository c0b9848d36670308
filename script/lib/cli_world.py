"""What the tests of the `baton` program share: a small stand-in for batond, an HTTP server on a unix socket that says what
each test wants it to say; `baton` talking to it; and what is expected of its words. An argument of the program is the
`baton` to test. The last line is "N passed, N failed".
"""
import copy
import http.server
import json
import os
import re
import select
import socketserver
import subprocess
import sys
import tempfile
import threading
import traceback
import urllib.parse

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BATON = sys.argv[1] if len(sys.argv) > 1 else os.path.join(ROOT, "build/bin/baton")
EXAMPLE = os.path.join(ROOT, "examples/database.toml")


def two_with_ping(*targets):
    """The example's text with two servers that ask these."""
    text = open(EXAMPLE).read()
    text = text[:text.index("[server.witness]")] + text[text.index("[group."):]
    return text.replace("[cluster]\n", f'[cluster]\nnp = "ping"\nping_targets = {json.dumps(targets)}\n', 1)

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
                "failover": {"expected_ms": 1350, "worst_ms": 152111, "parts": [
                    {"name": "detection", "kind": "", "expected_ms": 1100, "worst_ms": 1100, "measured": False,
                     "in_expected": True, "in_worst": True, "text": "token 500 ms + consensus 600 ms"},
                    {"name": "ip", "kind": "address", "expected_ms": 250, "worst_ms": 60000, "measured": True,
                     "in_expected": True, "in_worst": False, "text": "median of past starts"}]},
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

    def baton_at_a_terminal(self, *arguments, answer, meanwhile, environment=None):
        """While the question is open `meanwhile` happens; then `answer` is typed."""
        terminal, its_end = os.openpty()
        process = subprocess.Popen([BATON, *arguments], env={**os.environ, "BATON_API": self.daemon.path, **(environment or {})},
                                   stdin=its_end, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        os.close(its_end)
        asked = b""
        while not asked.endswith(b"to go on: "):
            ready = select.select([process.stderr], [], [], 60)[0]
            part = os.read(process.stderr.fileno(), 4096) if ready else b""
            if not part:
                process.kill()
                raise AssertionError("nothing was asked: " + asked.decode())
            asked += part
        meanwhile()
        os.write(terminal, (answer + "\n").encode())
        out, err = process.communicate(timeout=60)
        os.close(terminal)
        return Outcome(process.returncode, out.decode(), (asked + b"\n" + err).decode())  # as typed

    def file(self, name, text):
        path = os.path.join(self.directory, name)
        with open(path, "w") as out:
            out.write(text)
        return path

    def follow_script(self, states):
        """After a wish each long poll shows the next (phase, owner, more) of the group; the last one stays."""
        left = list(states)
        wished = threading.Event()
        anything_else = threading.Event()  # never happens: a long poll's own time-out ends the wait

        def answer(query, body):
            if wished.is_set() and left:
                state = left.pop(0)
                if state is None:
                    return None
                phase, owner, more = state
                self.group.update(phase=phase, owner=owner, version=self.group["version"] + 1, **more)
                self.status["cursor"] = str(len(left)) + "." + phase
            elif query.get("after") == self.status["cursor"]:
                (anything_else if wished.is_set() else wished).wait(min(int(query.get("timeout_ms", 0)) / 1000, 0.3))
            return 200, self.status

        def wish(query, body):
            self.wished = json.loads(body)
            self.group["version"] += 1
            wished.set()
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


def run(tests):
    """`main` of a test file. `tests`: its globals()."""
    passed = failed = 0
    for name, test in list(tests.items()):
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
