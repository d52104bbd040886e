import { advantages, needsActions, needsValues } from '../objectives/advantages.js';
import { type EmaState, noEma } from '../objectives/batchStatistics.js';
import type { ObjectiveConfig } from '../objectives/presets.js';
import { returnForms } from '../objectives/returns.js';
import { disposeState } from '../optim/state.js';
import type { Pieces } from '../pieces.js';
import type { Trajectory } from '../rollout/trajectory.js';
import type { Params } from '../tensor/params.js';
import { sampledBatch } from '../training/policyBatches.js';
import { predictValues, type ValueHead, valueFeatures } from '../training/valueHead.js';
import { valueRound } from '../training/valueRound.js';
import { type Condition, type Setting, warmupRounds } from './condition.js';

/** How the value head is trained on each round: the defaults of a configuration. */
const valueOptions = { lr: 0.01, steps: 20 };

/** A head after the warm-up, and the rounds with the values that it said on the way. */
interface Schooled {
  head?: ValueHead;
  rounds: readonly (readonly Trajectory[])[];
}

/**
 * What estimators learn before the first repeat, on rollouts of other prompts, through the code that training runs: a value
 * head, and the moving average of baseline `ema`. Afterwards both stay as they are. Call `dispose` at the end.
 */
export class Warmup {
  private readonly known = new Map<string, Schooled>();

  constructor(
    private readonly setting: Setting,
    private readonly condition: Condition,
  ) {}

  /** The moving average that baseline `ema` goes on from. */
  *ema(objective: ObjectiveConfig): Pieces<EmaState> {
    if (objective.baseline !== 'ema') return noEma;
    const { rounds } = yield* this.school(objective);
    return rounds.reduce((ema, round) => advantages({ ...sampledBatch(round), ema }, objective).ema!, noEma);
  }

  /** The rollouts of a repeat, with values where the objective reads them. */
  *valued(sampled: readonly Trajectory[], objective: ObjectiveConfig): Pieces<readonly Trajectory[]> {
    const { head } = yield* this.school(objective);
    if (!head) return sampled;
    const features = valueFeatures(this.setting.models.student, sampled, this.setting.batchSize);
    const values = predictValues(head, features);
    features.hidden.dispose();
    return sampled.map((t) => ({ ...t, values: values.get(t)! }));
  }

  /** The head of a baseline of actions, which knows none of the repeats. */
  *actions(objective: ObjectiveConfig): Pieces<Params | undefined> {
    const { head } = yield* this.school(objective);
    return head?.actions?.params;
  }

  private *school(objective: ObjectiveConfig): Pieces<Schooled> {
    const values = needsValues(objective);
    if (!values && objective.baseline !== 'ema') return { rounds: [] };
    // A head learns the return of λ = 1, whatever the baseline: estimators that differ in nothing else share one.
    const { needsKl } = returnForms[objective.returns];
    const target = {
      ...objective,
      returns: needsKl ? 'rao-blackwell' : 'sampled',
      baseline: '',
      gae_lambda: 1,
    };
    const key = JSON.stringify({ ...target, values, actions: needsActions(objective) });
    const known = this.known.get(key);
    if (known) return known;
    let head: ValueHead | undefined;
    const rounds: (readonly Trajectory[])[] = [];
    for (let i = 0; i < warmupRounds; i++) {
      const sampled = yield* this.condition.warmup(i);
      if (!values) {
        rounds.push(sampled);
        continue;
      }
      const round = valueRound(this.setting.models, sampled, objective, head, {
        ...valueOptions,
        microBatchSize: this.setting.batchSize,
      });
      head = round.head;
      rounds.push(round.trajectories);
    }
    const schooled = { rounds, ...(head && { head }) };
    this.known.set(key, schooled);
    return schooled;
  }

  dispose(): void {
    for (const { head } of this.known.values()) if (head) disposeState(head);
    this.known.clear();
  }
}
