import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { PayloadFile } from '../../manifest/read-plan-tree.ts';
import type { LocatedPlan } from '../../manifest/read-manifest.ts';
import type { StepPayload, StepSpec } from '../../model/plan.ts';
import type { Problem } from '../../model/problem.ts';
import { bytesText } from '../words.ts';

/** Of one submission in all, as the admin API takes it. */
const MOST_BYTES = 32 * 1024 * 1024;

/** The plan with what is in its payload files, each exactly as it is; or why one can't be sent. */
export async function withPayloads(
  plan: LocatedPlan,
  folder: string,
): Promise<{ plan: LocatedPlan; problems: Problem[] }> {
  const steps = [...plan.spec.steps];
  const problems: Problem[] = [];
  for (const file of plan.payloadFiles) {
    const payload = await payloadIn(resolve(folder, file.file), file.mimeType);
    const step = steps[file.step];
    if (typeof payload === 'string') problems.push(problemOf(plan, file, payload));
    else if (step !== undefined) steps[file.step] = withPayload(step, file.of, payload);
  }
  return { plan: { ...plan, spec: { ...plan.spec, steps } }, problems };
}

function withPayload(step: StepSpec, of: PayloadFile['of'], payload: StepPayload): StepSpec {
  if (of === 'work') return { ...step, payload };
  return step.compensate === undefined ? step : { ...step, compensate: { ...step.compensate, payload } };
}

/** The payload, or what is wrong with its file. */
async function payloadIn(path: string, mimeType: string): Promise<StepPayload | string> {
  try {
    const bytes = await readFile(path);
    if (bytes.length > MOST_BYTES) {
      return `has ${bytesText(bytes.length)}: a plan and its payloads may have ${bytesText(MOST_BYTES)} in all`;
    }
    return { mimeType, text: new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes) };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return `there is no file ${path}`;
    if (code === 'ERR_ENCODING_INVALID_ENCODED_DATA') return `${path} is not text in UTF-8`;
    return `can't be read: ${error instanceof Error ? error.message : String(error)}`;
  }
}

function problemOf({ file }: LocatedPlan, { line, column, field }: PayloadFile, message: string): Problem {
  return { file, line, column, field, message, hint: null };
}
