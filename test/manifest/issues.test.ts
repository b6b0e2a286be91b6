import test from 'ava';
import { z } from 'zod';
import { explained, findingsOf } from '../../src/manifest/issues.ts';
import { fieldOf } from '../../src/manifest/tree.ts';

const schema = z.strictObject({
  name: z.string().describe('a short name'),
  size: z.int().min(1).max(9),
  colour: z.enum(['red', 'green']).optional(),
  where: z
    .union([z.string(), z.strictObject({ node: z.string() })])
    .optional()
    .describe('a node'),
  parts: z.array(z.strictObject({ weight: z.number() })).optional(),
});

const right = { name: 'a', size: 1 };
const rows: [what: string, data: unknown, said: string[]][] = [
  ['nothing is wrong', right, []],
  ['something is missing', { size: 1 }, ['name is missing (a short name)']],
  ['a key has no value', { ...right, name: null }, ['name has no value (a short name)']],
  ['a value is of another type', { ...right, name: 7 }, ['name must be text, not 7 (a short name)']],
  ['a number is out of bounds', { ...right, size: 10 }, ['size must be at most 9, not 10']],
  [
    'a word is misspelt',
    { ...right, colour: 'gren' },
    ['colour must be one of red, green, not "gren" (did you mean "green"?)'],
  ],
  ['a section is misspelt', { ...right, sise: 1 }, ['sise unknown section (did you mean "size"?)']],
  [
    'a key further down is misspelt',
    { ...right, parts: [{ weigth: 1, weight: 2 }] },
    ['parts[0].weigth unknown key (did you mean "weight"?)'],
  ],
  [
    'of several forms the one that was meant is explained',
    { ...right, where: { node: 1 } },
    ['where.node must be text, not 1'],
  ],
  ['several things are wrong at once', {}, ['name is missing (a short name)', 'size is missing']],
];
for (const [what, data, said] of rows) {
  test(`${what}: it is told where, and what would be right`, t => {
    const result = schema.safeParse(data, { reportInput: true });
    const findings = findingsOf(schema, data);
    t.deepEqual(
      findings.map(
        ({ path, message, hint }) => `${fieldOf(path)} ${message}${hint === null ? '' : ` (${hint})`}`,
      ),
      said,
    );
    t.deepEqual(result.success ? [] : explained(schema, result.error, 'unknown section'), findings);
  });
}
