#!/usr/bin/env python3
"""The `baton` program: templates. See script/lib/cli_world.py."""
import os
import pwd
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "script", "lib"))
from cli_world import EXAMPLE, ROOT, expect, expect_in, expect_refused, expect_status, run  # noqa: E402

NAMES = sorted(name[:-len(".toml")] for name in os.listdir(os.path.join(ROOT, "templates")) if name.endswith(".toml"))
# What each of them has to be told besides the group.
TOLD = {"program": ("command=/usr/local/bin/program", "address=10.88.0.60"),
        "script": ("start=/usr/local/bin/start", "stop=/usr/local/bin/stop", "address=10.88.0.60"), "vm": ()}
BARE = ("program", "script")
WEB = ("template", "apply", "nginx", "--group", "web", "--set", "address=10.88.0.60")


def settings(name):
    return [word for each in TOLD.get(name, ("address=10.88.0.60",)) for word in ("--set", each)]


def cluster(world, text=None):
    """The fake daemon has the example's configuration, or another one."""
    world.daemon.on("GET", "/v1/configuration", {"version": 7, "text": text or open(EXAMPLE).read()})
    world.daemon.on("POST", "/v1/plan", lambda query, body: (200, {"changes": ["add group web"], "version": 7, "failover": {
        "web": world.group["failover"]}}))
    world.daemon.on("POST", "/v1/apply", {"version": 8})


def nothing_applied(world):
    expect(not [call for call in world.daemon.calls if call[1] == "/v1/apply"], "something was applied")


def test_list(world):
    shown = world.baton("template", "list")
    expect_status(shown, 0)
    expect([line.split()[0] for line in shown.out.splitlines()] == NAMES, shown.out)
    for line in shown.out.splitlines():
        expect(len(line) <= 80 and line.endswith("."), f"no whole sentence within 80 columns: {line}")
    listed = world.baton("template", "list", "--json").json()
    expect([each["name"] for each in listed] == NAMES, "another list")


def test_show(world):
    for name in NAMES:
        with open(os.path.join(ROOT, "templates", name + ".toml")) as file:
            text = file.read()
        expect(world.baton("template", "show", name).out == text, name + " is not as in its file")
        shown = world.baton("template", "show", name, "--json").json()
        expect(shown["text"] == text and shown["summary"] and (shown["packages"] or name in BARE), str(shown))
        expect(max(map(len, text.splitlines())) <= 140, name + " has a longer line than a person wants to read")


def test_every_template_fits_and_names_programs_that_are_there(world):
    cluster(world)
    for name in NAMES:
        done = world.baton("template", "apply", name, "--group", "one", *settings(name), "--dry-run", "--json").json()
        expect("{{" not in done["text"], done["text"])
        programs = [each for each in re.findall(r'"(/[^"]*/lib/baton/[^"]+)"', done["text"]) if not each.startswith("/var/")]
        expect(programs or name in BARE, f"template {name} prepares nothing")
        for program in programs:
            expect(os.access(program, os.X_OK), f"template {name} runs {program}, which is not there")
    nothing_applied(world)


def test_apply(world):
    cluster(world)
    done = world.baton(*WEB)
    expect_status(done, 0)
    expect(done.out.startswith("add group web\napplied as version 8\n"), done.out)
    for part in ("apt-get install nginx-light", "systemctl disable --now nginx.service"):
        expect_in(part, done.out)
    planned, applied = world.daemon.calls[-2:]
    expect((planned[1], applied[1]) == ("/v1/plan", "/v1/apply"), str((planned, applied)))
    expect(applied[2]["version"] == "7" and applied[2]["author"], "not bound to what it was made from")
    text = applied[3]
    expect(text == planned[3] and text.startswith(open(EXAMPLE).read()), "what was there is not the beginning")
    for part in ("[group.web]\n", 'servers = ["server1", "server2"]', 'address = "10.88.0.60"', "/store/web.img", 'size = "1 GiB"'):
        expect_in(part, text)
    world.baton(*WEB, "--set", "size=64 MiB", "--servers", "server2,server1")
    for part in ('servers = ["server2", "server1"]', 'size = "64 MiB"'):
        expect_in(part, world.daemon.calls[-1][3])


def test_dry_run(world):
    cluster(world)
    done = world.baton(*WEB, "--dry-run")
    for part in ("[group.web.service.nginx]", "add group web", "Failover of web", "nothing was applied"):
        expect_in(part, done.out)
    nothing_applied(world)


def test_a_file_of_ones_own(world):
    cluster(world)
    own = world.file("own.toml", world.baton("template", "show", "nginx").out)
    done = world.baton("template", "apply", "--from", own, "--group", "web", "--set", "address=10.88.0.60")
    expect_status(done, 0)
    expect_in("Made from the template own", world.daemon.calls[-1][3])
    bad = world.file("bad.toml", open(own).read().replace("{{size}}", "{{seize}}"))
    expect_refused(world.baton("template", "apply", "--from", bad, "--group", "web"), bad + ":15:", "did you mean {{size}}?")
    for arguments in ((), ("nginx", "--from", own)):
        expect_refused(world.baton("template", "apply", *arguments, "--group", "web"), "say which template")
    expect_refused(world.baton("template", "apply", "--from", "/none", "--group", "web"), "cannot read /none")


