#!/bin/busybox sh
# Process 1 of the virtual machine of templates_test.py: counts its starts in the disk's first bytes, and says the number again and again.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t devtmpfs devtmpfs /dev
for module in $(cat /modules/order); do insmod /modules/$module.ko || problem="$problem, no module $module"; done
[ -b /dev/vda ] || problem="$problem, no disk /dev/vda"
start=$(($(dd if=/dev/vda bs=16 count=1 | tr -d '\0') + 1))
printf '%-15d\n' $start | dd of=/dev/vda bs=16 conv=fsync || problem="$problem, it cannot be written"
while :; do
  echo "start $start of this machine$problem;"
  usleep 200000
done
