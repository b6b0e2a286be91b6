import test from 'ava';
import { acceptedStale } from './shared-name.ts';

const rows: { name: string; states: [token: string, revision: string][]; wrong: number }[] = [
  { name: 'nothing', states: [], wrong: 0 },
  {
    name: 'tokens that grow, heard of in another order',
    states: [
      ['9', '12'],
      ['5', '7'],
      ['11', '100'],
      ['5', '6'],
    ],
    wrong: 0,
  },
  {
    name: 'a write under an old token after one under a new one',
    states: [
      ['5', '6'],
      ['11', '12'],
      ['5', '13'],
    ],
    wrong: 1,
  },
];

for (const { name, states, wrong } of rows) {
  test(`states accepted wrongly: ${wrong} of ${name}`, t => {
    const found = acceptedStale(states.map(([token, revision]) => ({ name: 'feed', token, revision })));
    t.is(found.length, wrong);
  });
}
