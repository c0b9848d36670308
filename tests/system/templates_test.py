#!/usr/bin/env python3
"""Every template is applied by the command, serves a real client of its kind, and after a power cut serves it on the other server
with what was written. And the first example of README.md, as it stands there, is a group that does so."""
import os
import re
import socket
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "..", "script", "lib"), os.path.join(HERE, "..", "vm")]
import machine
from cluster_test import ClusterTest, run_tests
from lab_cluster import ROOT, WORK, LabFailure, example_configuration, group_of, mirror_of

NOTE = "written before the power cut"
PASSWORD = "of-the-test"


def same(found, expected):
    if found != expected:
        raise LabFailure(f"found {found!r}, expected {expected!r}")


class Served:
    """A template's group and what is asked of it. `owner`: the server that runs it."""
    template = ""
    name = ""  # of the group, if not the template's
    size = "64 MiB"
    settings = ()

    def __init__(self, cluster, number):
        self.cluster = cluster
        self.group = self.name or self.template
        self.address = f"10.88.0.{60 + number}"

    def values(self):
        return (f"address={self.address}", f"size={self.size}", *self.settings)

    def words(self):
        """Of `baton template apply`."""
        return (self.template, "--group", self.group, *(word for each in self.values() for word in ("--set", each)))

    def ready_servers(self):
        """What an administrator does on the servers before."""

    def client(self, *command):
        return self.cluster.inside("client", *command).stdout

    def place(self, owner, path):
        """A server's file, as the host sees it."""
        return f"/proc/{self.cluster.init_pid(owner)}/root{path}"


class Postgresql(Served):
    template, size = "postgresql", "192 MiB"

    def query(self, text):
        return self.client("env", f"PGPASSWORD={PASSWORD}", "psql", "-h", self.address, "-U", "app", "-d", "postgres", "-Atc", text)

    def write(self, owner):
        self.cluster.inside(owner, "runuser", "-u", "postgres", "--", "psql", "-qh", f"/run/baton-{self.group}",
                            "-c", f"create role app login password '{PASSWORD}'", "-c", "create schema app authorization app")
        self.query(f"create table app.note as select '{NOTE}'")

    def check(self, owner):
        same(self.query("select * from app.note").strip(), NOTE)


class PostgresqlToo(Postgresql):
    """Two groups of one template get along on one server."""
    name = "postgresql-too"


class Mariadb(Served):
    template, size = "mariadb", "320 MiB"

    def query(self, text):
        return self.client("mariadb", "--no-defaults", "-h", self.address, "-u", "app", f"-p{PASSWORD}", "-BNe", text)

    def write(self, owner):
        self.cluster.inside(owner, "mariadb", "--no-defaults", f"--socket=/run/baton-{self.group}/mariadb.sock", "-e",
                            f"create database app; create user app identified by '{PASSWORD}'; grant all on app.* to app")
        self.query(f"create table app.note as select '{NOTE}'")

    def check(self, owner):
        same(self.query("select * from app.note").strip(), NOTE)


class Redis(Served):
    template = "redis"

    def ask(self, owner, *words):
        with open(self.place(owner, f"/srv/{self.group}/redis.conf")) as file:
            password = re.search("^requirepass (.*)$", file.read(), re.M)[1]
        return self.client("redis-cli", "-e", "--no-auth-warning", "-h", self.address, "-a", password, *words)

    def write(self, owner):
        self.ask(owner, "set", "note", NOTE)

    def check(self, owner):
        same(self.ask(owner, "get", "note").strip(), NOTE)


class Nginx(Served):
    template = "nginx"

    def write(self, owner):
        self.cluster.inside(owner, "sh", "-c", f"echo '{NOTE}' >/srv/{self.group}/www/note && sync -f /srv/{self.group}")
        self.check(owner)

    def check(self, owner):
        same(self.client("curl", "-sS", "--fail", f"http://{self.address}/note").strip(), NOTE)


class Samba(Served):
    template = "samba"

    def ask(self, command):
        return self.client("smbclient", f"//{self.address}/files", "-U", f"backup%{PASSWORD}", "-c", command)

    def write(self, owner):
        self.cluster.inside(owner, "sh", "-c",
                            f"printf '{PASSWORD}\\n{PASSWORD}\\n' | smbpasswd -c /srv/{self.group}/smb.conf -s -a backup")
        self.client("sh", "-c", f"echo '{NOTE}' >/tmp/note")
        self.ask("put /tmp/note note")
        self.cluster.inside(owner, "sync", "-f", f"/srv/{self.group}")  # smbclient asks for no flush

    def check(self, owner):
        same(self.ask("get note -").strip(), NOTE)


class Nfs(Served):
    template, settings = "nfs", ("grace=3",)

    def after_grace(self, *command):
        """libnfs does not wait for it."""
        url = f"nfs://{self.address}/files/note?version=4"

        def ask():
            done = self.cluster.inside("client", *command, url, check=False)
            if done.returncode != 0 and "NFS4ERR_GRACE" not in done.stderr:
                raise LabFailure(done.stderr)
            return done.returncode == 0 and done
        return self.cluster.wait_until(ask, 15, "the end of the grace period").stdout

    def write(self, owner):
        self.client("sh", "-c", f"echo '{NOTE}' >/tmp/nfs-note")
        self.after_grace("nfs-cp", "/tmp/nfs-note")

    def check(self, owner):
        same(self.after_grace("nfs-cat").strip(), NOTE)


