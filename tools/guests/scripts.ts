/** What /init of our initramfs images does after mounting /proc and /sys. */

/** Busybox' poweroff asks init, which this script is. */
const SIGNALS = `trap "poweroff -f" USR2
trap "reboot -f" TERM
trap "halt -f" USR1
`;
/** Without ACPI a PC cannot switch itself off: it is reset. */
const LEAVE = `if [ -d /sys/firmware/acpi ]; then poweroff -f; else reboot -f; fi
`;

const SHELL = `${SIGNALS}echo "Leave this shell with exit, Ctrl-D or poweroff: the machine powers off."
setsid cttyhack sh < /dev/console &
wait
${LEAVE}`;

/**
 * Reads /proc/interrupts three times, with work for virtio devices in between where there are any. The marks around the reading go out by the kernel's
 * own console, at that very instant and without a new process; what was read is printed afterwards.
 */
const CHECK = `echo "INIT $(uname -r) cpus=$(grep -c ^processor /proc/cpuinfo)"
echo "clocksource $(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)"
for i in 1 2 3; do
  [ -e /dev/hwrng ] && dd if=/dev/hwrng of=/dev/null bs=64 count=20 2> /dev/null
  [ -e /dev/vda ] && dd if=/dev/vda of=/dev/null bs=64k 2> /dev/null
  sleep 0.04
  echo "<1>MARK begin $i" > /dev/kmsg
  counts="$(cat /proc/interrupts)"
  echo "<1>MARK end $i" > /dev/kmsg
  echo "INTERRUPTS $i"
  echo "$counts"
done
echo "END"
${LEAVE}`;

export const SCRIPTS = { shell: SHELL, check: CHECK } as const;
