#!/bin/sh
# For the template `script`: ends what notes_start.sh has begun.
here=$(dirname "$(readlink -f "$0")")
exec "$here/../../build/bin/baton" unsupervise notes
