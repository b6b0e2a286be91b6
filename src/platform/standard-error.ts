import { fstatSync, writeSync } from 'node:fs';
import { Writable } from 'node:stream';
import { isatty } from 'node:tty';

const STANDARD_ERROR = 2;

/**
 * Where the log goes. When that is a file, a write that fails (a full disk) would end the agent: what can't be written is lost
 * instead, and told as soon as something can. Pipes and terminals are Node's own stream.
 */
export function standardError(): NodeJS.WritableStream {
  const stat = fstatSync(STANDARD_ERROR);
  const isFile = stat.isFile() || (stat.isCharacterDevice() && !isatty(STANDARD_ERROR));
  return isFile ? lossyStream(bytes => writeWhole(STANDARD_ERROR, bytes)) : process.stderr;
}

/** Loses what `write` throws at. */
export function lossyStream(write: (bytes: Buffer) => void): Writable {
  let lost = 0;
  let reason = '';
  return new Writable({
    write(chunk: Buffer, _encoding, done) {
      try {
        if (lost > 0)
          write(Buffer.from(`hop3-agent: ${lost} lines of this log could not be written: ${reason}\n`));
        lost = 0;
        write(chunk);
      } catch (error) {
        lost++;
        reason = (error as Error).message;
      }
      done();
    },
  });
}

function writeWhole(descriptor: number, bytes: Buffer): void {
  for (let written = 0; written < bytes.length;) written += writeSync(descriptor, bytes, written);
}
