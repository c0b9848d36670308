#!/bin/busybox sh
# Process 1 of the virtual machine of guard_test.py: a server with two networks, a software watchdog and a filesystem that
# can be frozen. What happens in it is in guest_guard.py; the kernel's parameter `scenario` names a part of that.
/bin/busybox --install -s /sbin
export PATH=/bin:/sbin:/usr/bin HOME=/root PYTHONDONTWRITEBYTECODE=1
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
ln -s /run /var/run
mkdir -p /dev/shm /frozen && mount -t tmpfs tmpfs /dev/shm && mount -t tmpfs tmpfs /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
for module in $(cat /modules/order); do
  case $module in softdog) insmod /modules/softdog.ko soft_margin=$margin ;; *) insmod /modules/$module.ko ;; esac
done
hostname server1
/bin/ip link set lo up
for network in lan inner; do
  /bin/ip link add $network type veth peer name ${network}_other
  /bin/ip link set $network up && /bin/ip link set ${network}_other up
done
/bin/ip address add 10.77.0.1/24 dev lan
/bin/ip address add 10.77.1.1/24 dev inner
losetup /dev/loop0 /frozen.ext4 && mount -t ext4 /dev/loop0 /frozen
echo "kernel $(uname -r)"
python3 -B /guest_guard.py 2>&1
echo done
poweroff -f
