// Writes a line a second, with the token under which it runs. It never asks whether it still may: the journal knows.
const { request } = require('node:http');

const { HOP3_FENCING_TOKEN, HOP3_NODE, JOURNAL_HOST, JOURNAL_URL } = process.env;
let count = 0;

setInterval(
  () => {
    const line = `${HOP3_NODE} ${++count}`;
    const writing = request(
      JOURNAL_URL,
      {
        method: 'POST',
        headers: { host: JOURNAL_HOST, 'x-fencing-token': HOP3_FENCING_TOKEN },
        timeout: 2000,
      },
      response => {
        response.resume();
        console.log(
          `${line}: ${response.statusCode === 201 ? 'written' : `refused (${response.statusCode})`}`,
        );
      },
    );
    writing.on('timeout', () => writing.destroy(new Error('no answer within 2 s')));
    writing.on('error', error => console.error(`${line}: ${error.message}`));
    writing.end(line);
  },
  Number(process.env.EVERY_MS ?? 1000),
);