class Cups(Served):
    template = "cups"

    def write(self, owner):
        self.cluster.inside(owner, "lpadmin", "-h", "/run/cups/cups.sock", "-p", "laser", "-E", "-v", "ipp://10.88.0.250/ipp/print",
                            "-m", "raw")
        self.client("lp", "-h", self.address, "-d", "laser", "-H", "hold", "-t", "note", "/etc/hostname")
        self.check(owner)

    def check(self, owner):
        same(self.client("lpstat", "-h", self.address, "-o").partition(" ")[0], "laser-1")


class Slurm(Served):
    template = "slurm"

    def start_munge(self, member):
        self.cluster.inside(member, "sh", "-c", "install -d -o munge -g munge /run/munge && runuser -u munge -- munged")

    def ready_servers(self):
        for server in ("server1", "server2"):
            self.start_munge(server)

    def ask(self, *words):
        return self.client("env", "SLURM_CONF=/tmp/slurm.conf", *words)

    def write(self, owner):
        with open(self.place(owner, f"/srv/{self.group}/slurm.conf")) as file:
            text = file.read()
        with open(self.place("client", "/tmp/slurm.conf"), "w") as file:
            file.write(text)
        self.start_munge("client")
        self.ask("sbatch", "--hold", "--chdir=/tmp", "--job-name=kept", "--wrap=true")
        self.cluster.wait_until(lambda: self.saved(owner), 20, "slurmctld to write the job to its disk")

    def saved(self, owner):
        try:
            with open(self.place(owner, f"/srv/{self.group}/state/job_state"), "rb") as file:
                return b"kept" in file.read()
        except FileNotFoundError:
            return False

    def check(self, owner):
        same(self.ask("squeue", "-h", "-o", "%j").strip(), "kept")


class VirtualMachine(Served):
    """Debian's kernel counts its starts on the disk, and says the number on its serial line all the time."""
    template = "vm"
    settings = ("memory=128M", "network=none", "accelerator=tcg")

    def values(self):
        return (f"size={self.size}", *self.settings)

    def boots(self, owner, number):
        with socket.socket(socket.AF_UNIX) as serial:
            serial.settimeout(30)
            serial.connect(self.place(owner, f"/run/baton-{self.group}.serial"))
            heard = b""
            while not (said := re.search(rb"start \d+ of this machine.*?;", heard)):
                part = serial.recv(4096)
                if not part:
                    raise LabFailure(f"QEMU hung up: {heard}")
                heard += part
        same(said[0].decode(), f"start {number} of this machine;")

    def words(self):
        """The template as a person would change it: with a kernel from outside the disk."""
        kernel, initramfs = self.guest()
        text = self.cluster.baton("server1", "template", "show", "vm").stdout
        own = os.path.join(self.directory.name, "vm.toml")
        with open(own, "w") as file:
            file.write(text.replace('"-display", "none",', f'"-display", "none", "-kernel", "{kernel}", "-initrd", "{initramfs}",\n'
                                    '  "-append", "console=ttyS0 quiet",'))
        return ("--from", own, *super().words()[1:])

    def guest(self):
        kernel, busybox = machine.prepare()
        # Below the checkout: there the servers see it, too.
        self.directory = tempfile.TemporaryDirectory(dir=os.path.join(ROOT, "build"))
        image = machine.Initramfs()
        image.begin(busybox, os.path.join(HERE, "guest_counter.sh"), ())
        image.modules(kernel, ("drivers/virtio/virtio_ring", "drivers/virtio/virtio", "drivers/virtio/virtio_pci_modern_dev",
                               "drivers/virtio/virtio_pci_legacy_dev", "drivers/virtio/virtio_pci", "drivers/block/virtio_blk"))
        path = os.path.join(self.directory.name, "initramfs.gz")
        image.save(path)
        return machine.kernel_image(kernel), path

    def write(self, owner):
        self.boots(owner, 1)

    def check(self, owner):
        self.boots(owner, 2)


class Program(Served):
    template = "program"
    settings = (f"command={os.path.join(HERE, 'notes_server.py')}",)

    @property
    def url(self):
        return f"http://{self.address}:8080/"

    def write(self, owner):
        self.client("sh", "-c", f"printf '{NOTE}' | curl -sS --fail --data-binary @- -X PUT {self.url}")

    def check(self, owner):
        same(self.client("curl", "-sS", "--fail", self.url), NOTE)


class Script(Program):
    template = "script"
    settings = (f"start={os.path.join(HERE, 'notes_start.sh')}", f"stop={os.path.join(HERE, 'notes_stop.sh')}")


ALL = (Postgresql, Mariadb, Redis, Nginx, Samba, Nfs, Cups, Slurm, VirtualMachine, Program, Script)


