import { writeFileSync } from 'node:fs';
import { jsonSchema } from '../src/manifest/app-manifest.ts';

/** `node --import=tsx test/schema.ts` writes the JSON Schema that ships for editors. */
const file = new URL('../manifests/app.schema.json', import.meta.url);
writeFileSync(file, `${JSON.stringify(jsonSchema(), null, 2)}\n`);
