import { oneAtATime, reference } from '../oracle/digest.js';
import type { EstimatorRow } from '../oracle/oracle.js';

/** What every choice does to the variance at equal computation, the others held, as an SVG file. */
export async function oracleFigure(rows: readonly EstimatorRow[]): Promise<string> {
  const { choiceFigure } = await import('../report/choiceFigure.js');
  const { standaloneSvg } = await import('../report/figure.js');
  const sections = oneAtATime(rows);
  const own = sections
    .flatMap(({ options }) => options)
    .find(({ row }) => Object.entries(reference).every(([name, value]) => row[name as 'alpha'] === value))!;
  const figure = choiceFigure(
    sections.flatMap(({ axis, options }) =>
      options.map(({ label, row }) => ({
        axis,
        label,
        value: row.variance_per_compute,
        bias: row.relative_bias,
        unbiased: row.claims_unbiased,
      })),
    ),
    {
      name: 'oracle',
      title: 'One choice at a time: variance per unit of computation',
      axis: `variance × cost of a sample (dashed: single step, ${reference.returns}, ${reference.baseline}, ${reference.sampling})`,
      reference: own.row.variance_per_compute,
    },
  );
  return standaloneSvg(figure.svg);
}
