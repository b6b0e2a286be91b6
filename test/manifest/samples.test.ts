import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Ajv } from 'ajv';
import test from 'ava';
import { parse } from 'yaml';
import { jsonSchema } from '../../src/manifest/app-manifest.ts';
import { planJsonSchema } from '../../src/manifest/plan-manifest.ts';
import { readManifests } from '../../src/manifest/read-manifest.ts';
import { runnable } from '../../src/manifest/runnable.ts';
import { checkSubmission } from '../../src/workflow/check-submission.ts';
import { checkCron } from '../../src/workflow/cron.ts';

const directory = fileURLToPath(new URL('../../manifests', import.meta.url));
const checks = { plan: checkSubmission, schedule: checkCron };
const texts = textsIn(directory);
const planTexts = textsIn(`${directory}/plans`);
const shipped = shippedSchema('app');
const shippedForPlans = shippedSchema('plan');

test('the samples are right, by themselves and together, and can be run', t => {
  const { apps, problems } = readManifests(texts);
  t.deepEqual(problems, []);
  t.deepEqual(apps.map(({ spec }) => spec.app).sort(), ['clock', 'guestbook', 'hello']);
  for (const { spec } of apps) {
    t.deepEqual(runnable(spec), []);
    t.true(spec.source?.kind === 'path' && existsSync(`${directory}/${spec.source.path}`));
  }
});

test('the sample plans are right, and their payloads are there', t => {
  const { plans, problems } = readManifests(planTexts, checks);
  t.deepEqual(problems, []);
  t.deepEqual(plans.map(({ spec }) => spec.title).sort(), ['Nightly', 'Report on the sample apps']);
  const files = plans.flatMap(({ payloadFiles }) => payloadFiles);
  for (const { file } of files) t.true(existsSync(`${directory}/plans/${file}`), file);
});

test('the shipped JSON Schemas are the generated ones (node --import=tsx test/schema.ts)', t => {
  t.deepEqual(shipped, JSON.parse(JSON.stringify(jsonSchema())));
  t.deepEqual(shippedForPlans, JSON.parse(JSON.stringify(planJsonSchema())));
});

test('the JSON Schema of plans takes the samples and refuses what the reader refuses', t => {
  const validate = new Ajv({ strict: false }).compile(shippedForPlans);
  for (const { text } of planTexts) t.true(validate(parse(text)), JSON.stringify(validate.errors));
  for (const text of [
    'steps: []',
    'kind: Plan',
    'kind: Plan\nsteps: [{}]',
    'kind: Plan\nsteps: [{agent: noop, depend-on: [a]}]',
    'kind: Plan\nsteps: [{agent: noop, timeout: soon}]',
  ]) {
    t.false(validate(parse(text)), text);
    t.true(readManifests([{ file: 'a', text }], checks).problems.length > 0, text);
  }
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

function textsIn(folder: string): { file: string; text: string }[] {
  const files = readdirSync(folder).filter(name => name.endsWith('.yaml'));
  return files.map(file => ({ file, text: readFileSync(`${folder}/${file}`, 'utf8') }));
}

function shippedSchema(name: string): object {
  return JSON.parse(readFileSync(`${directory}/${name}.schema.json`, 'utf8')) as object;
}
