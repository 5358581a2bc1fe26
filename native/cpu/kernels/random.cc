// Random numbers and batch sampling: Philox4x32-10 on kLanes blocks at once, giving exactly the integers of philox.h.
// Dropout and uniform numbers have the bits of ref; normal numbers are computed in float, within a few ulp of it.
#include "../../philox.h"
#include "../simd.h"
#include "kernels.h"

namespace gradline::cpu::GL_ISA {
namespace {

typedef uint64_t WideVec __attribute__((vector_size(kLanes * 4)));  // kLanes / 2 numbers

GL_SIMD UVec set1u(uint32_t x) { return x - UVec{}; }

// Products of the even lanes of a with b, 64 bits each; the odd lanes are ignored.
GL_SIMD WideVec mulEven(WideVec a, uint32_t b) {
#if defined(__AVX512F__)
  return (WideVec)_mm512_maskz_mul_epu32(0xff, (__m512i)a, (__m512i)set1u(b));
#elif defined(__AVX2__)
  return (WideVec)_mm256_mul_epu32((__m256i)a, (__m256i)set1u(b));
#elif defined(__SSE2__)
  return (WideVec)_mm_mul_epu32((__m128i)a, (__m128i)set1u(b));
#else
  return (a & 0xffffffff) * uint64_t{b};
#endif
}

GL_SIMD void mulWide(UVec a, uint32_t b, UVec &high, UVec &low) {
  const WideVec even = mulEven((WideVec)a, b), odd = mulEven((WideVec)a >> 32, b);
  const uint64_t upper = 0xffffffff00000000;
  high = (UVec)((even >> 32) | (odd & upper));
  low = (UVec)((even & ~upper) | (odd << 32));
}

struct Blocks {
  UVec v[4];
};

// philox4x32 of philox.h on one counter per lane.
GL_SIMD Blocks philox(UVec c0, UVec c1, UVec c2, UVec c3, uint64_t seed) {
  uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; round++) {
    UVec high0, low0, high2, low2;
    mulWide(c0, 0xD2511F53, high0, low0);
    mulWide(c2, 0xCD9E8D57, high2, low2);
    c0 = high2 ^ c1 ^ set1u(k0);
    c2 = high0 ^ c3 ^ set1u(k1);
    c1 = low2;
    c3 = low0;
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  return {{c0, c1, c2, c3}};
}

// randomBlock of philox.h for blocks that share the upper 32 bits.
GL_SIMD Blocks randomBlocks(const StepState &step, uint32_t stream, Purpose purpose, UVec block, uint64_t upper) {
  const uint32_t last = static_cast<uint32_t>(purpose) << 24 | static_cast<uint32_t>(upper & 0xff) << 16 |
                        static_cast<uint32_t>((step.step >> 32) & 0xffff);
  return philox(block, set1u(stream), set1u(static_cast<uint32_t>(step.step)), set1u(last), step.seed);
}

// a0 b0 a1 b1 ... of the lower or the upper halves.
GL_SIMD Vec zip(Vec a, Vec b, bool upper) {
  const int from = upper ? kLanes / 2 : 0;
#if defined(__clang__)
  Vec r;
  for (int i = 0; i < kLanes; i++) r[i] = i & 1 ? b[from + i / 2] : a[from + i / 2];
  return r;
#else
  const IVec lane = laneIndex();
  return __builtin_shuffle(a, b, (lane >> 1) + (lane & 1) * kLanes + from);
#endif
}

// Elements [begin, end) of a tensor, begin a multiple of 4 * kLanes: transform(blocks, out) makes four vectors of
// kLanes blocks, still one per word of a block; consume(i, count, vector) gets them in the order of elements.
template <class Transform, class Consume>
GL_SIMD void eachRandom(const StepState &step, uint32_t stream, Purpose purpose, int64_t begin, int64_t end,
                        Transform transform, Consume consume) {
  for (int64_t i = begin; i < end; i += 4 * kLanes) {
    const uint64_t block = static_cast<uint64_t>(i) / 4;
    const UVec lanes = set1u(static_cast<uint32_t>(block)) + (UVec)laneIndex();
    const Blocks bits = randomBlocks(step, stream, purpose, lanes, block >> 32);
    Vec w[4];
    transform(bits, w);
    const Vec even[2] = {zip(w[0], w[2], false), zip(w[0], w[2], true)};
    const Vec odd[2] = {zip(w[1], w[3], false), zip(w[1], w[3], true)};
    for (int k = 0; k < 4; k++) {
      const int64_t at = i + k * kLanes;
      if (at < end) consume(at, smaller(kLanes, end - at), zip(even[k / 2], odd[k / 2], k & 1));
    }
  }
}

GL_SIMD Vec uniform(UVec bits) { return toFloat((IVec)(bits >> 8)) * 0x1p-24f; }

void runDropout(const Op &op, int64_t begin, int64_t end, void *) {
  const double rate = op.attr[attr::dropout::rate];
  const uint32_t stream = static_cast<uint32_t>(op.attr[attr::dropout::stream]);
  const int32_t threshold = static_cast<int32_t>(dropThreshold(rate));
  const float factor = static_cast<float>(1 / (1 - rate));
  const float *x = op.in[0].as<float>();
  float *y = op.out[0].as<float>();
  eachRandom(
      *op.in[1].as<StepState>(), stream, Purpose::dropout, begin * kChunk, smaller(end * kChunk, op.out[0].size),
      [](const Blocks &bits, Vec(&out)[4]) GL_LAMBDA {
        for (int k = 0; k < 4; k++) out[k] = (Vec)(bits.v[k] >> 8);
      },
      [&](int64_t i, int64_t count, Vec bits) GL_LAMBDA {
        store(y + i, select(bitsOf(bits) >= threshold, load(x + i, count) * factor, set1(0.0f)), count);
      });
}

void runUniform(const Op &op, int64_t begin, int64_t end, void *) {
  namespace a = attr::randomUniform;
  const float low = static_cast<float>(op.attr[a::low]), high = static_cast<float>(op.attr[a::high]);
  const uint32_t stream = static_cast<uint32_t>(op.attr[a::stream]);
  const Vec last = set1(__builtin_nextafterf(high, low));
  float *y = op.out[0].as<float>();
  eachRandom(
      *op.in[0].as<StepState>(), stream, Purpose::uniform, begin * kChunk, smaller(end * kChunk, op.out[0].size),
      [&](const Blocks &bits, Vec(&out)[4]) GL_LAMBDA {
        for (int k = 0; k < 4; k++) out[k] = minOf(isolate((high - low) * uniform(bits.v[k])) + low, last);
      },
      [&](int64_t i, int64_t count, Vec value) GL_LAMBDA { store(y + i, value, count); });
}

// cos and sin of `turn` full turns, 0 <= turn < 1, 2 ulp. The quarter is split off exactly; polynomials are minimax
// fits on an eighth of a turn either side of 0.
GL_SIMD void cosSin(Vec turn, Vec &cosine, Vec &sine) {
  const Vec quarters = turn * 4.0f, shifted = quarters + 12582912.0f, f = quarters - (shifted - 12582912.0f);
  const IVec n = bitsOf(shifted);
  const Vec z = f * f;
  Vec s = -4.68387362e-3f * z + 7.971178e-2f;
  s = s * z - 0.645966589f;
  s = (s * z + 1.57079637f) * f;
  Vec c = 8.94486264e-4f * z - 2.08555963e-2f;
  c = c * z + 0.253668547f;
  c = c * z - 1.23370051f;
  c = c * z + 1.0f;
  const IVec swapped = (n & 1) != 0;
  cosine = ofBits(bitsOf(select(swapped, s, c)) ^ (((n + 1) & 2) << 30));
  sine = ofBits(bitsOf(select(swapped, c, s)) ^ ((n & 2) << 30));
}

// Box, Muller 1958, two pairs per block.
void runNormal(const Op &op, int64_t begin, int64_t end, void *) {
  namespace a = attr::randomNormal;
  const float mean = static_cast<float>(op.attr[a::mean]), deviation = static_cast<float>(op.attr[a::std]);
  const uint32_t stream = static_cast<uint32_t>(op.attr[a::stream]);
  float *y = op.out[0].as<float>();
  eachRandom(
      *op.in[0].as<StepState>(), stream, Purpose::normal, begin * kChunk, smaller(end * kChunk, op.out[0].size),
      [&](const Blocks &bits, Vec(&out)[4]) GL_LAMBDA {
        for (int k = 0; k < 4; k += 2) {
          const Vec radius = sqrt(-2.0f * log(1.0f - uniform(bits.v[k])));
          cosSin(uniform(bits.v[k + 1]), out[k], out[k + 1]);
          for (int j = 0; j < 2; j++) out[k + j] = deviation * (radius * out[k + j]) + mean;
        }
      },
      [&](int64_t i, int64_t count, Vec value) GL_LAMBDA { store(y + i, value, count); });
}

// permuteIndex of philox.h on one index per lane; n < 2^31, so both halves of an index fit a lane.
GL_SIMD IVec permute(UVec index, uint32_t n, uint64_t seed, uint64_t epoch) {
  int half = 1;
  while ((uint64_t{1} << (2 * half)) < n) half++;
  const UVec mask = set1u((1u << half) - 1);
  const UVec last =
      set1u(static_cast<uint32_t>(Purpose::shuffle) << 24 | static_cast<uint32_t>((epoch >> 32) & 0xffff));
  UVec image = index;
  IVec outside = set1(-1);
  for (bool again = true; again;) {
    UVec left = image >> half, right = image & mask;
    for (uint32_t round = 0; round < 6; round++) {
      const Blocks f = philox(right, set1u(round), set1u(static_cast<uint32_t>(epoch)), last, seed);
      const UVec next = (left ^ f.v[0]) & mask;
      left = right;
      right = next;
    }
    image = outside ? (left << half | right) : image;
    outside = outside & (IVec)(image >= n);
    again = false;
    for (int i = 0; i < kLanes; i++) again |= outside[i] != 0;
  }
  return (IVec)image;
}

constexpr int64_t kSampleRows = 64;  // of a unit

void runSampleRows(const Op &op, int64_t begin, int64_t end, void *) {
  namespace a = attr::sampleRows;
  const uint64_t samples = static_cast<uint64_t>(op.attr[a::samples]);
  const int64_t shuffle = op.iattr(a::shuffle);
  const StepState &step = *op.in[0].as<StepState>();
  int32_t *rows = op.out[0].as<int32_t>();
  const int64_t stop = smaller(end * kSampleRows, op.out[0].size);
  for (int64_t i = begin * kSampleRows; i < stop; i += kLanes) {
    IVec row;
    for (int lane = 0; lane < kLanes; lane++) {
      const uint64_t element = static_cast<uint64_t>(i + lane);
      uint64_t number = (step.first + element) % samples;
      if (shuffle == 2) {
        const Philox4 bits = randomBlock(step.seed, step.step, 0, Purpose::choice, element / 4);
        number = (bits.v[element % 4] * samples) >> 32;
      }
      row[lane] = static_cast<int32_t>(number);
    }
    if (shuffle == 1) row = permute((UVec)row, static_cast<uint32_t>(samples), step.seed, step.epoch);
    store(rows + i, row, smaller(kLanes, stop - i));
  }
}

bool planRandom(const Op &op, KernelPlan &plan, RunFn run, double nanosecondsPerElement) {
  if (op.fp64 || !isF32(op.out[0])) return false;
  const double n = static_cast<double>(op.out[0].size);
  return onePhase(plan, "philox", run, ceilDiv(op.out[0].size, kChunk),
                  streamTime(8 * n) + nanosecondsPerElement * n * 16 / kLanes);
}

}  // namespace

bool planDropout(const Op &op, KernelPlan &plan) { return planRandom(op, plan, runDropout, 0.5); }
bool planRandomUniform(const Op &op, KernelPlan &plan) { return planRandom(op, plan, runUniform, 0.5); }
bool planRandomNormal(const Op &op, KernelPlan &plan) { return planRandom(op, plan, runNormal, 1.0); }

bool planSampleRows(const Op &op, KernelPlan &plan) {
  const int64_t samples = op.iattr(attr::sampleRows::samples);
  if (op.out[0].dtype != DType::i32 || samples < 1 || samples > INT32_MAX) return false;
  const double perRow = op.iattr(attr::sampleRows::shuffle) == 1 ? 1000.0 / kLanes : 5;
  return onePhase(plan, "philox", runSampleRows, ceilDiv(op.out[0].size, kSampleRows),
                  50 + perRow * static_cast<double>(op.out[0].size));
}

}  // namespace gradline::cpu::GL_ISA
