import test from 'ava';
import { History } from './history.ts';

const rows: { name: string; happens: (history: History) => void; possible: boolean }[] = [
  {
    name: 'a write without an answer that was read, by one after the other',
    happens: history => {
      history.unanswered('a', 0);
      history.read(null, 1, 2);
      history.read('a', 3, 4);
      history.read('a', 5, 6);
    },
    possible: true,
  },
  {
    name: 'dozens of writes without an answer that nobody read',
    happens: history => {
      for (let index = 0; index < 60; index++) history.unanswered(`${index}`, index);
      history.written('a', 70, 80);
      history.read('a', 90, 91);
    },
    possible: true,
  },
  {
    name: 'a write without an answer that came late, over a later one',
    happens: history => {
      history.unanswered('a', 0);
      history.written('b', 1, 2);
      history.read('b', 3, 4);
      history.read('a', 5, 6);
    },
    possible: true,
  },
  {
    name: 'a write without an answer that was read, and then not',
    happens: history => {
      history.unanswered('a', 0);
      history.read('a', 1, 2);
      history.read(null, 3, 4);
    },
    possible: false,
  },
  {
    name: 'a write without an answer that was read before it began',
    happens: history => {
      history.read('a', 0, 1);
      history.unanswered('a', 2);
    },
    possible: false,
  },
  {
    name: 'a write that was refused, and read all the same',
    happens: history => {
      history.written('a', 0, 1);
      history.read('refused', 2, 3);
    },
    possible: false,
  },
  {
    name: 'one node that still answers with what another has seen replaced',
    happens: history => {
      history.written('a', 0, 1);
      history.written('b', 2, 10);
      history.read('b', 3, 4);
      history.read('a', 5, 6);
    },
    possible: false,
  },
];

for (const { name, happens, possible } of rows) {
  test(`${possible ? 'could' : 'could not'} have happened: ${name}`, t => {
    const history = new History();
    happens(history);
    t.is(history.trouble() === null, possible);
  });
}
