#!/bin/busybox sh
# First process of a machine of `cargo xtask kernel`. In: /modules in the order in which they are loaded, /job, and $voice, of the kernel's command line. Out:
# what the job prints, on the device of that name. The host's files are the root, read-only; what is written goes to memory. Ends by switching the machine off.
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev

end() {
    echo "qtap-kernel: $*"
    poweroff -f
}

for module in /modules/*.ko; do
    [ -e "$module" ] && { insmod "$module" || end "the module $module is refused"; }
done
# One of them may be for the device.
exec >/dev/"$voice" 2>&1 </dev/null
mount -t virtiofs -o ro host /host || end "the host's files can't be mounted"
for mounted in proc sys dev; do
    mount --move /$mounted /host/$mounted
done
mkdir -p /host/dev/pts /host/dev/shm
mount -t devpts devpts /host/dev/pts
mount -t tmpfs tmpfs /host/dev/shm
mount -t tmpfs -o mode=755 tmpfs /host/run
mkdir -m 1777 /host/run/tmp
mount -t cgroup2 cgroup2 /host/sys/fs/cgroup
mount -t bpf bpf /host/sys/fs/bpf
mount -t tracefs tracefs /host/sys/kernel/tracing
ip link set lo up

cp /job /host/run/job
echo "qtap-kernel: up $(uname -r)"
# The host's root becomes the root of the mount namespace itself, not of a process: paths seen from other namespaces begin there.
cd /host
mount --move . /
# The job has a session of its own: in that of the first process the kernel takes its group for an orphaned one, and sends it SIGHUP if an orphan of the group
# ends while another process of it is stopped, as a command that waits for its probes is.
exec chroot . /bin/sh -c 'setsid -w /bin/sh /run/job; echo "qtap-kernel: ended $?"; busybox poweroff -f'
