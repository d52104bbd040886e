import { expect, it } from 'vitest';
import { exposurePanel } from '../../experiments/exposureCurves.js';
import type { Student } from '../../experiments/students.js';

const student = (name: string, excess: (number | null)[] | undefined): Student =>
  ({ name, curves: { ...(excess && { exposure: { excess } }) } }) as unknown as Student;

it('mean and sample deviation over the runs, as far as all of them go', () => {
  const groups = [
    ['a', [student('a1', [0, 10, 20, 4]), student('a2', [0, 30, null, 8])]],
    ['b', [student('b1', [1, 2])]],
  ] as const;
  const { csv, svg } = exposurePanel(groups, { longest: 3, shown: new Map([['a', 1]]) });
  expect(csv.trimEnd().split(/\r?\n/)).toEqual([
    'method,step,ex_acc_err,deviation,runs',
    'a,1,0,0,2',
    'a,2,20,14.142135623730951,2',
    'b,1,1,0,1',
    'b,2,2,0,1',
  ]);
  expect(svg).toContain('Excess accumulated error');
  expect(() => exposurePanel([['c', [student('c1', undefined)]]], { longest: 3, shown: new Map() })).toThrow(
    'c1: its evaluation has no ex_acc_err; measure it again',
  );
});
