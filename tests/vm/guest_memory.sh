#!/bin/busybox sh
# Process 1 of the virtual machine of short_memory_test.py: a test of mirror_memory_test.py on a disk of its own, under
# control groups of the version that the kernel's parameter `groups` names.
/bin/busybox --install -s /sbin
export PATH=/bin:/sbin:/usr/bin HOME=/root BATON_SLOW_MACHINE=1
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
for module in $(cat /modules/order); do insmod /modules/$module.ko; done
echo 1 >/proc/sys/kernel/printk
# Or the kernel would slow writers down before their group is full of what they have written.
echo 90 >/proc/sys/vm/dirty_ratio
echo 80 >/proc/sys/vm/dirty_background_ratio
ip link set lo up
mkfs.ext4 -q /dev/vda && mount /dev/vda /var/tmp
if [ "$groups" = 2 ]; then
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
else
  mount -t tmpfs tmpfs /sys/fs/cgroup
  mkdir /sys/fs/cgroup/memory
  mount -t cgroup -o memory memory /sys/fs/cgroup/memory
fi
echo "kernel $(uname -r), control groups of version $groups"
cd /baton
python3 -B tests/system/mirror_memory_test.py test_trap_16_the_daemons_are_short_of_memory_too 2>&1
echo done
poweroff -f
