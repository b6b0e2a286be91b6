import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Ajv } from 'ajv';
import test from 'ava';
import { parse } from 'yaml';
import { jsonSchema } from '../../src/manifest/app-manifest.ts';
import { readManifests } from '../../src/manifest/read-manifest.ts';
import { runnable } from '../../src/manifest/runnable.ts';

const directory = fileURLToPath(new URL('../../manifests', import.meta.url));
const files = readdirSync(directory).filter(name => name.endsWith('.yaml'));
const texts = files.map(file => ({ file, text: readFileSync(`${directory}/${file}`, 'utf8') }));
const shipped = JSON.parse(readFileSync(`${directory}/app.schema.json`, 'utf8')) as object;

test('the samples are right, by themselves and together, and can be run', t => {
  const { apps, problems } = readManifests(texts);
  t.deepEqual(problems, []);
  t.deepEqual(apps.map(({ spec }) => spec.app).sort(), ['clock', 'guestbook', 'hello']);
  for (const { spec } of apps) {
    t.deepEqual(runnable(spec), []);
    t.true(spec.source?.kind === 'path' && existsSync(`${directory}/${spec.source.path}`));
  }
});

test('the shipped JSON Schema is the generated one (node --import=tsx test/schema.ts)', t => {
  t.deepEqual(shipped, JSON.parse(JSON.stringify(jsonSchema())));
});

test('the JSON Schema takes the samples and refuses what the reader refuses', t => {
  const validate = new Ajv({ strict: false }).compile(shipped);
  for (const { text } of texts) t.true(validate(parse(text)), JSON.stringify(validate.errors));
  for (const text of [
    '{}',
    'metadata: {id: Bad}',
    'metadata: {id: blog}\nrum: {}',
    'metadata: {id: blog}\nscale: {web: 1.5}',
  ]) {
    t.false(validate(parse(text)), text);
  }
});
