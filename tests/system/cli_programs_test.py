#!/usr/bin/env python3
"""The `baton` program: programs of scripts, and the commands of old, which are `baton` by other names. See script/lib/cli_world.py."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "script", "lib"))
from cli_world import BATON, Outcome, expect, expect_in, expect_refused, expect_status, run  # noqa: E402

SCRIPT = {"BATON_GROUP": "web", "BATON_RESOURCE": "app", "ARMS_GROUPNAME": "web"}


def old(world, name, *words, environment=None):
    program = os.path.join(world.directory, name)
    if not os.path.lexists(program):
        os.symlink(os.path.abspath(BATON), program)
    done = subprocess.run([program, *words], env={**os.environ, "BATON_API": world.daemon.path, **(environment or SCRIPT)}, capture_output=True,
                          text=True, timeout=60)
    return Outcome(done.returncode, done.stdout, done.stderr)


def asked(world, path):
    """The body of the one call of that path."""
    bodies = [body for method, called, _, body in world.daemon.calls if method == "POST" and called == path]
    expect(len(bodies) == 1, f"{path} was called {len(bodies)} times: {world.daemon.calls}")
    return json.loads(bodies[0])


def answers(world, path, answer):
    world.daemon.on("POST", path, answer)


RUNS = {"program": "worker", "group": "web", "script": "app", "process": 4711}


def test_supervise(world):
    answers(world, "/v1/programs/worker", RUNS)
    done = world.baton("supervise", "worker", "--restarts", "2", "--window", "1 h", "--with-script", "--on-failure", "stop", "--user", "www-data",
                       "--", "/bin/sleep", "--verbose", environment=SCRIPT)
    expect_status(done, 0)
    expect_in("program worker runs as process 4711, for script app of group web", done.out)
    wish = asked(world, "/v1/programs/worker")
    expect(wish == {"command": ["/bin/sleep", "--verbose"], "group": "web", "script": "app", "user": "www-data", "directory": "", "restarts": 2,
                    "window_ms": 3600000, "unwatched": False, "with_script": True, "on_failure": "stop"}, str(wish))


def test_supervise_says_what_is_wrong(world):
    answers(world, "/v1/programs/worker", lambda query, body: (404, {"error": {"code": "not_found", "message": "no script runs here"}}))
    expect_refused(world.baton("supervise", "worker", "--", "/bin/sleep", environment=SCRIPT), "no script runs here")
    expect(world.baton("supervise", "worker", environment=SCRIPT).status != 0, "without a program")


def test_supervise_refuses_what_is_no_program(world):
    for path, why in (("/no/such/program", "No such file"), ("/etc/passwd", "Permission denied"), ("/etc", "Is a directory")):
        done = world.baton("supervise", "worker", "--", path, environment=SCRIPT)
        expect_refused(done, f"{path} cannot be run here: {why}")
    expect(not [call for call in world.daemon.calls if "programs" in call[1]], "batond was asked all the same")


def test_unsupervise(world):
    answers(world, "/v1/programs/worker/end", {"program": "worker"})
    done = world.baton("unsupervise", "worker", "--json", environment=SCRIPT)
    expect(done.json() == {"program": "worker"}, done.out)
    expect(asked(world, "/v1/programs/worker/end") == {"group": "web"}, "the group is not told")


def test_armload(world):
    answers(world, "/v1/programs/W1", RUNS)
    expect_status(old(world, "armload", "W1", "/U", "oracle", "/R", "2", "/H", "1", "/SCR", "/FOV", "/bin/sleep", "/R", "-x"), 0)
    wish = asked(world, "/v1/programs/W1")
    expect(wish["command"] == ["/bin/sleep", "/R", "-x"], "the program's own words are its own")
    expect((wish["user"], wish["restarts"], wish["window_ms"], wish["with_script"], wish["unwatched"], wish["on_failure"])
           == ("oracle", 2, 3600000, True, False, "failover"), str(wish))


def test_armload_without_options(world):
    answers(world, "/v1/programs/W1", RUNS)
    expect_status(old(world, "armload", "W1", "/bin/sleep"), 0)
    wish = asked(world, "/v1/programs/W1")
    expect(wish["unwatched"] and wish["on_failure"] == "shutdown" and wish["window_ms"] == 0, str(wish))


def test_options_with_a_dash(world):
    answers(world, "/v1/programs/W1", RUNS)
    expect_status(old(world, "armload", "W1", "-r", "3", "-fov", "/bin/sleep"), 0)
    expect(asked(world, "/v1/programs/W1")["restarts"] == 3, "")


def test_words_that_make_no_sense(world):
    for name, words, said in (("armload", (), "a watch id and a program"), ("armload", ("W1",), "a program after the options"),
                              ("armload", ("W1", "/R", "often", "/bin/sleep"), "/R wants a number, not \"often\""),
                              ("armload", ("W1", "/R"), "/R wants a value"), ("armkill", (), "one watch id"), ("armdown", ("now",), "nothing, or /R"),
                              ("armfover", ("/F", "web", "server2"), "/F GROUP"), ("armsleep", ("long",), "a number of seconds"),
                              ("armsleep", ("86401",), "at most 86400")):
        done = old(world, name, *words)
        expect_status(done, 2)
        expect_in(said, done.err)
        expect_in(f"usage: {name}", done.err)
    expect(not [call for call in world.daemon.calls if call[0] == "POST"], "something was asked for all the same")


def test_armkill(world):
    answers(world, "/v1/programs/W1/end", {"program": "W1"})
    expect_status(old(world, "armkill", "W1"), 0)
    asked(world, "/v1/programs/W1/end")


def test_armfover(world):
    answers(world, "/v1/groups/db/move", {"version": 9})
    expect_status(old(world, "armfover", "/F", "db"), 0)
    expect("server" not in asked(world, "/v1/groups/db/move"), "a server was made up")


def test_armfover_to_a_server_of_its_own_group(world):
    answers(world, "/v1/groups/db/move", {"version": 9})
    expect_status(old(world, "armfover", "/S", "server2", environment={"ARMS_GROUPNAME": "db"}), 0)
    expect(asked(world, "/v1/groups/db/move")["server"] == "server2", "")


def test_armdown(world):
    own = next(server["name"] for server in world.status["servers"] if server["self"])
    answers(world, f"/v1/servers/{own}/shutdown", {"version": 9})
    expect_status(old(world, "armdown"), 0)
    expect(asked(world, f"/v1/servers/{own}/shutdown")["afterwards"] == "poweroff", "")


def test_armsleep(world):
    expect_status(old(world, "armsleep", "0"), 0)


if __name__ == "__main__":
    sys.exit(run(globals()))
