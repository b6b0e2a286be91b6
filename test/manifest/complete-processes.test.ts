import test from 'ava';
import { completeProcesses } from '../../src/manifest/complete-processes.ts';
import { readAppDirectory } from '../../src/manifest/read-app-directory.ts';

const cases: [string, string[], boolean, string | null][] = [
  ['npm start where package.json has it', ['package.json', 'server.js'], true, 'npm start'],
  ['server.js before app.js', ['package.json', 'app.js', 'server.js'], false, 'node server.js'],
  ['index.js', ['package.json', 'index.js'], false, 'node index.js'],
  [
    'a Python app with requirements',
    ['requirements.txt', 'main.py', 'package.json'],
    true,
    'python3 main.py',
  ],
  ['a Python app without', ['app.py'], false, 'python3 app.py'],
  ['a Go program', ['go.mod', 'main.go'], false, './bin/sample'],
  ['a public directory', ['public/index.html'], false, 'static public'],
  ['a page at the root', ['index.html'], false, 'static .'],
  ['nothing in a directory of notes', ['notes/app.py.txt', 'README.md'], false, null],
];
for (const [name, files, packageStart, expected] of cases) {
  test(`recognises ${name}`, t => {
    const { spec, webSettings } = readAppDirectory(
      { 'hop3.toml': '[metadata]\nid = "sample"\n[run]\nstart-timeout = 7' },
      { directoryName: 'x' },
    );
    const [web] = completeProcesses(spec!, { packageStart, files }, webSettings).processes;
    const text = web?.kind === 'static' ? `static ${web.directory}` : web?.command;
    t.is(text ?? null, expected);
    if (web) t.like(web, { type: 'web', routed: true, startTimeoutSeconds: 7, scale: 1 });
  });
}

test('a toolchain that is named rules out the others', t => {
  const { spec } = readAppDirectory({ 'hop3.toml': '[build]\ntoolchain = "go"' }, { directoryName: 'x' });
  t.deepEqual(completeProcesses(spec!, { packageStart: true, files: ['package.json'] }).processes, []);
});

test('a spec with a process stays as it is', t => {
  const { spec } = readAppDirectory({ Procfile: 'worker: x' }, { directoryName: 'x' });
  t.is(completeProcesses(spec!, { packageStart: true, files: [] }), spec!);
});
