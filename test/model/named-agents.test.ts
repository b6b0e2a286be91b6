import test from 'ava';
import { agentOfSubject, holderOfCommand, isCommand, subjectOfAgent } from '../../src/model/named-agents.ts';

test('a name and its subject stand for each other', t => {
  t.is(subjectOfAgent('nightly-report'), 'agent/nightly-report');
  t.is(agentOfSubject('agent/nightly-report'), 'nightly-report');
});

test('what else can be owned is no named agent', t => {
  for (const subject of ['instance/agent/web/0', 'agents/a', 'step/agent/1'])
    t.is(agentOfSubject(subject), null);
});

test('a command is told from a program by who it says it is', t => {
  t.true(isCommand(holderOfCommand('1234-ab')));
  t.false(isCommand('writer-1'));
});
