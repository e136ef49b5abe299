#!/usr/bin/env bash
# A small machine with a real systemd as PID 1, for tests: this host's files behind
# an overlay, with namespaces and a cgroup of its own. Needs root. Nothing of it is
# left when its processes are gone, but an empty directory.
#
#   systemd-box.sh hold DIR         keeps the disk (in memory) until it is killed;
#                                   DIR/root is the machine's root directory
#   systemd-box.sh boot DIR HOLDER  boots it, until PID 1 ends; HOLDER is the pid
#                                   of hold
set -euo pipefail
command=$1 dir=$2
self=$(readlink -f "$0")

hold() {
  if [ "${3:-}" != inside ]; then
    exec unshare --mount --propagation private "$self" hold "$dir" inside
  fi
  mount -t tmpfs tmpfs "$dir"
  mkdir "$dir/upper" "$dir/work" "$dir/root"
  mount -t overlay overlay -o "lowerdir=/,upperdir=$dir/upper,workdir=$dir/work" "$dir/root"
  local root=$dir/root unit
  # Nothing of this host's own units is started, and nothing that belongs to the
  # kernel, which is shared, is set.
  rm -rf "$root/etc/systemd/system" "$root/var/lib/muster"
  mkdir -p "$root/etc/systemd/system" "$root/srv"
  for unit in systemd-sysctl systemd-modules-load systemd-remount-fs systemd-udevd systemd-udev-trigger \
    systemd-timesyncd systemd-networkd systemd-resolved; do
    ln -s /dev/null "$root/etc/systemd/system/$unit.service"
  done
  for unit in sys-kernel-debug.mount sys-kernel-tracing.mount sys-fs-fuse-connections.mount dev-hugepages.mount \
    proc-sys-fs-binfmt_misc.automount apt-daily.timer apt-daily-upgrade.timer; do
    ln -s /dev/null "$root/etc/systemd/system/$unit"
  done
  rm -f "$root/etc/machine-id" "$root/usr/sbin/policy-rc.d"
  echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id"
  touch "$dir/held"
  exec sleep infinity
}

boot() {
  local tree box
  tree=$(findmnt -n -t cgroup2 -o TARGET | head -1)
  box=$tree/systemd-box-$$
  mkdir "$box"
  # A cgroup goes when its last process has: the one that sweeps it up waits outside.
  (
    while kill -0 "$$" 2>/dev/null || [ -n "$(find "$box" -name cgroup.procs -exec cat {} +)" ]; do sleep 0.1; done
    find "$box" -depth -type d -exec rmdir {} +
  ) </dev/null >/dev/null 2>&1 &
  echo $$ >"$box/cgroup.procs"
  exec nsenter --target "$1" --mount -- \
    unshare --pid --mount --uts --ipc --net --cgroup --fork --kill-child "$self" inside "$dir"
}

# inside is PID 1 before systemd is.
inside() {
  local root=$dir/root node
  mount --bind "$root" "$root"
  mount -t proc proc "$root/proc"
  mount --bind "$root/proc/sys" "$root/proc/sys"
  mount -o remount,bind,ro "$root/proc/sys"
  mount -t tmpfs tmpfs "$root/run"
  mount -t tmpfs tmpfs "$root/tmp"
  mount -t tmpfs tmpfs "$root/dev"
  for node in null zero full random urandom tty; do
    touch "$root/dev/$node"
    mount --bind "/dev/$node" "$root/dev/$node"
  done
  mkdir "$root/dev/pts" "$root/dev/shm"
  mount -t devpts devpts "$root/dev/pts" -o newinstance,ptmxmode=0666
  mount -t sysfs sysfs "$root/sys" -o ro
  mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
  hostname box
  mkdir -p "$root/.host"
  cd "$root"
  pivot_root . .host
  umount -l /.host
  exec env -i container=box PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=multi-user.target --show-status=no </dev/null
}

case "$command" in
  hold) hold "$@" ;;
  boot) boot "$3" ;;
  inside) inside ;;
  *) echo "usage: $0 hold DIR | boot DIR HOLDER" >&2; exit 2 ;;
esac
