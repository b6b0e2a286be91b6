import type { ApiClient } from '../../api/client.ts';
import { CliFailure, EXIT } from '../failure.ts';

/** The indexes of steps that are named by number, or as the plan's file names them. @throws CliFailure (not found) */
export async function stepsNamed(
  client: ApiClient,
  plan: string,
  words: readonly string[],
  signal: AbortSignal,
): Promise<number[]> {
  if (words.every(isNumber)) return words.map(Number);
  const { items } = await client.stepsOf(plan, {}, signal);
  return words.map(word => {
    const found = isNumber(word) ? Number(word) : items.find(({ name }) => name === word)?.index;
    if (found !== undefined) return found;
    throw new CliFailure(EXIT.notFound, `${plan} has no step "${word}"`, {
      hint: `hop3-agent batch status ${plan} --steps lists them`,
    });
  });
}

function isNumber(word: string): boolean {
  return /^\d{1,6}$/.test(word);
}
