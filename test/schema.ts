import { writeFileSync } from 'node:fs';
import { format, resolveConfig } from 'prettier';
import { jsonSchema } from '../src/manifest/app-manifest.ts';
import { planJsonSchema } from '../src/manifest/plan-manifest.ts';

/** `node --import=tsx test/schema.ts` writes the JSON Schemas that ship for editors. */
for (const [name, schema] of Object.entries({ app: jsonSchema(), plan: planJsonSchema() })) {
  const file = new URL(`../manifests/${name}.schema.json`, import.meta.url);
  const settings = await resolveConfig(file);
  writeFileSync(file, await format(JSON.stringify(schema, null, 2), { ...settings, parser: 'json' }));
}