class WithoutGroups(ClusterTest):
    """Each test gets a cluster without groups."""

    def setUp(self):
        text = example_configuration()
        self.bring_up(text[:text.index("[group.")])
        self.cluster.wait_for(lambda status: status["configuration_version"] > 0, 30, "the cluster to be founded", ["server1"])

    def started(self, groups, server):
        def predicate(status):
            found = [group_of(status, name) for name in groups]
            return status["database"]["serving"] and all(group and group["phase"] == "started" and group["owner"] == server
                                                         for group in found)
        try:
            self.cluster.wait_for(predicate, 60, f"{', '.join(groups)} to be started on {server}", ("witness",))
        except LabFailure as failure:
            raise LabFailure(f"{failure}\n{self.cluster.baton('witness', 'status').stdout}") from None

    def monitors_good(self, groups, server):
        def predicate(status):
            return all(monitor["state"] == "good" for name in groups for monitor in group_of(status, name)["monitors"])
        self.cluster.wait_for(predicate, 40, "all monitors to be good", [server])


class FirstExample(WithoutGroups):
    def test_the_first_group_of_the_readme(self):
        with open(os.path.join(ROOT, "README.md")) as file:
            example = re.search(r"^```toml\n(.*?)^```", file.read(), re.M | re.S)[1]
        self.assertLess(len(example.splitlines()), 10)
        self.assertIn("nginx", example)
        address = re.search(r'address = "([0-9.]+)"', example)[1]
        curl = ("curl", "-sS", "--fail", f"http://{address}/")

        path = os.path.join(WORK, "cluster-with-web.toml")
        with open(path, "w") as file:
            file.write(self.cluster.baton("server1", "config", "show").stdout + example)
        self.assertIn("add group web", self.cluster.baton("server1", "plan", path).stdout)
        self.cluster.baton("server1", "apply", path)
        self.started(["web"], "server1")
        self.monitors_good(["web"], "server1")
        page = self.cluster.inside("client", *curl).stdout
        self.assertIn("<html", page.lower())
        self.cluster.power_off("server1")
        self.started(["web"], "server2")
        self.assertEqual(self.cluster.inside("client", *curl).stdout, page)


class Templates(WithoutGroups):
    def fail_over(self, templates):
        """Applies them, has each written to, cuts the power, and asks each again."""
        served = [each(self.cluster, number) for number, each in enumerate(templates)]
        groups = [each.group for each in served]
        for each in served:
            each.ready_servers()
            said = self.cluster.baton("server1", "template", "apply", *each.words()).stdout
            self.assertIn("applied as version", said)
        self.started(groups, "server1")
        self.all_of(served, "write", "server1")
        self.cluster.wait_for(lambda status: all(self.in_sync(status, name) for name in groups), 60, "all copies to be in sync")
        self.monitors_good(groups, "server1")
        self.cluster.power_off("server1")
        self.started(groups, "server2")
        self.all_of(served, "check", "server2")
        self.monitors_good(groups, "server2")

    def all_of(self, served, what, owner):
        """One that fails does not keep the others from being tried."""
        failed = []
        for each in served:
            begun = time.monotonic()
            try:
                getattr(each, what)(owner)
            except (LabFailure, OSError) as failure:
                failed.append(f"group {each.group}: {what} on {owner}: {failure}")
            self.say(f"{each.group}: {what} took {time.monotonic() - begun:.1f} s")
        self.assertEqual(failed, [], "\n".join(failed))

    def in_sync(self, status, name):
        mirror = mirror_of(status, name + ".data")
        return bool(mirror and len(mirror["in_sync"]) == len(mirror["copies"]) == 2)

    def test_databases(self):
        self.fail_over((Postgresql, PostgresqlToo, Mariadb, Redis, Program))

    def test_servers_of_files_and_pages(self):
        self.fail_over((Nginx, Samba, Nfs, Cups))

    def test_machines_and_programs(self):
        served = [VirtualMachine, Slurm, Script]
        try:
            machine.prepare()
        except machine.Skip as reason:
            self.say(f"the virtual machine is left out: {reason}")
            served.remove(VirtualMachine)
        self.fail_over(served)

    def test_what_does_not_fit_changes_nothing(self):
        before = self.cluster.baton("server1", "config", "show").stdout
        done = self.cluster.baton("server1", "template", "apply", "nginx", "--group", "web", "--set", "address=10.99.0.60", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("outside the public LAN", done.stderr)
        # Somebody else was quicker.
        path = os.path.join(WORK, "changed.toml")
        with open(path, "w") as file:
            file.write(before + "# changed\n")
        said = self.cluster.inside("server1", "curl", "-sS", "--unix-socket", "/run/baton/api.sock", "--data-binary", "@" + path,
                                   "http://localhost/v1/apply?version=0").stdout
        self.assertIn("has changed meanwhile", said)
        self.assertEqual(self.cluster.baton("server1", "config", "show").stdout, before)

    def test_all_of_them_are_tried(self):
        built_in = [name[:-len(".toml")] for name in os.listdir(os.path.join(ROOT, "templates")) if name.endswith(".toml")]
        self.assertEqual(sorted(each.template for each in ALL), sorted(built_in))


if __name__ == "__main__":
    sys.exit(run_tests(8))
