import { UsageError } from '../errors.js';

/** The `--set switch=value` of the objective, values in YAML; `resolveObjective` checks them. */
export async function switchesFrom(sets: readonly string[]): Promise<Record<string, unknown>> {
  const { objectiveSchema } = await import('../objectives/presets.js');
  const { parse } = await import('yaml');
  const switches = sets.map((set): [string, unknown] => {
    const at = set.indexOf('=');
    if (at < 1) throw new UsageError(`--set ${set}: expected switch=value, for example --set alpha=0`);
    // As in a configuration file, where the switches stand under `objective`.
    const name = set.slice(0, at).replace(/^objective\./, '');
    if (!Object.hasOwn(objectiveSchema.shape, name)) {
      throw new UsageError(
        `--set ${set}: no such switch; expected one of ${Object.keys(objectiveSchema.shape).join(', ')}`,
      );
    }
    try {
      return [name, parse(set.slice(at + 1), { logLevel: 'error' })];
    } catch (error) {
      throw new UsageError(`--set ${set}: not a YAML value (${(error as Error).message.split('\n')[0]})`);
    }
  });
  return Object.fromEntries(switches);
}
