/** How a model's weights are kept in memory (checkpoint.ts `loadModel`, tensor/halves.ts). */
export const modelDtypes = ['float32', 'bfloat16', 'float16'] as const;
export type ModelDtype = (typeof modelDtypes)[number];
