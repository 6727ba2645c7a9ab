#!/usr/bin/env bash
# Runs the ring, reactor and page-cache attribution tests, and a produce/consume round trip of the real binary, on real older Linux kernels in
# QEMU: Debian's 6.1 and 6.12 cloud kernels, ext4 and XFS, at the ring levels 5.15, 6.1 and the kernel's own. Then cuts
# the power POWERCUT times under a load (internal/kernels/powercut). Nothing is installed: packages are downloaded and
# unpacked under build/kernels. KERNELS, FILESYSTEMS, LEVELS and POWERCUT=0 narrow it down.
#   run.sh powercut   only the power cuts: ROUNDS of them (50) on each file system, on one kernel
set -euo pipefail
cd "$(dirname "$0")/../.."
here=$PWD/internal/kernels work=$PWD/build/kernels
kernels=${KERNELS:-6.1 6.12} filesystems=${FILESYSTEMS:-ext4 xfs} levels=${LEVELS:-5.15 6.1 native} limit=${LIMIT:-900}
packages=${PACKAGES:-ring reactor ebpf} cuts=${POWERCUT:-3}
if [ "${1:-}" = powercut ]; then kernels=${KERNELS:-6.1} packages="" cuts=${ROUNDS:-50} levels=""; fi
# What of the reactor's tests a slow emulated machine can run: those that are about what was sent and received, and not
# about times or hundreds of megabytes. The host runs all of them.
reactor=${REACTOR_TESTS:-^(TestEcho|TestEchoSizes|TestEchoByteByByte|TestFileResponses|TestFileCutShort|TestHalfClose|TestBadLengths|TestBuffersExhausted|TestMaxConnections|TestOffload|TestSendSpills|TestSendToSelf|TestInject)$}

# Of ebpf's all but the measurement and what needs a compiler; and one that makes the whole machine short of memory.
ebpf=${EBPF_TESTS:-^(TestColdThenHot|TestAppends|TestForeign|TestRingReads|TestTwoReadersOfOneFile|TestDrops|TestDroppedBehind|TestCulprits|TestKswapd|TestOneProbeFails|TestFull|TestOlderTypes|TestSnapshotBesideCores|TestInContainer|TestOverlay|TestWithTwoCapabilities|TestHotCallsDoNotAllocate)$}

missing() {
  echo "kernel tests need $1 (apt-get install $2)" >&2
  [ "${CI:-}" = true ] || [ "${SLIPSTREAM_REQUIRE_TOOLS:-}" = 1 ] && exit 1
  echo "kernel tests skipped" >&2
  exit 0
}
command -v qemu-system-x86_64 >/dev/null || missing qemu-system-x86_64 qemu-system-x86
command -v cpio >/dev/null || missing cpio cpio
command -v depmod >/dev/null || [ -x /sbin/depmod ] || missing depmod kmod
[ -x /sbin/mkfs.xfs ] || command -v mkfs.xfs >/dev/null || missing mkfs.xfs xfsprogs
command -v apt-get >/dev/null || missing apt-get "needs a Debian"
busybox=$(command -v busybox || true)
[ -n "$busybox" ] && ! ldd "$busybox" >/dev/null 2>&1 || missing "a static busybox" busybox-static
PATH=$PATH:/sbin:/usr/sbin

# fetch SERIES: downloads and unpacks the series' cloud kernel; sets pkg and version
fetch() {
  local meta=linux-image-$1-cloud-amd64
  apt-cache show "$meta" >/dev/null 2>&1 || meta=linux-image-cloud-amd64
  pkg=$(apt-cache depends "$meta" | awk -v s="linux-image-$1" '$1 == "Depends:" && index($2, s) == 1 {print $2; exit}')
  [ -n "$pkg" ] || { echo "no cloud kernel of series $1 in the package lists (apt-get update?)" >&2; exit 1; }
  version=${pkg#linux-image-}
  if [ ! -f "$work/$pkg/boot/vmlinuz-$version" ]; then
    (cd "$work" && apt-get -q download "$pkg" >/dev/null 2>"$work/apt.log") || { cat "$work/apt.log" >&2; exit 1; }
    dpkg -x "$work/${pkg}"_*.deb "$work/$pkg"
    rm -f "$work/${pkg}"_*.deb
    depmod -b "$work/$pkg" "$version"
  fi
}

# modules MODULE...: copies modules and what they need into the initramfs, in load order
modules() {
  local name path
  for name in "$@"; do
    modprobe -d "$work/$pkg" -S "$version" --show-depends "$name" | awk '$1 == "insmod" {print $2}' | while read -r path; do
      local file
      file=$(basename "$path" .xz)
      [ -f "$root/modules/$file" ] && continue
      case $path in *.xz) xz -dc "$path" >"$root/modules/$file" ;; *) cp "$path" "$root/modules/$file" ;; esac
      echo "$file" >>"$root/modules/order"
    done
  done
}

build() {
  rm -rf "$work/bin"
  mkdir -p "$work/bin/tests"
  export CGO_ENABLED=0
  for p in $packages; do
    go test -c -o "$work/bin/tests/$p.test" "./$p"
  done
  if go list ./cmd/slipstream >/dev/null 2>&1; then
    go build -o "$work/bin/slipstream" ./cmd/slipstream
  else
    echo "no cmd/slipstream: the round trip is left out"
  fi
  go build -o "$work/bin/roundtrip" ./internal/kernels/roundtrip
  go build -o "$work/bin/powercut" ./internal/kernels/powercut
}