def test_refusals_name_the_thing_and_the_remedy(world):
    cluster(world)
    apply = ("template", "apply")
    expect_refused(world.baton("template", "show", "ngnix"), 'no template "ngnix"', 'did you mean "nginx"?')
    expect_refused(world.baton(*apply, "ngnix", "--group", "web"), 'did you mean "nginx"?')
    expect_refused(world.baton("template", "show", "x"), "known are cups, mariadb")
    expect_refused(world.baton(*apply, "nginx", "--group", "web"), "--set address=...  the floating address")
    expect_refused(world.baton(*WEB, "--set", "adress=1"), 'no value "adress"', 'did you mean "address"?')
    expect_refused(world.baton(*WEB, "--set", "size"), "--set NAME=VALUE")
    expect_refused(world.baton(*apply, "nginx", "--group", "DB", "--set", "address=10.88.0.60"), 'a group "db" already', "--group")
    expect_refused(world.baton(*apply, "nginx", "--group", "a.b", "--set", "address=10.88.0.60"), '"a.b" cannot be a name')
    expect_refused(world.baton(*WEB, "--servers", "server1,server9"), "[group.web] servers = ", 'unknown server "server9"', "(--servers)")
    expect_refused(world.baton(*WEB, "--set", "address=10.99.0.60"), 'address = "10.99.0.60"', "outside the public LAN",
                   "(--set address=...)")
    expect_refused(world.baton(*WEB, "--set", "address=10.88.0.50"), "already that of [group.db.address.ip]", "(--set address=...)")
    expect_refused(world.baton(*WEB, "--set", "size=12"), 'size = "12"', "(--set size=...)")
    world.daemon.on("POST", "/v1/plan", lambda query, body: (400, {"error": {
        "code": "invalid", "message": "mirror data on server2: larger than its store"}}))
    expect_refused(world.baton(*WEB), "mirror data on server2: larger than its store")
    nothing_applied(world)


def test_a_change_meanwhile_is_not_overwritten(world):
    cluster(world)
    world.daemon.on("POST", "/v1/apply", lambda query, body: (409, {"error": {
        "code": "conflict", "message": "the configuration has changed meanwhile (version 8, decided from 7)"}}))
    expect_refused(world.baton(*WEB), "changed meanwhile")


def test_more_servers_have_to_be_named(world):
    third = '[server.server4]\nid = 4\ninterconnects = ["10.88.1.14", "10.88.0.14"]\n[server.witness]'
    text = open(EXAMPLE).read().replace("[server.witness]", third)
    cluster(world, text)
    expect_refused(world.baton(*WEB), "--servers A,B", "server1, server2, server4")
    expect_status(world.baton(*WEB, "--servers", "server4,server1"), 0)


def test_run_vm_asks_the_guest_to_shut_down_and_waits(world):
    stub = world.file("qemu-system-x86_64", '#!/bin/sh\necho "runs with $*"\nread -r said\necho "heard $said"\nexit 7\n')
    os.chmod(stub, 0o755)
    process = subprocess.Popen([os.path.join(ROOT, "templates", "programs", "run-vm"), "-m", "1G"], stdout=subprocess.PIPE, text=True,
                               env={**os.environ, "PATH": world.directory + ":" + os.environ["PATH"]})
    expect(process.stdout.readline() == "runs with -m 1G -monitor stdio\n", "other arguments")
    process.terminate()
    expect(process.stdout.readline() == "heard system_powerdown\n", "not asked to shut down")
    process.stdout.close()
    expect(process.wait(30) == 7, f"ended with {process.returncode}")


def test_prepare_makes_what_is_missing_and_keeps_what_is_there(world):
    if os.geteuid() != 0:
        return
    place, group = os.path.join(world.directory, "data"), f"cli-test-{os.getpid()}"
    os.mkdir(place)
    prepare = [os.path.join(ROOT, "templates", "programs", "prepare-redis"), place, "10.88.0.60"]

    def contents():
        subprocess.run(prepare, env={**os.environ, "BATON_GROUP": group}, check=True, timeout=60)
        with open(place + "/redis.conf") as file:
            return file.read()
    try:
        first = contents()
        expect("\nbind 10.88.0.60\n" in first and re.search("^requirepass .{30,}$", first, re.M), first)
        for name in ("redis.conf", "data"):  # as if the user had this number on the other server
            os.chown(f"{place}/{name}", 4242, 4242)
        open(place + "/redis.conf.new", "w").close()  # a start that was cut short
        expect(contents() == first, "what was there has changed")
        for name in ("redis.conf", "data"):
            expect(os.stat(f"{place}/{name}").st_uid == pwd.getpwnam("redis").pw_uid, name + " still belongs to somebody else")
    finally:
        shutil.rmtree("/run/baton-" + group, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(run(globals()))
