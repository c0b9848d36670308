#!/bin/busybox sh
# Process 1 of the virtual machine: the mirror's exports against this kernel. Each check says "ok NAME" or
# "not ok NAME: why" on the console; kernel_nbd_test.py counts.
/bin/busybox --install -s /bin
export PATH=/bin:/sbin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /tmp /mnt /run && mount -t tmpfs tmpfs /tmp && mount -t tmpfs tmpfs /run
echo 4 >/proc/sys/kernel/printk
echo "kernel $(uname -r)"

MIB=1048576
SIZE=$((64 * MIB))

ok() { echo "ok $1"; }
bad() { echo "not ok $1: $2"; sed 's/^/# /' /tmp/err; dmesg | tail -5 | sed 's/^/# /'; }
# check NAME COMMAND...: passes when the command does.
check() {
  local title=$1
  shift
  if "$@" >/tmp/check 2>&1; then ok "$title"; else bad "$title" "$* -> $(tail -1 /tmp/check)"; fi
}
# within SECONDS COMMAND...: waits until it succeeds.
within() {
  local left=$(($1 * 10))
  shift
  until "$@" >/dev/null 2>&1; do left=$((left - 1)); [ $left -gt 0 ] || return 1; usleep 100000; done
}
said() { grep -q "$1" /tmp/out /tmp/err; }
ended() { ! kill -0 "$1"; }

# serve KIND: the program under test exports /tmp/store; $server, $device.
serve() {
  baton-nbd-file /tmp/nbd.sock /tmp/store $SIZE --device "$1" /run/export >/tmp/out 2>/tmp/err &
  server=$!
  within 15 grep -q '^/dev/' /tmp/out || { bad "$1 opens" "$(cat /tmp/err)"; return 1; }
  device=$(cut -d' ' -f1 /tmp/out)
}
# fails_soon NAME PID BEGUN: the process ends with an error within five seconds.
fails_soon() {
  if ! within 5 ended "$2"; then bad "$1" "still hangs after 5 s"; return; fi
  wait "$2" && { bad "$1" "it succeeded"; return; }
  ok "$1"
}
write_one() { dd if=/dev/zero of="$1" bs=4096 count=1 seek=100 conv=fsync oflag=direct; }
same() { [ "$(md5sum <"$1")" = "$(md5sum <"$2")" ]; }
zeroes() { dd if="$1" bs=1M skip="$2" count="$3" 2>/dev/null | tr -d '\0' | wc -c | grep -qx 0; }

filesystem_checks() {
  local kind=$1 block=${device#/dev/}
  check "$kind: 4096-byte sectors" grep -qx 4096 /sys/block/$block/queue/logical_block_size
  check "$kind: flushes are asked for" grep -q 'write back' /sys/block/$block/queue/write_cache
  head -c $((48 * MIB)) /dev/urandom >$device && sync
  check "$kind: data goes through" sh -c "head -c $((48 * MIB)) $device | cmp - /tmp/store -n $((48 * MIB))"
  check "$kind: blkdiscard" blkdiscard -o $((8 * MIB)) -l $((8 * MIB)) $device
  check "$kind: what was discarded reads as zeroes" zeroes /tmp/store 8 8
  check "$kind: mkfs" mkfs.ext4 -q $device
  check "$kind: mount" mount -t ext4 $device /mnt
  head -c $((20 * MIB)) /dev/urandom >/tmp/original
  check "$kind: file written and synced" sh -c 'cp /tmp/original /mnt/file && sync'
  echo 3 >/proc/sys/vm/drop_caches
  check "$kind: file reads back" same /mnt/file /tmp/original
  kill -TERM $server
  check "$kind: refuses to close while mounted" within 6 said 'mounted at /mnt'
  kill -HUP $server
  check "$kind: grows" within 6 said '^grown'
  check "$kind: the device has its new size" grep -qx $((SIZE * 2 / 512)) /sys/block/$block/size
  check "$kind: the open filesystem grows" resize2fs $device
  check "$kind: file reads back after growing" same /mnt/file /tmp/original
  umount /mnt
  check "$kind: filesystem is whole" fsck.ext4 -fn $device
  kill -TERM $server
  check "$kind: closes in order" within 10 ended $server
  said '^closed' && ok "$kind: says that it closed" || bad "$kind: says that it closed" "$(cat /tmp/out)"
  [ ! -e /sys/block/$block/pid ] && ok "$kind: the device is free" || bad "$kind: the device is free" connected
  truncate -s $SIZE /tmp/store
}

gives_nothing() { [ "$(dd if=$1 bs=4096 count=1 2>/dev/null | wc -c)" = 0 ] && ! write_one $1; }

begin_frozen_write() {
  kill -USR2 $server
  usleep 200000
  write_one $device >/dev/null 2>&1 &
  writer=$!
  usleep 500000
}

failure_checks() {
  local kind=$1
  serve $kind || return
  begin_frozen_write
  kill -USR1 $server
  fails_soon "$kind: an abort fails what is under way" $writer
  check "$kind: the server ends after an abort" within 5 ended $server
  check "$kind: afterwards there are only errors" gives_nothing $device

  serve $kind || return
  check "$kind: a new export works after an abort" write_one $device
  begin_frozen_write
  kill -KILL $server
  fails_soon "$kind: killing the server fails what is under way" $writer
  wait $server 2>/dev/null
}

leftover_checks() {
  serve nbd || return
  keeper=$(grep -l mirrord-helper /proc/[0-9]*/comm | cut -d/ -f3)
  begin_frozen_write
  kill -KILL $keeper $server
  wait $server 2>/dev/null
  serve nbd || return
  check "nbd: a leftover device is reclaimed" within 5 said 'left behind by an earlier daemon'
  fails_soon "nbd: reclaiming fails what hangs" $writer
  check "nbd: the new export works beside it" write_one $device
  kill -TERM $server
  check "nbd: and closes" within 10 ended $server
}

truncate -s $SIZE /tmp/store
insmod /modules/nbd.ko nbds_max=4 || bad "module nbd" "cannot be loaded"
serve auto && {
  check "auto takes the kernel's NBD driver" said '^/dev/nbd0 nbd: this kernel has an NBD driver, but no ublk'
  filesystem_checks nbd
  failure_checks nbd
  leftover_checks
}
insmod /modules/fuse.ko && insmod /modules/loop.ko max_loop=4 || bad "modules fuse, loop" "cannot be loaded"
serve fuse && {
  filesystem_checks fuse
  failure_checks fuse
}
baton-nbd-file /tmp/nbd.sock /tmp/store $SIZE --device ublk /run/export >/tmp/out 2>/tmp/err
check "ublk is refused where it is missing" said 'has no ublk driver (module ublk_drv)'
echo "done"
poweroff -f