# initramfs: the guest's root, without /plan
initramfs() {
  root=$work/root-$version
  rm -rf "$root"
  mkdir -p "$root"/{bin,dev,proc,sys,modules,tests,etc}
  cp "$busybox" "$root/bin/busybox"
  cp "$here/init" "$root/init"
  chmod +x "$root/init"
  cp -r "$work/bin/tests/." "$root/tests/"
  for p in $packages; do [ -d "$p/testdata" ] && cp -r "$p/testdata" "$root/tests/"; done
  for f in slipstream roundtrip; do [ -f "$work/bin/$f" ] && cp "$work/bin/$f" "$root/bin/"; done
  : >"$root/modules/order"
  modules virtio_pci virtio_blk virtio_net xfs ext4 overlay
}

# pack: makes the initramfs of what is in its root; an emulated machine takes seconds to decompress one
pack() { (cd "$root" && find . -print0 | cpio --null -o -H newc --quiet) >"$work/init-$version.cpio"; }

# boot LOGFILE SETTINGS IMAGE: runs the guest to its end
boot() {
  local log=$1 settings=$2 image=$3
  mkdir -p "$root/plan"
  printf '%s\n' "$settings" >"$root/plan/settings"
  pack
  # Its status says nothing; the last line does.
  timeout -k 5 "$limit" qemu-system-x86_64 -accel "${ACCEL:-tcg,thread=multi}" -machine q35 -cpu max -smp 2 -m 1536M -nodefaults \
    -display none -no-reboot -serial stdio -kernel "$work/$pkg/boot/vmlinuz-$version" -initrd "$work/init-$version.cpio" \
    -append "console=ttyS0 panic=-1 quiet" -drive "file=$image,if=none,id=d0,format=raw,cache=unsafe" -device virtio-blk-pci,drive=d0 </dev/null >"$log" 2>&1 || true
}

image() { # FILESYSTEM
  img=$work/disk-$1.img
  rm -f "$img"
  truncate -s 768M "$img"
  "mkfs.$1" -q "$img"
}

table=() failures=0
row() { table+=("$(printf '%-26s %-6s %-12s %-8s %-6s %s' "$@")"); }

# report LOGFILE FILESYSTEM: turns a guest's RESULT lines into rows
report() {
  local log=$1 fs=$2 name level result rest tests skips ok
  tr -d '\r' <"$log" >"$log.txt"
  while read -r _ name level result rest; do
    read -r tests skips ok <<<"$rest"
    if [ "$result" = pass ] && [ "$name" = roundtrip ]; then
      row "$version" "$fs" "$name" "$level" pass "${ok#roundtrip: ok }"
    elif [ "$result" = pass ]; then
      row "$version" "$fs" "$name" "$level" pass "$tests tests, $skips skipped"
    else
      row "$version" "$fs" "$name" "$level" FAIL "see ${log#"$PWD"/}.txt"
      failures=$((failures + 1))
    fi
  done < <(grep '^RESULT ' "$log.txt" || true)
  if ! grep -q '^KERNEL-TESTS-DONE .* failed=0' "$log.txt"; then
    row "$version" "$fs" guest - FAIL "did not finish soundly, see ${log#"$PWD"/}.txt"
    failures=$((failures + 1))
    tail -n 60 "$log.txt"
  fi
}

# powercut FILESYSTEM: cuts the power again and again, on one disk
powercut() {
  local log=$work/log-$version-$1-powercut
  rm -rf "$root/plan" # the settings are on the kernel's command line
  pack
  echo "cutting the power of $version on $1, $cuts times: ${log#"$PWD"/}"
  "$work/bin/powercut" -kernel "$work/$pkg/boot/vmlinuz-$version" -initrd "$work/init-$version.cpio" -filesystem "$1" -image "$work/powercut-$1.img" \
    -rounds "$cuts" -seed "${SEED:-$(date +%s)}" ${POWERCUT_FLAGS:-} >"$log" 2>&1 || true
  if grep -q '^powercut: ok ' "$log"; then
    row "$version" "$1" powercut native pass "$(sed -n 's/^powercut: ok [a-z0-9]*: //p' "$log")"
  else
    row "$version" "$1" powercut native FAIL "see ${log#"$PWD"/}"
    failures=$((failures + 1))
    tail -n 40 "$log"
  fi
}

mkdir -p "$work"
build
for series in $kernels; do
  fetch "$series"
  initramfs
  for fs in $filesystems; do
    if [ -n "$levels" ]; then
      echo "booting $version on $fs"
      image "$fs"
      boot "$work/log-$version-$fs" "MODE=tests FILESYSTEM=$fs LEVELS=\"$levels\" REACTOR_TESTS='$reactor' EBPF_TESTS='$ebpf'" "$img"
      report "$work/log-$version-$fs" "$fs"
      rm -f "$img"
    fi
    if [ "$cuts" != 0 ] && [ -f "$work/bin/slipstream" ]; then powercut "$fs"; fi
  done
done
printf '\n%-26s %-6s %-12s %-8s %-6s %s\n' kernel disk test level result detail
printf '%s\n' "${table[@]}"
[ "$failures" = 0 ] || { echo "$failures failures"; exit 1; }
echo "all kernel tests passed"
