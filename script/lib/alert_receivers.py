#!/usr/bin/env python3
"""Receivers of alerts for the system tests: Debian's exim, rsyslogd and snmptrapd, a web server of Python's, a socket that stands in
for the journal's, and one that never answers. As a program: the last three, inside a member of the lab."""
import http.server
import json
import os
import re
import shutil
import socket
import subprocess
import sys

PASSWORD, COMMUNITY = "mail-secret", "trap-secret"

EXIM = """
primary_hostname = client
spool_directory = /tmp/exim
log_file_path = /var/log/baton/exim-%s.txt
pid_file_path = /tmp/exim.pid
exim_user = root
keep_environment =
add_environment = PATH=/usr/bin:/bin
daemon_smtp_ports = 25
local_interfaces = {address}
disable_ipv6
tls_advertise_hosts = *
tls_certificate = {work}/alert.pem
tls_privatekey = {work}/alert.key
acl_smtp_rcpt = rcpt
begin acl
rcpt:
  accept encrypted = *
    authenticated = *
begin routers
all:
  driver = accept
  transport = file
begin transports
file:
  driver = appendfile
  file = /var/log/baton/mail/box
  user = mail
  group = mail
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${{if and{{{{eq{{$auth2}}{{baton}}}}{{eq{{$auth3}}{{{password}}}}}}}}}
"""

RSYSLOG = """
global(workDirectory="/tmp")
module(load="imtcp")
template(name="raw" type="string" string="%rawmsg%\\n")
input(type="imtcp" port="514" address="{address}")
*.* action(type="omfile" file="/var/log/baton/syslog.txt" template="raw")
"""


def write(path, text, mode=0o644):
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, mode)


class Receivers:
    """What runs in the client of a lab, and what it has got. Secrets and configurations are in `work`, which members see, too."""

    def __init__(self, cluster, baton, work, address="10.88.0.100"):
        self.cluster, self.baton, self.work, self.address = cluster, baton, work, address
        self.started = []

    def prepare(self):
        """Before the cluster is up: what its configuration names."""
        os.makedirs(self.work, exist_ok=True)
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", self.path("alert.key"), "-days", "2",
                        "-out", self.path("alert.pem"), "-subj", "/CN=client", "-addext", f"subjectAltName=IP:{self.address}"],
                       check=True, capture_output=True, timeout=60)
        write(self.path("alert.password"), PASSWORD + "\n", 0o600)
        write(self.path("alert.community"), COMMUNITY + "\n", 0o600)
        write(self.path("exim.conf"), EXIM.format(address=self.address, work=self.work, password=PASSWORD))
        write(self.path("rsyslog.conf"), RSYSLOG.format(address=self.address))
        write(self.path("snmptrapd.conf"), f"authCommunity log {COMMUNITY}\n")

    def path(self, name):
        return os.path.join(self.work, name)

    def log(self, member, name):
        return os.path.join(self.cluster.members[member]["directory"], "log", name)

    def run(self, member, *command):
        with open(self.log(member, os.path.basename(command[0]) + ".out"), "a") as output:
            self.started.append(subprocess.Popen([self.baton, "lab", "exec", member, "--", *command], stdin=subprocess.DEVNULL,
                                                 stdout=output, stderr=output, cwd=os.path.dirname(os.path.dirname(self.work))))

    def own(self, member, *words):
        self.run(member, sys.executable, "-B", os.path.abspath(__file__), *words)

    def webhook(self):
        self.own("client", "webhook", self.address, "8080", "/var/log/baton/hook.txt")

    def start(self):
        mail = self.log("client", "mail")
        os.makedirs(mail)
        os.chmod(mail, 0o777)
        self.run("client", "/usr/sbin/exim4", "-C", self.path("exim.conf"), "-bdf")
        self.run("client", "/usr/sbin/rsyslogd", "-n", "-f", self.path("rsyslog.conf"), "-i", "/tmp/rsyslog.pid")
        self.run("client", "/usr/sbin/snmptrapd", "-f", "-C", "-c", self.path("snmptrapd.conf"), "-Lf", "/var/log/baton/traps.txt",
                 "-On", "-M", "", "-m", "", "-x", "/tmp/agentx", f"{self.address}:162")
        self.own("client", "silent", self.address, "8081")
        self.webhook()
        for port in (25, 514, 8080, 8081):
            self.cluster.wait_until(lambda port=port: self.listens(f":{port}"), 20, f"a receiver at port {port}")
        self.cluster.wait_until(lambda: self.listens(":162", "-u"), 20, "the receiver of traps")

    def listens(self, port, kind="-t"):
        return f"{port} " in self.cluster.inside("client", "ss", "-Hnl", kind).stdout

    def stop(self):
        """With the lab still up."""
        for process in self.started:
            process.kill()
            process.wait(10)

    @staticmethod
    def read(path):
        try:
            with open(path, errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def lines(self, path):
        """JSON, a line each; the last one may be half written."""
        return [json.loads(line) for line in self.read(path).split("\n")[:-1]]

    def got(self, servers):
        """The events that each receiver has got: name -> [(key, text)]."""
        mail = self.read(self.log("client", "mail/box")).replace("\r", "")
        traps = self.read(self.log("client", "traps.txt"))
        return {
            "hook": [(event["key"], event["text"]) for event in self.lines(self.log("client", "hook.txt"))],
            "mail": re.findall(r"^Message-ID: <(.*)@baton.invalid>\n(?:.+\n)+\n(.*)$", mail, re.M),
            "log": re.findall(r'key="([^"]*)".*?\] (.*)$', self.read(self.log("client", "syslog.txt")), re.M),
            "trap": [(key, text) for text, key in
                     re.findall(r'\.32473\.1\.1\.6\.0 = STRING: "(.*?)"\t.*?\.32473\.1\.1\.8\.0 = STRING: "(.*?)"', traps)],
            "page": [(event["key"], event["text"]) for server in servers for event in self.lines(self.log(server, "page.txt"))],
        }


# --- Inside a member ---------------------------------------------------------------------------------------------


class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        with open(self.server.file, "ab") as file:
            file.write(self.rfile.read(int(self.headers["Content-Length"])) + b"\n")
        self.send_response(204)
        self.end_headers()


def serve(kind, *words):
    if kind == "webhook":
        http.server.HTTPServer.allow_reuse_address = True
        server = http.server.ThreadingHTTPServer((words[0], int(words[1])), Hook)
        server.file = words[2]
        server.serve_forever()
    elif kind == "silent":
        listener = socket.create_server((words[0], int(words[1])))
        kept = []
        while True:
            kept.append(listener.accept())
    elif kind == "journal":
        shutil.rmtree("/run/systemd/journal", ignore_errors=True)
        os.makedirs("/run/systemd/journal")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        listener.bind("/run/systemd/journal/socket")
        while True:
            with open(words[0], "ab") as file:
                file.write(listener.recv(1 << 20) + b"\n")


if __name__ == "__main__":
    serve(*sys.argv[1:])
