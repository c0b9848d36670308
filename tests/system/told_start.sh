#!/bin/sh
# Writes down what it is told, and goes on as the example that is documented.
echo "$ARMS_EVENT $ARMS_DISK $ARMS_SERVER $ARMS_GROUPNAME $BATON_SERVER_NAME" >>/var/log/baton/told
exec "$(dirname "$0")/../../examples/start.sh"
