#!/bin/sh
# Start the enclave's virtual machine; standard input and output are its door.
#   GG_ENCLAVE_COMMAND="deploy/tdx/run-vm.sh OVMF.fd bzImage initramfs.cpio console.log" gg worker run ...
# Firmware, kernel, initramfs, command line, processors and memory are all measured: change one, change the measurement.
# Needs QEMU 10.1 or later with TDX, and Intel's quote generation service listening on vsock port 4050 of the host.
set -eu
firmware=$1 kernel=$2 initramfs=$3 log=$4
exec qemu-system-x86_64 \
	-accel kvm -cpu host -smp 4 -m 8G \
	-object '{"qom-type":"tdx-guest","id":"tdx0","sept-ve-disable":true,"quote-generation-socket":{"type":"vsock","cid":"2","port":"4050"}}' \
	-machine q35,kernel-irqchip=split,confidential-guest-support=tdx0 \
	-bios "$firmware" -kernel "$kernel" -initrd "$initramfs" \
	-append "console=hvc0 panic=-1 quiet" \
	-nodefaults -display none -nic none -no-reboot \
	-device virtio-serial-pci \
	-chardev "stdio,id=door,signal=off" -device virtserialport,chardev=door,name=goldengrain.door \
	-chardev "file,id=log,path=$log" -device virtconsole,chardev=log
