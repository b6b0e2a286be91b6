import { readEntries } from './entries.js';

// Thanks everybody who signs while it runs. It prints what a real one would send.
let thanked = (await readEntries()).length;
console.log(`mailer waits for entries (${thanked} are there already)`);

const timer = setInterval(async () => {
  const entries = await readEntries();
  for (const { name } of entries.slice(thanked)) console.log(`thank you, ${JSON.stringify(name)}`);
  thanked = entries.length;
}, 1000);

for (const signal of ['SIGTERM', 'SIGINT']) {
  process.on(signal, () => {
    clearInterval(timer);
    console.log('mailer stops');
  });
}
