/** One bin of a reliability diagram: confidences in (low, high], the first bin closed at 0. */
export interface CalibrationBin {
  low: number;
  high: number;
  count: number;
  /** Mean confidence of the predictions in the bin; NaN when empty. */
  confidence: number;
  /** Share of them that were right; NaN when empty. */
  accuracy: number;
}

export interface Calibration {
  /** Expected calibration error in [0, 1]; NaN without predictions. */
  ece: number;
  bins: CalibrationBin[];
}

/**
 * Expected calibration error, Σ_b (n_b/n)·|accuracy_b − confidence_b| over bins of equal width.
 * Source: Guo et al., "On Calibration of Modern Neural Networks", 2017, eq. 3.
 *
 * For the token: confidence = max_v q(v|s_t), correct = the gold token is the argmax.
 * @throws RangeError if the lists differ in length or a confidence is outside [0, 1].
 */
export function calibration(
  confidences: ArrayLike<number>,
  correct: ArrayLike<boolean | number>,
  binCount = 10,
): Calibration {
  if (confidences.length !== correct.length) {
    throw new RangeError(`${confidences.length} confidences but ${correct.length} outcomes`);
  }
  const sums = Array.from({ length: binCount }, () => ({ count: 0, confidence: 0, right: 0 }));
  for (let i = 0; i < confidences.length; i++) {
    const confidence = confidences[i]!;
    if (!(confidence >= 0 && confidence <= 1))
      throw new RangeError(`confidence ${i} is ${confidence}, not in [0, 1]`);
    const bin = sums[Math.max(0, Math.ceil(confidence * binCount) - 1)]!;
    bin.count++;
    bin.confidence += confidence;
    bin.right += Number(correct[i]);
  }
  const gap = sums.reduce((sum, bin) => sum + Math.abs(bin.right - bin.confidence), 0);
  return {
    ece: gap / confidences.length,
    bins: sums.map((bin, b) => ({
      low: b / binCount,
      high: (b + 1) / binCount,
      count: bin.count,
      confidence: bin.confidence / bin.count,
      accuracy: bin.right / bin.count,
    })),
  };
}
