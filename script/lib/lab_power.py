"""The lab's power supply with a controller, for fencing: a socket that the servers reach over no network of theirs, as a
controller on a cable of its own; and the fence agent (script/lib/fence-lab) that Baton runs, which asks it. On the host."""
import json
import os
import socket
import threading

from lab_cluster import ROOT, LabFailure, now_ns

AGENT = os.path.join(ROOT, "script", "lib", "fence-lab")
SOCKET = os.path.join(ROOT, "build", "lab-power.socket")  # the checkout is there inside the servers, too
ANSWER_S = 60


class LabPower:
    """Serves one request after the other, each a line "ACTION SERVER", until end(). `record`: (moment, action, server, answer)."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.record = []
        self.problems = []  # requests that could not be answered
        self.broken = ""  # what every request is answered with instead
        self.busy_after_off = 0  # so many requests after an "off" fail
        self._busy = 0
        if os.path.exists(SOCKET):
            os.remove(SOCKET)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(SOCKET)
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def end(self):
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self._thread.join(ANSWER_S)
        self._listener.close()
        os.remove(SOCKET)

    def moments(self, action, answer):
        return [moment for moment, done, _, got in self.record if (done, got) == (action, answer)]

    def _serve(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(ANSWER_S)
                try:
                    action, server = connection.makefile().readline().split()
                    answer = self._answer(action, server)
                    self.record.append((now_ns(), action, server, answer))
                    connection.sendall(answer.encode() + b"\n")
                except (OSError, ValueError, LabFailure) as problem:
                    self.problems.append(str(problem))

    def _answer(self, action, server):
        if self.broken:
            return self.broken
        if self._busy and action == "status":
            self._busy -= 1
            return "the controller is busy"
        is_on = self._is_on(server)
        if action == "off" and is_on:
            self.cluster.lab("power-off", server)
            self._busy = self.busy_after_off
        if action == "on" and not is_on:
            self.cluster.lab("power-on", server)
        return "on" if self._is_on(server) else "off"

    def _is_on(self, server):
        state = json.loads(self.cluster.lab("status", "--json").stdout)
        return next(member["power"] for member in state["servers"] if member["name"] == server) != "off"
