#!/bin/busybox sh
# The service of guard_test.py; with /run/write it writes to a filesystem that may be frozen.
while :; do
  [ -e /run/write ] && echo one >>/frozen/file
  /sbin/usleep 100000
done
