#!/bin/sh
# For the template `script`: has the small program of notes_server.py supervised.
here=$(dirname "$(readlink -f "$0")")
exec "$here/../../build/bin/baton" supervise notes --restarts 2 -- "$here/notes_server.py"
