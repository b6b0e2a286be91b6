/**
 * What is process 1 of the namespace that a guarded command runs in (bash, as `guard FILE COMMAND BOOT-ID`, with its gate on
 * descriptor 3). It looks at the deadline in FILE once a second and when the one it knows has come, so that arming is one
 * write for all of them, and an earlier deadline counts as well. When it ends, by itself or by anybody's hand, the kernel
 * kills everything in the namespace.
 *
 * What becomes the command says so at the gate: bash loses signals that come while it starts or makes a process.
 *
 * It counts in milliseconds of /proc/uptime, which counts suspension, and ends 20 ms early: that clock has steps of 10.
 */
export const GUARD_SCRIPT = `
file=$1 command=$2 boot=$3
look() {
  until=0
  if read -r id at < "$file" && [ "$id" = "$boot" ]; then until=$at; fi
  read -r up _ < /proc/uptime
  left=$((until - 10#\${up/./} * 10 - 20))
} 2>/dev/null
step() {
  look
  if [ $left -le 0 ]; then
    echo "hop3: killed by the guard: the right of this node to run it has ended" >&2
    exit 137
  fi
  if [ $left -gt $1 ]; then left=$1; fi
  printf -v seconds %d.%03d $((left / 1000)) $((left % 1000))
}
others() {
  for each in /proc/[0-9]*; do
    if [ "$each" != /proc/1 ]; then return 0; fi
  done
  return 1
}
say_so='trap "" PIPE; echo >&7 2>/dev/null; trap - PIPE; exec 7>&-; exec /bin/sh -c "$1"'
asked=
trap asked=1 TERM
trap : INT HUP
read -r go <&3 || exit 125
if [ "$asked" ]; then exit 143; fi
look
if [ $left -le 0 ]; then
  echo "hop3: not started: the guard is not armed" >&2
  exit 125
fi
exec 7>&3 3<> <(:) 5>&1 6>&2 4< <(
  trap : TERM INT HUP
  exec 2>/dev/null 3<&- 4<&-
  /bin/sh -c "$say_so" hop3 "$command" >&5 2>&6 5>&- 6>&-
  echo $?
)
exec >/dev/null 5>&- 6>&- 7>&-
code=
while step 1000; do
  part=
  read -r -t "$seconds" part <&4
  status=$?
  # Its time may have been over in the middle of a line.
  code=$code$part
  if [ $status -eq 0 ]; then break; fi
  # Nobody is left to say how it ended.
  if [ $status -le 128 ]; then if [ "$asked" ]; then code=143; else code=137; fi; break; fi
done
while [ "$asked" ] && others && step 20; do read -r -t "$seconds" <&3; done
exit "$code"
`;
