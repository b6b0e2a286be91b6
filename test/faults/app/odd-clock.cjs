// Keeps FILE like /proc/uptime, on a clock that runs RATE times as fast from now on: odd-clock.cjs FILE RATE.
const { openSync, readFileSync, writeSync } = require('node:fs');

const [, , file, rate] = process.argv;
const descriptor = openSync(file, 'w');
const startedMs = performance.now();
const startSeconds = Number.parseFloat(readFileSync('/proc/uptime', 'latin1'));
tell();
setInterval(tell, 4);

function tell() {
  const seconds = startSeconds + ((performance.now() - startedMs) / 1000) * Number(rate);
  writeSync(descriptor, `${(Math.floor(seconds * 100) / 100).toFixed(2)} 0.00\n`, 0);
}
