#!/usr/bin/env python3
"""A small program for the template `script`: keeps what is PUT to it in a file of its working directory, and answers GET with it."""
import http.server
import os


class Notes(http.server.BaseHTTPRequestHandler):
    def do_PUT(self):
        with open("note.new", "wb", buffering=0) as file:
            file.write(self.rfile.read(int(self.headers["Content-Length"])))
            os.fsync(file.fileno())
        os.rename("note.new", "note")
        directory = os.open(".", os.O_RDONLY)
        os.fsync(directory)
        os.close(directory)
        self.send_response(204)
        self.end_headers()

    def do_GET(self):
        with open("note", "rb") as file:
            text = file.read()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text)


http.server.HTTPServer(("", 8080), Notes).serve_forever()
