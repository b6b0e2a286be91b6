import { deploymentMutants } from './deployments.ts';
import { evidenceMutants } from './evidence.ts';
import { exclusiveMutants } from './exclusive.ts';
import { nameMutants } from './names.ts';
import { mutants, type Mutant } from './ownership.ts';
import { planWatchMutants } from './plan-watch.ts';
import { planMutants } from './plans.ts';
import { simulatedMutants } from './simulated.ts';
import { portMutants } from './ports.ts';
import { stepMutants } from './steps.ts';
import { stopMutants } from './stops.ts';
import { workerMutants } from './workers.ts';

export const allMutants: Mutant[] = [
  ...mutants,
  ...deploymentMutants,
  ...evidenceMutants,
  ...exclusiveMutants,
  ...nameMutants,
  ...planWatchMutants,
  ...planMutants,
  ...portMutants,
  ...simulatedMutants,
  ...stepMutants,
  ...stopMutants,
  ...workerMutants,
];

/** How often the code has the text that a mutant takes out: it has to be once. */
export function timesFound({ search }: Mutant, code: string): number {
  return code.split(search).length - 1;
}
