// Keeps lines. Each write brings a fencing token; once a token has written, no lower one ever does again. That holds under
// any pause, delay or clock error of the writers, and needs nothing from them but their honesty about the token.
const { mkdirSync, readFileSync, writeFileSync, renameSync } = require('node:fs');
const { createServer } = require('node:http');
const { join } = require('node:path');

const file = join(process.env.DATA_DIR, 'journal.json');
const empty = { highest: '0', lines: [], refusals: 0, refused: [] };
const state = load();

createServer(async (request, response) => {
  const answer = (status, body) => {
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(`${JSON.stringify(body)}\n`);
  };
  if (request.url === '/metrics') {
    response.end(
      `# TYPE journal_stale_writes_refused_total counter\njournal_stale_writes_refused_total ${state.refusals}\n`,
    );
    return;
  }
  if (request.method !== 'POST') {
    answer(200, request.url === '/health' ? { ok: true } : state);
    return;
  }
  let line = '';
  for await (const chunk of request) line += chunk;
  const token = request.headers['x-fencing-token'];
  if (!/^\d+$/.test(token ?? '')) answer(400, { error: 'X-Fencing-Token: a number is needed' });
  else if (BigInt(token) < BigInt(state.highest)) {
    state.refusals++;
    state.refused = [...state.refused, { token, line }].slice(-1000);
    save();
    answer(409, { error: `token ${token} is stale: ${state.highest} has written since` });
  } else {
    state.highest = token;
    state.lines = [...state.lines, { token, line }].slice(-1000);
    save();
    answer(201, { lines: state.lines.length });
  }
}).listen(Number(process.env.PORT), process.env.BIND_ADDRESS);

function load() {
  mkdirSync(process.env.DATA_DIR, { recursive: true });
  try {
    return { ...empty, ...JSON.parse(readFileSync(file, 'utf8')) };
  } catch {
    return empty;
  }
}

/** Before it answers: what it has said yes to outlives it. */
function save() {
  writeFileSync(`${file}.tmp`, JSON.stringify(state), { flush: true });
  renameSync(`${file}.tmp`, file);
}
