// Log-probabilities and divergences over the vocabulary: a block a row. Kept for the backward pass are two numbers of each row: its
// largest logit, and ln sum exp of what the others fall short of it. Added up they would lose the digits that large logits have no
// room for.
#include "common.cuh"

struct Normaliser {
  float top, logMass;
};

// Of a row; every thread of the block gets it.
__device__ __forceinline__ Normaliser normaliserOf(const float* x, int width) {
  float top = -INFINITY;
  for (int i = threadIdx.x; i < width; i += blockDim.x) top = fmaxf(top, x[i]);
  top = blockMax(top);
  float mass = 0;
  for (int i = threadIdx.x; i < width; i += blockDim.x) mass += expf(x[i] - top);
  return {top, logf(blockSum(mass))};
}

// norms [N, 2], 0 where nobody wants it
extern "C" __global__ void losses_token(const float* logits, const int* ids, float* y, float* norms, int width) {
  const long long row = blockIdx.x;
  const float* x = logits + row * width;
  const Normaliser of = normaliserOf(x, width);
  if (threadIdx.x == 0) {
    y[row] = (x[min(max(ids[row], 0), width - 1)] - of.top) - of.logMass;
    if (norms) {
      norms[2 * row] = of.top;
      norms[2 * row + 1] = of.logMass;
    }
  }
}

extern "C" __global__ void losses_token_backward(const float* dy, const float* logits, const int* ids, const float* norms,
                                                 float* dlogits, int width) {
  const long long row = blockIdx.x;
  const float* x = logits + row * width;
  const float d = dy[row], top = norms[2 * row], logMass = norms[2 * row + 1];
  const int id = ids[row];
  for (int i = threadIdx.x; i < width; i += blockDim.x) {
    const float p = expf((x[i] - top) - logMass);
    dlogits[row * width + i] = i == id ? d - p * d : -p * d;
  }
}

// Divergences of student q and teacher p: 0 reverse KL, 1 forward KL, 2 cross entropy to the teacher. norms [N, 6]: of both; a and
// y - a, where a is the log-ratio at the student's likeliest token: the reverse KL is a + sum q (ln q - ln p - a), and where that
// token has nearly all of q, nothing large is left in the sum to round.
extern "C" __global__ void losses_divergence(const float* student, const float* teacher, float* y, float* norms, int width,
                                             int kind) {
  const long long row = blockIdx.x;
  const float *s = student + row * width, *t = teacher + row * width;
  const Normaliser q = normaliserOf(s, width), p = normaliserOf(t, width);
  float around = 0;
  if (kind == 0) {
    int likeliest = width;
    for (int i = threadIdx.x; i < width; i += blockDim.x)
      if (s[i] == q.top) likeliest = min(likeliest, i);
    likeliest = -blockMax(-likeliest);
    if (likeliest < width) around = -q.logMass - ((t[likeliest] - p.top) - p.logMass);
    if (!(fabsf(around) < INFINITY)) around = 0;
  }
  float sum = 0;
  for (int i = threadIdx.x; i < width; i += blockDim.x) {
    const float logq = (s[i] - q.top) - q.logMass, logp = (t[i] - p.top) - p.logMass;
    const float weight = expf(kind == 0 ? logq : logp);
    const float term = kind == 0 ? logq - logp - around : kind == 1 ? logp - logq : -logq;
    if (weight != 0) sum += weight * term;  // 0 times infinity is 0 here
  }
  const float rest = (float)blockSum((double)sum);
  if (threadIdx.x == 0) {
    y[row] = around + rest;
    float* kept = norms + 6 * row;
    kept[0] = q.top, kept[1] = q.logMass, kept[2] = p.top, kept[3] = p.logMass, kept[4] = around, kept[5] = rest;
  }
}

extern "C" __global__ void losses_divergence_backward(const float* dy, const float* student, const float* teacher,
                                                      const float* norms, float* dstudent, int width, int kind) {
  const long long row = blockIdx.x;
  const float *s = student + row * width, *t = teacher + row * width, *kept = norms + 6 * row;
  const float d = dy[row], topQ = kept[0], massQ = kept[1], topP = kept[2], massP = kept[3], around = kept[4], rest = kept[5];
  for (int i = threadIdx.x; i < width; i += blockDim.x) {
    const float logq = (s[i] - topQ) - massQ, logp = (t[i] - topP) - massP, q = expf(logq);
    const float slope = kind == 0 ? (q == 0 ? 0 : q * (logq - logp - around - rest)) : q - expf(logp);
    dstudent[row * width + i] = slope * d;
  }
}

// A probability; 0 where it would be denormal. A ratio to one that is not 0 then stays below the largest float.
__device__ __forceinline__ float probability(float log) { return log < -87.3f ? 0 : expf(log); }

// a KL(p|m) + b KL(q|m) with m = cp + (1 - c)q, or with kind 1 the total variation (ops/divergencesMixed.ts has the equations).
// The result is q times the derivative in q (up to a constant); ofStudent is q ln(q/m).
__device__ __forceinline__ float derivative(float logp, float logq, float p, float q, float b, float c, float k, int kind,
                                            float& ofStudent) {
  ofStudent = 0;
  if (kind == 1) return 0.5f * q * (q > p ? 1.f : q < p ? -1.f : 0.f);
  if (q == 0) return 0;
  const float mixture = (1 - c) + c * expf(logp - logq);  // m/q
  ofStudent = -q * logf(mixture);
  return b * ofStudent + k * p / mixture;
}

extern "C" __global__ void losses_mixture(const float* student, const float* teacher, float* y, float* centre, float* norms,
                                          int width, float a, float b, float c, float k, int kind) {
  const long long row = blockIdx.x;
  const float *s = student + row * width, *t = teacher + row * width;
  const Normaliser ofS = normaliserOf(s, width), ofT = normaliserOf(t, width);
  float value = 0, mean = 0;
  for (int i = threadIdx.x; i < width; i += blockDim.x) {
    const float logq = (s[i] - ofS.top) - ofS.logMass, logp = (t[i] - ofT.top) - ofT.logMass;
    const float q = probability(logq), p = probability(logp);
    float ofStudent;
    mean += derivative(logp, logq, p, q, b, c, k, kind, ofStudent);
    if (kind == 1) value += 0.5f * fabsf(p - q);
    else {
      value += b * ofStudent;
      if (a != 0 && p != 0) value += a * (-p * logf(c + (1 - c) * expf(logq - logp)));
    }
  }
  const float whole = (float)blockSum((double)value), slopes = (float)blockSum((double)mean);
  if (threadIdx.x == 0) {
    y[row] = whole;
    centre[row] = slopes;
    float* kept = norms + 4 * row;
    kept[0] = ofS.top, kept[1] = ofS.logMass, kept[2] = ofT.top, kept[3] = ofT.logMass;
  }
}

extern "C" __global__ void losses_mixture_backward(const float* dy, const float* student, const float* teacher,
                                                   const float* centre, const float* norms, float* dstudent, int width,
                                                   float b, float c, float k, int kind) {
  const long long row = blockIdx.x;
  const float *s = student + row * width, *t = teacher + row * width, *kept = norms + 4 * row;
  const float d = dy[row], mean = centre[row];
  for (int i = threadIdx.x; i < width; i += blockDim.x) {
    const float logq = (s[i] - kept[0]) - kept[1], logp = (t[i] - kept[2]) - kept[3];
    const float q = probability(logq), p = probability(logp);
    float ofStudent;
    dstudent[row * width + i] = (derivative(logp, logq, p, q, b, c, k, kind, ofStudent) - q * mean) * d;
  }
}
