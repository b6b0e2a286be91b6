// A single writer: says every few milliseconds that it lives, on the clock that all processes of a machine share, and writes
// with its token to a resource that refuses old ones. `careful` stops when it finds that it was frozen; `careless` goes on.
const { appendFileSync } = require('node:fs');
const http = require('node:http');

const { HOP3_FENCING_TOKEN, HOP3_INSTANCE, HOP3_NODE, PROC_TYPE, RESOURCE, WITNESS } = process.env;
// Redundant ones have it in a file only, and nobody asks them for it here.
const token = HOP3_FENCING_TOKEN ?? '0';
const nowMs = () => Number(process.hrtime.bigint()) / 1e6;
const bornMs = nowMs().toFixed(3);
const agent = new http.Agent({ keepAlive: true, maxSockets: 4 });
let lastMs = nowMs();

say();
setInterval(say, 5);
write();
setInterval(write, 25);

function say() {
  const atMs = nowMs();
  if (PROC_TYPE === 'careful' && atMs - lastMs > 2000) process.exit(1);
  lastMs = atMs;
  appendFileSync(WITNESS, `${atMs.toFixed(3)} ${HOP3_INSTANCE} ${token} ${HOP3_NODE} ${bornMs}\n`);
}

function write() {
  http
    .request(`${RESOURCE}/${HOP3_INSTANCE}`, {
      method: 'PUT',
      agent,
      headers: { 'fencing-token': token, node: HOP3_NODE },
    })
    .on('response', response => response.resume())
    .on('error', () => undefined)
    .end();
}
