#!/usr/bin/env bash
# Plays MySQL: a server that greets each client before the client sends anything, and then repeats
# the lines of the client.
exec python3 -u -c '
import socketserver


class Greeting(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(b"8.4.0 greets you\n")
        for line in self.rfile:
            self.wfile.write(b"you said: " + line)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


with Server(("127.0.0.1", 3306), Greeting) as server:
    print("ready")
    server.serve_forever()
'
