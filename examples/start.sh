#!/bin/sh
# The start script of a group, in the manner of start.bat: what it does depends on why and where it is started.
# Its group's section: start = ["/opt/app/start.sh"], on_disk_failure = true, on_return = true.

disk_error() {
    # The data cannot be reached on the group's first server: the other one has it.
    [ "$ARMS_SERVER" = OTHER ] || armfover /F "$ARMS_GROUPNAME"
    exit 0
}

case "$ARMS_EVENT" in
START)
    [ "$ARMS_DISK" = FAILURE ] && disk_error
    [ "$ARMS_SERVER" = OTHER ] && echo "started on the other server, by somebody's wish"
    ;;
FAILOVER)
    [ "$ARMS_DISK" = FAILURE ] && disk_error
    echo "taken over: what the application has to repair after a crash is done here"
    ;;
RECOVER)
    echo "$BATON_SERVER_NAME has returned to the cluster; the group runs elsewhere"
    exit 0
    ;;
*)
    echo "this is run by Baton only" >&2
    exit 1
    ;;
esac

armload worker /R 2 /H 1 /FOV ${WORKER:-/opt/app/worker}
